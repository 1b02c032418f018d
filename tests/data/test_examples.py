"""The photos that the page opens with: fetched, checked, never trained on."""

import io
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.tf_flowers.examples import (
    CREDITS,
    SOURCE,
    examples,
    present_examples,
    write_examples,
)
from mobilevit_core.errors import UserError


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """What the repository answers, by address."""
    contents: dict[str, bytes] = {}

    def answer(address: str, timeout: float) -> io.BytesIO:
        if address not in contents:
            raise urllib.error.URLError("no network")
        return io.BytesIO(contents[address])

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    return contents


@pytest.mark.photographs
def test_they_are_held_out_and_written_with_their_photographers(
    tf_flowers: PhotoDataset, served: dict[str, bytes], tmp_path: Path
) -> None:
    held_out = {photo.sha256: photo for name in ("test", "validation") for photo in tf_flowers.split(name)}
    for example in examples():
        photo = held_out[example.sha256]
        assert tf_flowers.class_names[photo.label] == example.label
        served[SOURCE + example.place] = photo.source
    folder = tmp_path / "examples"
    written = write_examples(folder)
    assert written == present_examples(folder) and len(written) == 12
    credits = (folder / CREDITS).read_text(encoding="utf-8")
    assert all(example.photographer in credits for example in examples())
    assert all(example.url.startswith("https://www.flickr.com/") for example in examples())


def test_without_network_and_with_other_bytes_nothing_is_written(
    served: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="can't be reached"):
        write_examples(tmp_path / "examples")
    served[SOURCE + examples()[0].place] = b"another"
    with pytest.raises(UserError, match="Checksum mismatch"):
        write_examples(tmp_path / "examples")
    assert not list(tmp_path.iterdir())
