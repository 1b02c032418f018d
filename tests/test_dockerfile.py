"""The container file: it can't be built here, so what it names is checked."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
STEPS = [tuple(line.split(" ", 1)) for line in LINES if re.match("[A-Z]+ ", line)]


@pytest.mark.parametrize("words", [words.split() for name, words in STEPS if name == "COPY"])
def test_what_is_copied_is_there_and_not_ignored(words: list[str]) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in ignored
    for source in words[:-1]:
        assert (ROOT / source).exists() and f"!{source}" in ignored


def test_an_ordinary_user_runs_the_page() -> None:
    names = [name for name, _ in STEPS]
    (user,) = (words for name, words in STEPS if name == "USER")
    assert user not in ("root", "0") and any(
        f"useradd --create-home --uid 1000 {user}" in w for _, w in STEPS
    )
    assert names.index("USER") < names.index("ENTRYPOINT")
    (entry,) = (json.loads(words) for name, words in STEPS if name == "ENTRYPOINT")
    assert entry == ["python", "app.py"]
