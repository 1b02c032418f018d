"""Photos are read and decoded once, however often they are divided and used."""

from collections import Counter
from pathlib import Path

import pytest
from PIL import ImageFile

import mobilevit_core
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.dataset import Facts
from mobilevit_core.data.loading import load_dataset, read_photos
from mobilevit_core.images.memory import remembering
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.reading import read_photo
from tests.drawing import draw_folder
from tests.networks import float32_alone

PER_CLASS = 8


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> Counter[bytes]:
    """Encoded photo -> how often Pillow decoded it."""
    counts: Counter[bytes] = Counter()
    load = ImageFile.ImageFile.load

    def counting(image: ImageFile.ImageFile) -> object:
        if image.tile:  # not decoded yet
            counts[image.fp.getvalue()] += 1
        return load(image)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counting)
    return counts


def test_dividing_again_reads_nothing(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = read_photos(str(photo_folder))
    monkeypatch.setattr(Facts, "of", None)
    held_back, whole = photos.divided("default"), photos.divided("whole")
    monkeypatch.undo()
    assert held_back.describe() == load_dataset(str(photo_folder)).describe()
    assert whole.describe() == load_dataset(str(photo_folder), "whole").describe()


def test_what_does_not_fit_is_decoded_again(photo_folder: Path, decodes: Counter[bytes]) -> None:
    paths = sorted(photo_folder.rglob("*.jpg"))[:2]
    pixels = read_photo(paths[0]).size
    decodes.clear()
    with remembering(pixels):
        read = [read_photo(path) for path in (*paths, *paths)]
    assert sorted(decodes.values()) == [1, 2]
    assert (read[0] == read[2]).all() and (read[1] == read[3]).all()
    decodes.clear()
    [read_photo(path) for path in (*paths, *paths)]
    assert list(decodes.values()) == [2, 2]


def test_a_changed_file_is_read_again(photo_folder: Path, tmp_path: Path) -> None:
    first, second = sorted(photo_folder.rglob("*.jpg"))[:2]
    rule, path = ResizeRule(64), tmp_path / "photo.jpg"
    with remembering():
        path.write_bytes(first.read_bytes())
        before = preprocess(path, rule)
        before[:] = 0  # whoever gets it may write to it
        assert (preprocess(path, rule) == preprocess(first, rule)).all()
        path.write_bytes(second.read_bytes() + b"\0")
        assert (preprocess(path, rule) == preprocess(second, rule)).all()


@pytest.mark.parametrize("recipe", ["head", "finetune"])
def test_a_training_decodes_every_photo_once(
    recipe: str, small_bundle: Bundle, tiny: None, tmp_path: Path, decodes: Counter[bytes]
) -> None:
    photos = draw_folder(tmp_path / "photos", PER_CLASS)
    # A head first holds test photos back, and divides again because they are too few.
    values = {"image_size": 64, "stages": "64:1", "batch_size": 8} if recipe == "finetune" else {}
    with float32_alone():
        mobilevit_core.train(
            photos, tmp_path / "run", recipe=recipe, weights=small_bundle.folder, values=values
        )
    own = {path.read_bytes() for path in photos.rglob("*.jpg")}
    assert {decodes[content] for content in own} == {1}
