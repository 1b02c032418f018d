"""Several sources as one data set; photos of other things."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.dataset import NONE_OF_THESE, OTHER_FOLDER
from mobilevit_core.data.loading import load_dataset, load_described
from mobilevit_core.errors import UserError
from tests.drawing import noise_folder


def test_classes_of_the_same_name_or_wordnet_id_are_joined(tmp_path: Path) -> None:
    first = noise_folder(tmp_path / "a", {"n02085620": 10, "Water_Lily": 10, "rose": 10}, 1)
    second = noise_folder(tmp_path / "b=c", {"n02085620-Chihuahua": 10, "water lily": 10, "tulip": 10}, 2)
    dataset = load_dataset([str(first), str(second)])
    assert dataset.class_names == ("Water_Lily", "n02085620", "rose", "tulip")
    totals = {name: sum(splits.values()) for name, splits in dataset.counts().items()}
    assert totals == {"Water_Lily": 20, "n02085620": 20, "rose": 10, "tulip": 10}
    described = dataset.describe()
    assert [row["data"] for row in described["sources"]] == [str(first), str(second)]
    assert described["sources"][1]["photos"] == {"train": 24, "validation": 3, "test": 3}


def test_a_copy_that_another_source_holds_back_is_not_trained_on(tmp_path: Path) -> None:
    first = noise_folder(tmp_path / "a", {"red": 10, "blue": 10}, 1)
    second = noise_folder(tmp_path / "b", {"red": 10, "blue": 10}, 2)
    held_out = load_dataset(str(second)).split("test")[0]
    with Image.open(held_out.source) as image:
        image.resize((61, 47)).save(first / held_out.name.split("/")[0] / "copy.jpg", quality=60)
    dataset = load_dataset([str(first), str(second)])
    copies = [photo for photos in dataset.splits.values() for photo in photos if "copy" in photo.name]
    assert all(photo not in dataset.split("train") for photo in copies)


def test_photos_for_training_only_change_no_other_split(tmp_path: Path) -> None:
    wanted = noise_folder(tmp_path / "mine", {"Red Rose": 10, "blue": 10}, 1)
    more = noise_folder(tmp_path / "more", {"red-rose": 12}, 2)
    alone = load_dataset(str(wanted))
    with Image.open(alone.split("test")[0].source) as image:
        image.resize((61, 47)).save(more / "red-rose" / "copy.jpg", quality=60)
    dataset = load_dataset(DataChoice((str(wanted),), (str(more),), weights={str(more): 0.5}))
    assert dataset.class_names == alone.class_names and dataset.name == alone.name
    assert dataset.split("validation") == alone.split("validation")
    assert dataset.split("test") == alone.split("test")
    added = [photo for photo in dataset.split("train") if photo not in alone.split("train")]
    assert len(added) == 12 and {photo.label for photo in added} == {dataset.class_names.index("Red Rose")}
    assert not any("copy" in photo.name for photo in added)
    recorded = json.loads(json.dumps(dataset.describe()))
    assert recorded["sources"][1]["train_only"] is True and recorded["sources"][1]["weight"] == 0.5
    assert load_described(recorded, "default", 0).describe() == dataset.describe()
    shutil.rmtree(more)
    again = load_described(recorded, "default", 0)
    assert again.split("test") == dataset.split("test") and again.split("train") == alone.split("train")


def test_a_class_for_training_only_must_be_one_of_the_classes(tmp_path: Path) -> None:
    wanted = noise_folder(tmp_path / "mine", {"red": 10, "blue": 10}, 1)
    more = noise_folder(tmp_path / "more", {"red": 5, "green": 5}, 2)
    with pytest.raises(UserError, match="has a class 'green'. Its subfolders must .*mine: blue, red."):
        load_dataset(DataChoice((str(wanted),), (str(more),)))
    things = noise_folder(tmp_path / "things", {NONE_OF_THESE: 5}, 2)  # that is what `other` is for
    (wanted / OTHER_FOLDER).mkdir()
    noise_folder(wanted / OTHER_FOLDER, {"": 10}, 3)
    with pytest.raises(UserError, match="has a class 'none of these'. Its subfolders must .*: blue, red."):
        load_dataset(DataChoice((str(wanted),), (str(things),)))
    loose = noise_folder(tmp_path / "loose", {"": 5}, 2)
    with pytest.raises(UserError, match="has photos outside of class folders"):
        load_dataset(DataChoice((str(wanted),), (str(loose),)))


def test_what_a_bundle_records_brings_the_same_photos_back(tmp_path: Path) -> None:
    data = [
        str(noise_folder(tmp_path / name, {"red": 10, "blue": 10, OTHER_FOLDER: 6}, 10 + i))
        for i, name in enumerate("ab")
    ]
    other = str(noise_folder(tmp_path / "other", {"": 20, "Reds": 5, "cups": 5}, 3))
    choice = DataChoice(
        tuple(data), other=(other,), other_without=("cups",), weights={data[1]: 2.0, other: 0.5}
    )
    dataset = load_dataset(choice)
    assert dataset.class_names == ("blue", "red", NONE_OF_THESE)
    recorded = json.loads(json.dumps(dataset.describe()))
    assert [row["weight"] for row in recorded["sources"]] == [1.0, 2.0, 1.0, 1.0, 0.5]
    assert recorded["other_class"] == NONE_OF_THESE and recorded["other_without"] == ["cups"]
    assert DataChoice.from_manifest(recorded) == choice
    assert load_described(recorded, "default", 0).describe() == dataset.describe()


@pytest.mark.parametrize("name", [None, "other/kinds"])  # the second could be a data set's, by its look
def test_a_bundle_is_measured_on_its_classes_where_its_other_things_are_not_here(
    name: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = str(noise_folder(tmp_path / "photos", {"red": 10, "blue": 10}, 1))
    other = noise_folder(Path(name) if name else tmp_path / "other", {"cups": 20}, 2)
    dataset = load_dataset(DataChoice((wanted,), other=(str(other),), weights={str(other): 2.0}))
    recorded = json.loads(json.dumps(dataset.describe()))
    shutil.rmtree(other)
    again = load_described(recorded, "default", 0)
    assert again.class_names == ("blue", "red") and again.other is None
    assert again.notes[-1] == f"photos of anything else are missing here, and not measured: {other}"
    assert [photo.sha256 for photo in again.split("test")] == [
        photo.sha256 for photo in dataset.split("test") if photo.label != dataset.other
    ]


def test_classes_with_wanted_names_stay_out_of_the_others(tmp_path: Path) -> None:
    wanted = noise_folder(tmp_path / "flowers", {"sunflowers": 10, "daisy": 10}, 1)
    other = noise_folder(tmp_path / "things", {"sunflower": 10, "lotus": 10, "cup": 10}, 2)
    dataset = load_dataset(DataChoice((str(wanted),), other=(str(other),), other_without=("Lotus",)))
    kept = {photo.name.split("/")[0] for photo in dataset.split("train") if photo.label == dataset.other}
    assert kept == {"cup"}
    assert any(
        note.endswith("left out of 'none of these' by name: lotus, sunflower") for note in dataset.notes
    )
    with pytest.raises(UserError, match="have no class 'lily'. They have: cup, lotus, sunflower"):
        load_dataset(DataChoice((str(wanted),), other=(str(other),), other_without=("lily",)))


def test_others_that_look_like_a_wanted_photo_stay_out(tmp_path: Path) -> None:
    wanted = noise_folder(tmp_path / "flowers", {"red": 10, "blue": 10}, 1)
    other = noise_folder(tmp_path / "things", {"": 30}, 2)
    with Image.open(wanted / "red" / "002.jpg") as image:
        image.resize((61, 47)).save(other / "copy.jpg", quality=60)
    dataset = load_dataset(DataChoice((str(wanted),), other=(str(other),)))
    assert "copy.jpg" not in {p.name for photos in dataset.splits.values() for p in photos}
    assert f"{other}: 1 photo left out of 'none of these': like one of a class" in dataset.notes


def test_wrong_sources_are_told(tmp_path: Path) -> None:
    folder = str(noise_folder(tmp_path / "a", {"red": 10, "blue": 10}))
    with pytest.raises(UserError, match="is given twice"):
        load_dataset([folder, folder])
    with pytest.raises(UserError, match="no source 'b' to give a weight to"):
        load_dataset(DataChoice((folder,), weights={"b": 2.0}))
    with pytest.raises(UserError, match="must be over 0"):
        load_dataset(DataChoice((folder,), weights={folder: -1.0}))
    with pytest.raises(UserError, match="There are none; name some with --other"):
        load_dataset(DataChoice((folder,), other_without=("cup",)))
