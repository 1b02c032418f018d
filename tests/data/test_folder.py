"""Folders as people bring them."""

import io
import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilevit_core.commands.predict import find_photos
from mobilevit_core.data.dataset import NONE_OF_THESE, OTHER_FOLDER, PhotoDataset
from mobilevit_core.data.loading import check_enough, load_dataset, read_photos
from mobilevit_core.errors import UserError
from tests.drawing import noise_folder, noise_photo

TWO = {"blue": 10, "red": 10}


def sizes(dataset: PhotoDataset) -> list[int]:
    return [len(dataset.splits.get(split, ())) for split in ("train", "validation", "test")]


def reasons(dataset: PhotoDataset) -> dict[str, str]:
    return {Path(file.path).name: file.reason for file in dataset.skipped}


@pytest.mark.parametrize(
    "spellings",
    [
        ("train", "valid", "test"),
        ("TRAIN", "eval", "Testing"),
        ("train_set", "val_set", "test_set"),
        ("Training Data", "validation-images", "test2017"),
        ("dataset_train", "dev", "test photos"),
    ],
)
def test_splits_in_the_usual_spellings(spellings: tuple[str, ...], tmp_path: Path) -> None:
    for seed, (name, count) in enumerate(zip(spellings, (8, 2, 3), strict=True)):
        noise_folder(tmp_path / name, dict.fromkeys(TWO, count), seed)
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("blue", "red") and dataset.split_scheme == "folders"
    assert sizes(dataset) == [16, 4, 6]


@pytest.mark.parametrize(("train", "test"), [("train_set", "test_set"), ("TRAIN", "eval")])
def test_two_splits_are_enough(train: str, test: str, tmp_path: Path) -> None:
    noise_folder(tmp_path / train, TWO, 1)
    noise_folder(tmp_path / test, TWO, 2)
    assert load_dataset(str(tmp_path)).class_names == ("blue", "red")


def test_splits_without_training_are_refused(tmp_path: Path) -> None:
    noise_folder(tmp_path / "val", TWO, 1)
    noise_folder(tmp_path / "test", TWO, 2)
    with pytest.raises(UserError, match=r"folders for splits \(test, val\), but none to train on"):
        load_dataset(str(tmp_path))
    noise_folder(tmp_path / "train", TWO, 3)
    noise_folder(tmp_path / "train2017", TWO, 4)
    with pytest.raises(UserError, match="two folders for the same split: train and train2017"):
        load_dataset(str(tmp_path))


def test_a_split_beside_classes_is_refused_but_a_class_may_be_called_train(tmp_path: Path) -> None:
    noise_folder(tmp_path, {"bus": 10, "train": 10})
    assert load_dataset(str(tmp_path)).class_names == ("bus", "train")
    noise_folder(tmp_path / "test", {"": 3}, 2)
    with pytest.raises(UserError, match=r"folders for the splits \(test, train\) beside others \(bus\)"):
        load_dataset(str(tmp_path))


def test_photos_of_a_split_without_classes_are_left_alone(tmp_path: Path) -> None:
    noise_folder(tmp_path / "train", TWO, 1)
    noise_folder(tmp_path / "test", {"": 3}, 2)
    dataset = load_dataset(str(tmp_path))
    assert sizes(dataset) == [18, 2, 0]
    assert any("test is not used: it has 3 photos outside of class folders" in note for note in dataset.notes)


def test_groups_of_classes_are_not_silently_classes(tmp_path: Path) -> None:
    noise_folder(tmp_path, {"blue/iris": 6, "blue/gentian": 6, "red/rose": 6, "red/poppy": 6})
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("blue", "red") and sum(sizes(dataset)) == 24
    notes = [note for note in dataset.notes if "holds only folders" in note]
    assert len(notes) == 2 and "(gentian, iris)" in notes[0] and f"--data {tmp_path}/blue" in notes[0]
    joined = load_dataset([f"{tmp_path}/blue", f"{tmp_path}/red"])
    assert joined.class_names == ("gentian", "iris", "poppy", "rose")


def test_wrappers_and_what_systems_leave_behind(tmp_path: Path) -> None:
    inner = noise_folder(tmp_path / "unpacked" / "my photos", TWO)
    (tmp_path / "__MACOSX" / "my photos").mkdir(parents=True)
    (tmp_path / "__MACOSX" / "my photos" / "._000.jpg").write_bytes(b"x")
    for name in (".DS_Store", "blue/.DS_Store", "red/Thumbs.db", "red/._001.jpg"):
        (inner / name).write_bytes(b"x")
    (inner / "red" / "000.jpg").rename(inner / "red" / "000.JPG")
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("blue", "red") and sum(sizes(dataset)) == 20
    assert not dataset.skipped and "the classes are taken from" in dataset.notes[0]


