import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.findings import write_findings
from mobilevit_core.data.loading import check_enough, load_dataset
from mobilevit_core.data.tfds import _tfds_slices, is_known
from mobilevit_core.errors import UserError
from mobilevit_core.files import write_json
from tests.drawing import COLORS, draw_folder, draw_photo, noise_folder


def names(dataset: PhotoDataset, split: str) -> set[str]:
    return {photo.name for photo in dataset.split(split)}


def test_a_folder_is_split_by_class_and_seed(photo_folder: Path, tmp_path: Path) -> None:
    dataset = load_dataset(str(photo_folder))
    assert dataset.class_names == ("blue", "green", "red")
    assert {split: len(photos) for split, photos in dataset.splits.items()} == {
        "train": 24,
        "validation": 3,
        "test": 3,
    }
    assert {photo.label for photo in dataset.split("test")} == {0, 1, 2}
    assert not names(dataset, "train") & names(dataset, "test")
    for photo in dataset.split("train"):
        assert photo.name.startswith(dataset.class_names[photo.label])
    moved = shutil.copytree(photo_folder, tmp_path / "moved")
    assert load_dataset(str(moved)).describe()["digest"] == dataset.describe()["digest"]
    assert load_dataset(str(moved), seed=1).describe()["digest"] != dataset.describe()["digest"]


def test_folders_for_the_parts_are_respected(tmp_path: Path) -> None:
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        noise_folder(tmp_path / split, dict.fromkeys(COLORS, count), seed=count)
    dataset = load_dataset(str(tmp_path))
    assert dataset.split_scheme == "folders"
    assert [len(dataset.split(split)) for split in ("train", "validation", "test")] == [12, 6, 9]
    shutil.rmtree(tmp_path / "val")
    dataset = load_dataset(str(tmp_path))
    assert [len(dataset.split(split)) for split in ("train", "validation", "test")] == [9, 3, 9]


def test_a_photo_of_another_part_is_left_out_of_training(tmp_path: Path) -> None:
    for split, count in (("train", 3), ("test", 1)):
        draw_folder(tmp_path / split, count)  # the test photos are the first of the training's
    dataset = load_dataset(str(tmp_path))
    digests = {photo.sha256 for photo in (*dataset.split("test"), *dataset.split("validation"))}
    assert not digests & {photo.sha256 for photo in dataset.split("train")}
    assert "left out" in dataset.notes[-1]


