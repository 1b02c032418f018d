"""What is known about single photos of public data sets."""

from pathlib import Path

import pytest

from mobilevit_core.data import loading
from mobilevit_core.data.curation import near_duplicates, suspect_labels
from mobilevit_core.data.loading import load_dataset


def test_the_lists_hold_digests() -> None:
    pairs, suspects = list(near_duplicates()), suspect_labels()
    assert (len(pairs), len(suspects)) == (21, 154)
    assert {len(digest) for digest in suspects.union(*pairs)} == {64}
    assert {len(pair) for pair in pairs} == {1, 2}  # byte for byte, or nearly


def test_photos_of_the_lists_are_not_trained_on(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    everything = load_dataset(str(photo_folder))
    copy, suspect, *others = (photo.sha256 for photo in everything.split("train"))
    (held_out, *_), count = (
        (photo.sha256 for photo in everything.split("test")),
        len(everything.split("test")),
    )
    monkeypatch.setattr(loading, "near_duplicates", lambda: iter([{copy, held_out}, {suspect, "0" * 64}]))
    monkeypatch.setattr(loading, "suspect_labels", lambda: {suspect, held_out})
    without_copy = load_dataset(str(photo_folder))
    assert [photo.sha256 for photo in without_copy.split("train")] == [suspect, *others]
    assert "1 training photo left out: (nearly) the same" in without_copy.notes[-1]
    without_both = load_dataset(str(photo_folder), keep_suspects=False)
    assert [photo.sha256 for photo in without_both.split("train")] == others
    assert len(without_both.split("test")) == count and "label looks wrong" in without_both.notes[-1]