def test_links_are_followed_and_those_that_go_wrong_are_named(tmp_path: Path) -> None:
    elsewhere = noise_folder(tmp_path / "elsewhere", {"green": 10, "more": 4})
    folder = noise_folder(tmp_path / "photos", TWO, 1)
    (folder / "green").symlink_to(elsewhere / "green", target_is_directory=True)
    (folder / "red" / "more").symlink_to(elsewhere / "more", target_is_directory=True)
    (folder / "red" / "loop").symlink_to(folder, target_is_directory=True)
    (folder / "back").symlink_to(tmp_path, target_is_directory=True)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    (folder / "blue" / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    dataset = load_dataset(str(folder))
    assert dataset.class_names == ("blue", "green", "red")
    assert dataset.counts()["red"] == {"train": 12, "validation": 1, "test": 1}
    assert sum(dataset.counts()["green"].values()) == 10
    nowhere, back = "links that lead nowhere", "links that lead back to a folder above them"
    assert reasons(dataset) == {"gone": nowhere, "gone.jpg": nowhere, "back": back, "loop": back}


def test_photos_beside_the_classes_are_told(tmp_path: Path) -> None:
    noise_folder(tmp_path, TWO)
    noise_photo(9).save(tmp_path / "beside.jpg")
    dataset = load_dataset(str(tmp_path))
    assert reasons(dataset) == {"beside.jpg": "beside the class folders, so without a class"}


def test_many_skipped_files_are_one_sentence(tmp_path: Path) -> None:
    noise_folder(tmp_path, TWO)
    for number in range(120):
        (tmp_path / "red" / f"MVI_{number:04}.MOV").write_bytes(b"film")
    (tmp_path / "red" / "notes.txt").write_text("x")
    (tmp_path / "red" / "scan.TIFF").write_text("x")
    (note,) = load_dataset(str(tmp_path)).notes
    assert note.startswith("122 files skipped: 120 videos (MVI_0000.MOV, ")
    assert "1 not a photo (notes.txt)" in note and "scan.TIFF" in note
    assert "MVI_0003" not in note


def test_a_photo_in_two_classes_is_named_and_left_out(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path, TWO)
    shutil.copy(folder / "blue" / "000.jpg", folder / "red" / "again.jpg")
    dataset = load_dataset(str(folder))
    note = "1 photo in two classes, left out of both: blue/000.jpg = red/again.jpg"
    assert note in dataset.notes
    assert sum(sizes(dataset)) == 19 and len(dataset.skipped) == 2


def test_near_copies_come_into_one_part(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path, {"blue": 40, "red": 40})
    for path in list(folder.rglob("*.jpg")):
        with Image.open(path) as image:  # smaller, mirrored, compressed anew
            copy = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).resize((61, 47))
        copy.save(path.with_name(f"copy {path.name}"), quality=60)
    dataset = load_dataset(str(folder))
    places: dict[str, set[str]] = {}
    for split, photos in dataset.splits.items():
        for photo in photos:
            places.setdefault(photo.name.replace("copy ", ""), set()).add(split)
    assert len(places) == 80 and all(len(splits) == 1 for splits in places.values())
    assert sizes(dataset) == [128, 16, 16]


def test_near_copies_across_given_splits_are_not_trained_on(tmp_path: Path) -> None:
    noise_folder(tmp_path / "train", TWO, 1)
    noise_folder(tmp_path / "test", TWO, 2)
    with Image.open(tmp_path / "test" / "red" / "003.jpg") as image:
        image.resize((61, 47)).save(tmp_path / "train" / "red" / "copy.jpg", quality=60)
    dataset = load_dataset(str(tmp_path))
    assert "red/copy.jpg" not in {photo.name for photo in dataset.split("train")}
    assert "1 training photo left out: (nearly) the same as one of another split" in dataset.notes


def test_other_things_are_a_class_of_their_own(tmp_path: Path) -> None:
    folder = noise_folder(
        tmp_path / "photos", {**TWO, f"{OTHER_FOLDER}/cups": 20, f"{OTHER_FOLDER}/cars": 20}
    )
    dataset = load_dataset(str(folder))
    assert dataset.class_names == ("blue", "red", NONE_OF_THESE)
    assert (dataset.other_class, dataset.other) == (NONE_OF_THESE, 2)
    counts = dataset.counts()
    # Outside of training at most as many as of all classes together.
    assert counts[NONE_OF_THESE] == {"train": 32, "validation": 2, "test": 2}
    assert [source.other for source in dataset.sources] == [False, True]
    plain = dataset.without_other()
    assert plain.class_names == ("blue", "red") and sum(sizes(plain)) == 20


def test_small_classes_are_warned_about(tmp_path: Path) -> None:
    noise_folder(tmp_path, {"blue": 60, "red": 60, "rare": 10})
    (warning,) = check_enough(load_dataset(str(tmp_path)))
    assert "rare 8" in warning and "blue" not in warning