def test_damaged_and_foreign_files_are_named_counted_and_skipped(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", 5)
    (folder / "red" / "broken.jpg").write_bytes((folder / "red" / "00.jpg").read_bytes()[:500])
    (folder / "red" / "text.png").write_text("no photo")
    (folder / "blue" / "phone.heic").write_bytes(b"heic")
    dataset = load_dataset(str(folder))
    assert sum(len(photos) for photos in dataset.splits.values()) == 15
    (note,) = dataset.notes
    assert note == ("3 files skipped: 3 damaged, or not a picture inside (phone.heic, broken.jpg, text.png)")
    assert {Path(file.path).name for file in dataset.skipped} == {"broken.jpg", "text.png", "phone.heic"}
    write_findings(tmp_path, dataset)
    lines = (tmp_path / "skipped.txt").read_text().splitlines()
    assert len(lines) == 3 and sum("the file ends before the picture begins" in line for line in lines) == 1


def test_wrong_folders_get_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder .*missing"):
        load_dataset(str(tmp_path / "missing"))
    with pytest.raises(UserError, match="no class folders"):
        load_dataset(str(tmp_path))
    folder = draw_folder(tmp_path / "photos", 2)
    for name in ("blue", "green"):
        shutil.rmtree(folder / name)
    with pytest.raises(UserError, match=r"only one class folder \(red\)"):
        load_dataset(str(folder))
    (folder / "empty").mkdir()
    with pytest.raises(UserError, match="'empty' has no readable photo"):
        load_dataset(str(folder))
    with pytest.raises(UserError, match="is a file"):
        load_dataset(str(folder / "red" / "00.jpg"))
    with pytest.raises(UserError, match="Unknown split 'half'"):
        load_dataset(str(folder), "half")


@pytest.mark.parametrize("train", ["Train", "training"])
def test_parts_are_recognized_by_any_common_name(train: str, tmp_path: Path) -> None:
    for split, count in ((train, 6), ("VALID", 1), ("Testing", 2)):
        draw_folder(tmp_path / split, count)
        for number, path in enumerate(sorted((tmp_path / split).rglob("*.jpg"))):
            draw_photo((number, count, 90), seed=1000 * count + number).save(path)
    assert load_dataset(str(tmp_path)).describe()["photos"] == {"train": 18, "validation": 3, "test": 6}
    (tmp_path / "roses").mkdir()
    with pytest.raises(UserError, match=r"beside others \(roses\)"):
        load_dataset(str(tmp_path))


def test_odd_names_and_hidden_folders(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "my photos", 5)
    os.rename(folder / "red" / "00.jpg", os.fsencode(folder) + b"/red/caf\xe9 [old].jpg")
    (folder / "red" / ".thumbs").mkdir()
    (folder / "red" / "01.jpg").rename(folder / "red" / ".thumbs" / "01.jpg")
    (folder / "red").rename(folder / "röt [b]")
    dataset = load_dataset(str(folder))
    assert dataset.class_names == ("blue", "green", "röt [b]")
    assert sum(len(photos) for photos in dataset.splits.values()) == 14


def test_too_few_photos_are_told(tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos", 4)
    with pytest.raises(UserError, match="'blue' of .* has only 4 different photos"):
        check_enough(load_dataset(str(folder)))
    folder = draw_folder(tmp_path / "copies", 8)
    for number in range(1, 8):
        shutil.copy(folder / "red" / "00.jpg", folder / "red" / f"0{number}.jpg")
    with pytest.raises(UserError, match="'red' of .* has only 1 different photo"):
        check_enough(load_dataset(str(folder)))
    with pytest.raises(UserError, match="too few photos"):
        load_dataset(str(draw_folder(tmp_path / "single", 1)))


@pytest.mark.parametrize(
    "name", ["no_such_flowers", "photos/no_such_folder", "tf_flowers/no_such_config", "tf_flowers:9.9.9"]
)
def test_a_name_that_nobody_knows_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' is neither a folder here nor a data set"):
        load_dataset(name)


@pytest.mark.photographs
def test_the_parts_of_tf_flowers(tf_flowers: PhotoDataset) -> None:
    assert tf_flowers.class_names == ("dandelion", "daisy", "tulips", "sunflowers", "roses")
    assert {split: len(photos) for split, photos in tf_flowers.splits.items()} == {
        "train": 2929,  # 2,936 without 7 near-duplicates of the other splits
        "validation": 367,
        "test": 367,
    }
    # The name that a bundle records brings the same photos back.
    assert load_dataset(tf_flowers.name).describe() == tf_flowers.describe()
    example = load_dataset("tf_flowers", "keras-example")
    test = {photo.sha256 for photo in tf_flowers.split("test")}
    assert test == {photo.sha256 for photo in example.split("validation")}
    assert not test & {photo.sha256 for photo in tf_flowers.split("train")}
    with pytest.raises(UserError, match="no split 'test'"):
        example.split("test")


def test_names_that_are_no_text_reach_records(tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9")
    folder = draw_folder(tmp_path / "photos", 4)
    (folder / "red" / f"{odd}.jpg").write_text("no photo")
    dataset = load_dataset(str(folder))
    write_json(tmp_path / "record.json", dataset.describe())
    (note,) = json.loads((tmp_path / "record.json").read_text())["notes"]
    assert odd in note
    (folder / "red").rename(folder / odd)  # a class has to be text: a .tflite file names it in UTF-8
    with pytest.raises(UserError, match="has a character that can't be printed. Rename it"):
        load_dataset(str(folder))


def test_a_whole_data_set_joins_its_parts(tmp_path: Path) -> None:
    for seed, split in enumerate(("train", "valid", "test")):
        noise_folder(tmp_path / split, dict.fromkeys(COLORS, 10), seed)
    dataset = load_dataset(str(tmp_path), "whole")
    assert {split: len(photos) for split, photos in dataset.splits.items()}["validation"] == 6
    seen = {photo.name.split("/")[0] for photo in dataset.split("train")}
    assert seen == {"train", "valid", "test"}


def test_slices_of_a_named_data_set() -> None:
    assert _tfds_slices({"train"}, "default", "x") == {
        "train": "train[:80%]",
        "validation": "train[80%:90%]",
        "test": "train[90%:]",
    }
    assert _tfds_slices({"train"}, "keras-example", "x") == {
        "train": "train[:90%]",
        "validation": "train[90%:]",
    }
    assert _tfds_slices({"train", "test"}, "whole", "x") == {
        "train": "test[:95%]+train[:95%]",
        "validation": "test[95%:]+train[95%:]",
    }


def test_look_alikes_of_held_out_photos_are_not_trained_on(tmp_path: Path) -> None:
    theirs = load_dataset(str(draw_folder(tmp_path / "theirs")))
    held_out = theirs.split("test")[0]
    ours = draw_folder(tmp_path / "ours", photos_per_class=12)
    for path in ours.rglob("*.jpg"):  # unlike anything: noise
        noise = np.random.default_rng(int(path.stem) + 100 * ord(path.parent.name[0]))
        Image.fromarray(noise.integers(0, 255, (90, 120, 3), np.uint8)).save(path)
    with Image.open(held_out.source) as image:  # mirrored, smaller, compressed anew
        copy = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((97, 71))
    names = [photo.name for photo in load_dataset(str(ours), "whole").split("train")]
    copy.save(ours / names[0], quality=60)
    dataset = load_dataset(DataChoice((str(ours),), leave_out=theirs.name), "whole")
    assert [photo.name for photo in dataset.split("train")] == names[1:]
    assert "1 training photo left out: like a validation or test photo" in dataset.notes[-1]
    choice = DataChoice.from_manifest(dataset.describe())  # more photos leave them out, too
    assert choice.leave_out == theirs.name == str(tmp_path / "theirs")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("tf_flowers", True),
        ("tf_flowers:3.0.1", True),
        ("cifar10_corrupted/fog_1:1.0.0", True),
        ("roses", False),
    ],
)
def test_a_data_set_is_known_with_its_version(name: str, known: bool) -> None:
    assert is_known(name) == known


def test_splits_that_hold_the_same_photos_are_told(photo_folder: Path, tmp_path: Path) -> None:
    """Own train/val folders of which one is a copy, as symbolic links make it."""
    for split in ("train", "val"):
        shutil.copytree(photo_folder, tmp_path / "copied" / split)
    with pytest.raises(
        UserError, match=r"left to train on \(\d+ training photos left out: \(nearly\) the same"
    ):
        load_dataset(str(tmp_path / "copied"))
