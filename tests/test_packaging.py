"""The light installation: what runs without the packages of the extra `train`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mobilevit_core.cli import EXTRAS

ROOT = Path(__file__).parents[1]
# As if they were not installed.
WITHOUT = (
    "import sys; sys.modules.update(dict.fromkeys({modules!r})); from mobilevit_core.__main__ import main; "
)


def light(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process that has none of the extra's modules, called outside of the checkout."""
    code = WITHOUT.format(modules=sorted(EXTRAS)) + f"sys.argv[1:] = {list(words)!r}; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_predict_needs_nothing_of_the_training(photo_folder: Path, tmp_path: Path) -> None:
    photo = next(photo_folder.rglob("*.jpg"))
    done = light("predict", str(ROOT / "demo" / "weights"), str(photo), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(photo)) and done.stdout.count("%") == 5


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--data", "PHOTOS"),
        ("finish", "."),
        ("evaluate", "BUNDLE", "--data", "PHOTOS"),
        ("unknown", "BUNDLE", "--data", "PHOTOS"),
        ("export", "BUNDLE", "--to", "new"),
        ("publish", "BUNDLE", "a/b", "--what", "model", "--dry-run", "new"),
        ("examples",),
    ],
)
def test_other_commands_say_what_to_install(
    words: tuple[str, ...], photo_folder: Path, tmp_path: Path
) -> None:
    named = {"PHOTOS": str(photo_folder), "BUNDLE": str(ROOT / "demo" / "weights")}
    done = light(*(named.get(word, word) for word in words), folder=tmp_path)
    assert done.returncode == 2, done.stderr
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"Error: {words[0]} needs ") and sentence.endswith("pip install '.[train]'")
    assert not list(tmp_path.iterdir())