def test_who_gave_enough_is_not_told_to_give_more(tmp_path: Path) -> None:
    """A head is fitted to the validation photos, too."""
    dataset = load_dataset(str(noise_folder(tmp_path, {"blue": 20, "red": 20})), "whole")
    assert dataset.counts()["blue"] == {"train": 19, "validation": 1}
    assert check_enough(dataset, ("train", "validation")) == []
    (warning,) = check_enough(dataset)
    assert "blue 19, red 19" in warning


def test_a_file_that_nobody_may_read_is_skipped(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path, TWO)
    (folder / "red" / "000.jpg").chmod(0)
    if os.access(folder / "red" / "000.jpg", os.R_OK):
        pytest.skip("this account may read everything")
    assert reasons(load_dataset(str(folder))) == {"000.jpg": "damaged, or not a picture inside"}


def named_anyhow(folder: Path) -> set[str]:
    """Photos under names that say something else, or nothing; returns the names."""
    folder.mkdir(parents=True)
    heic = (Path(__file__).parents[1] / "hostile/heic/plain.heic").read_bytes()
    avif = io.BytesIO()
    noise_photo(1000).save(avif, "AVIF")
    contents = {"phone.heic": heic, "web.avif": avif.getvalue()}
    for seed, name in enumerate(("a.HEIC", "b.jfif", "c.jpe", "nothing", "d.dat", "e.jpg", "f.JPG.bak")):
        file = io.BytesIO()
        noise_photo(2000 + seed).save(file, "JPEG")
        contents[name] = file.getvalue()
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return set(contents)


def test_what_a_file_is_its_content_says(tmp_path: Path) -> None:
    noise_folder(tmp_path, TWO)
    names = named_anyhow(tmp_path / "green")
    (tmp_path / "green" / "movie.mov").write_bytes(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ")
    dataset = load_dataset(str(tmp_path))
    label = dataset.class_names.index("green")
    read = {Path(p.source).name for photos in dataset.splits.values() for p in photos if p.label == label}
    assert read == names
    assert reasons(dataset) == {"movie.mov": "videos"}


def test_predict_names_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = named_anyhow(tmp_path / "holiday")
    for name in ("notes.txt", "scan.tif", "film.mov", "IMG_1.AAE"):
        (tmp_path / "holiday" / name).write_bytes(b"x")
    assert {path.name for path in find_photos([tmp_path / "holiday"])} == names
    told = capsys.readouterr().err
    assert "4 files skipped" in told
    assert "1 video (film.mov)" in told and "2 not photos (IMG_1.AAE, notes.txt)" in told
    assert "1 picture of another format than JPEG, PNG, WebP, HEIC or AVIF: convert it to JPEG (" in told
    assert "scan.tif" in told


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Gänse") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        (COMPOSED, DECOMPOSED, COMPOSED),
        ("Daisy", "daisy", "Daisy"),
        ("daisy", "daisy ", "daisy"),
        ("t-shirt", "T shirt", "T shirt"),
    ],
)
def test_spellings_of_one_class_are_one_class(first: str, second: str, name: str, tmp_path: Path) -> None:
    noise_folder(tmp_path, {first: 6, second: 7, "red": 10})
    dataset = load_dataset(str(tmp_path))
    assert set(dataset.class_names) == {name, "red"}
    assert sum(dataset.counts()[name].values()) == 13
    assert [note for note in dataset.notes if f"are one class, {name!r}" in note]


def test_letters_in_upper_and_lower_case_stay_two_classes(tmp_path: Path) -> None:
    noise_folder(tmp_path, {"a": 6, "A": 6})
    assert load_dataset(str(tmp_path)).class_names == ("A", "a")


def test_splits_and_sources_may_spell_a_class_differently(tmp_path: Path) -> None:
    noise_folder(tmp_path / "split" / "train", {COMPOSED: 8, "Red": 8}, 1)
    noise_folder(tmp_path / "split" / "val", {DECOMPOSED: 3, "red ": 3}, 2)
    dataset = load_dataset(str(tmp_path / "split"))
    assert dataset.class_names == (COMPOSED, "Red") and sizes(dataset)[:2] == [16, 6]
    noise_folder(tmp_path / "more", {DECOMPOSED: 8, "red": 8}, 3)
    both = load_dataset([str(tmp_path / "split"), str(tmp_path / "more")])
    assert both.class_names == (COMPOSED, "Red")


