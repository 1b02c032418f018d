"""Bundles, zip files and names that strangers made: each is refused in one sentence."""

from pathlib import Path

import pytest

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data import archive
from tests.hostile.artefacts import Attempt, attempts, outcome

ATTEMPTS = list(attempts())


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=[attempt.name for attempt in ATTEMPTS])
def test_it_is_refused_in_one_sentence(
    attempt: Attempt, shipped: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(archive.CACHE, str(tmp_path / "cache"))
    assert outcome(attempt, tmp_path, shipped.folder) is None