def test_runs_and_bundles_among_the_photos_are_no_class(tmp_path: Path) -> None:
    noise_folder(tmp_path, TWO)
    for place in ("runs/first", "mine", "red/runs/second"):
        run = noise_folder(tmp_path / place, {"": 1})  # stands for the contact sheet
        (run / "config.json").write_text("{}")
        (run / "photographs.csv").write_text("")
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "bundle.json").write_text("{}")
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("blue", "red") and sum(sizes(dataset)) == 20
    skipped = {Path(file.path).relative_to(tmp_path).as_posix() for file in dataset.skipped}
    assert skipped == {"runs", "mine", "red/runs", "bundle"}
    assert len(find_photos([tmp_path])) == 20


def test_people_may_be_called_val_and_dev(tmp_path: Path) -> None:
    noise_folder(tmp_path, {"Anna": 6, "Dev": 6, "Val": 6})
    dataset = load_dataset(str(tmp_path))
    assert dataset.class_names == ("Anna", "Dev", "Val") and dataset.split_scheme == "default"


def camera_folder(folder: Path, counts: dict[str, int], seed: int = 0, scenes: int = 1) -> Path:
    """What a fixed camera sees: one scene again and again (or some), and a small thing that differs."""
    random = np.random.default_rng(seed)
    for label, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            scene = 500 + number % scenes + (100 * label if scenes > 1 else 0)
            pixels = np.asarray(noise_photo(scene, (120, 90))).astype(int)
            y, x = random.integers(30, 40, 2)
            pixels[y : y + 5, x : x + 5] = (250, 10, 10) if label else (10, 10, 250)
            pixels = (pixels + random.normal(0, 3, pixels.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{seed}_{number:03}.jpg", quality=90)
    return folder


def scene_notes(dataset: PhotoDataset) -> list[str]:
    return [note for note in dataset.notes if "same scene" in note]


@pytest.mark.parametrize("scheme", ["default", "whole"])
def test_photos_of_a_fixed_camera_are_divided(scheme: str, tmp_path: Path) -> None:
    folder = camera_folder(tmp_path, {"blue": 20, "red": 20})
    (gathered,) = read_photos(str(folder)).sources.values()
    assert len(set(gathered.copies.values())) == 1  # all are copies of each other, across the classes too
    dataset = load_dataset(str(folder), scheme)
    for splits in dataset.counts().values():
        assert splits == ({"train": 16, "validation": 2, "test": 2} if scheme == "default" else splits)
        assert all(splits.values()) and sum(splits.values()) == 20
    (note,) = scene_notes(dataset)
    assert note.startswith("nearly all photos of 'blue', 'red' show the same scene")


def test_own_splits_of_a_fixed_camera_are_taken_as_they_are(tmp_path: Path) -> None:
    camera_folder(tmp_path / "train", {"blue": 12, "red": 12}, 1)
    camera_folder(tmp_path / "val", {"blue": 4, "red": 4}, 2)
    camera_folder(tmp_path / "test", {"blue": 4, "red": 4}, 3)
    shutil.copy(tmp_path / "test" / "red" / "3_000.jpg", tmp_path / "train" / "red")  # the same file
    dataset = load_dataset(str(tmp_path))
    assert sizes(dataset) == [24, 8, 8] and len(scene_notes(dataset)) == 1


def test_frames_of_the_same_films_in_each_split_are_kept_and_told(tmp_path: Path) -> None:
    camera_folder(tmp_path / "train", {"blue": 30, "red": 30}, 1, scenes=15)
    camera_folder(tmp_path / "val", {"blue": 15, "red": 15}, 2, scenes=15)
    dataset = load_dataset(str(tmp_path))
    assert sizes(dataset)[:2] == [60, 30]
    (note,) = scene_notes(dataset)
    assert note.startswith("nearly all training photos of 'blue', 'red' look like one of another split")


def test_two_days_of_a_fixed_camera_can_be_joined(tmp_path: Path) -> None:
    days = [camera_folder(tmp_path / f"day{day}", {"blue": 20, "red": 20}, day) for day in (1, 2)]
    dataset = load_dataset([str(day) for day in days])
    assert sizes(dataset) == [64, 8, 8]


def test_a_burst_inside_of_a_class_stays_together(tmp_path: Path) -> None:
    noise_folder(tmp_path, {"blue": 20, "red": 10})
    camera_folder(tmp_path, {"blue": 0, "red": 10})
    dataset = load_dataset(str(tmp_path))
    assert len({split for split, photos in dataset.splits.items() for p in photos if "/0_" in p.name}) == 1
    assert not scene_notes(dataset)


def test_patterns_below_folders_with_brackets_in_their_names(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path / "holiday [2024] *best*", {"": 3, "more": 2})
    assert len(find_photos([folder / "*.jpg"])) == 3
    assert len(find_photos([folder / "**" / "*.jpg"])) == 5
    assert len(find_photos([folder / "m*e" / "00[01].jpg"])) == 2
    with pytest.raises(UserError, match="No file matches"):
        find_photos([folder / "*.png"])
