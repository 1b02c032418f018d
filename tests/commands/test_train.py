"""From a folder to a measured bundle with one call, and more photos for it."""

import csv
import errno
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import mobilevit_core
from mobilevit_core import files
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.cli import app
from mobilevit_core.commands.add import add
from mobilevit_core.commands.train import Trained, default_run
from mobilevit_core.data.findings import CONTACT_SHEET
from mobilevit_core.errors import UserError
from mobilevit_core.training import head
from tests.drawing import COLORS, draw_photo
from tests.networks import float32_alone


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def draw_more(folder: Path, per_class: int, first: int) -> Path:
    """Photos that no other test has drawn."""
    for number, (name, color) in enumerate(COLORS.items()):
        (folder / name).mkdir(parents=True)
        for index in range(per_class):
            draw_photo(color, first + 100 * number + index).save(folder / name / f"{first}-{index}.jpg")
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_format_each() -> Iterator[None]:
    """The bundles get one .tflite file: nothing here asks for the others."""
    with float32_alone():
        yield


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_more(tmp_path_factory.mktemp("train") / "my photos", 8, 3000)


@pytest.fixture(scope="module")
def trained(photos: Path, small_bundle: Bundle) -> Trained:
    return mobilevit_core.train(photos, photos.parent / "run", weights=small_bundle.folder)


def test_one_call_trains_measures_and_reports(trained: Trained, photos: Path) -> None:
    assert trained.bundle.manifest.recipe["name"] == "head"  # by itself: there are few photos
    assert trained.split == "cross-validation" and trained.result["photos"] == 24
    low, high = trained.result["interval_95"]
    assert low < trained.result["accuracy"] <= high
    assert trained.figures["provenance"] == {"trained_on": 0, "chosen_by": 0}
    assert trained.report.is_file() and (photos.parent / "run" / CONTACT_SHEET).is_file()
    with (photos.parent / "run" / "answers.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 24
    report = json.loads(trained.report.with_name("report.json").read_text())
    assert report["figures"]["split"] == "cross-validation" and report["main"] == "float32"


def test_a_finished_run_is_told_again(
    trained: Trained, photos: Path, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(head.FittedHead, "write_bundle", None)
    folder, before = photos.parent / "run", trained.report.stat().st_mtime_ns
    result = run("train", photos, "--run", folder, "--weights", small_bundle.folder)
    assert result.exit_code == 0, result.output
    assert trained.report.stat().st_mtime_ns == before
    lines = result.stdout.splitlines()
    assert lines[0] == f"Bundle: {folder / 'bundle'}"
    assert "by cross-validation on 24 photos" in lines[1] and "95 % interval" in lines[1]
    assert lines[-1] == f"Show it in the demo: python app.py --bundle {folder / 'bundle'}"
    said = result.stderr.replace("\n", " ")
    for words in ("blue", "shorter sides: 70 to 70 px", "Contact sheet:", "Chosen recipe: head", "--recipe"):
        assert words in said


def test_python_evaluates_and_exports(trained: Trained, photos: Path, tmp_path: Path) -> None:
    evaluated = mobilevit_core.evaluate(trained.bundle, str(photos), "all", format="float32")
    assert evaluated.accuracy >= 0.9 and evaluated.report is None
    assert evaluated.figures["provenance"]["trained_on"] > 0
    exported = mobilevit_core.export(trained.bundle.folder, tmp_path / "saved", saved_model=True)
    assert exported.bundle is None and (tmp_path / "saved" / "saved_model.pb").is_file()
    with pytest.raises(UserError, match="exists already"):
        mobilevit_core.export(trained.bundle, tmp_path)
    with pytest.raises(UserError, match="no bundle folder"):
        mobilevit_core.evaluate(tmp_path / "none")


def test_more_photos_give_a_new_run_and_what_changed(trained: Trained, photos: Path) -> None:
    folder, more = photos.parent / "run", draw_more(photos.parent / "more", 6, 5000)
    result = run("train", "--add", more, "--run", folder)
    assert result.exit_code == 0, result.output
    assert f"Bundle: {photos.parent / 'run-2' / 'bundle'}" in result.stdout
    compared = int(re.search(r"on (\d+) photos that neither was trained on", result.stdout)[1])
    with (photos.parent / "run-2" / "answers.csv").open(newline="") as file:
        assert compared == len(list(csv.DictReader(file))) > 30
    with (photos.parent / "run-2" / "changes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["change"] for row in rows} <= {"gained", "lost"}
    summary = add(folder, [str(more)]).summary  # the same call: the run that is there
    assert summary in result.stdout and not (photos.parent / "run-3").exists()
    with pytest.raises(UserError, match="is part of .* already"):
        add(folder, [str(photos)])


def test_mistakes_are_told_before_anything_is_written(tmp_path: Path, photos: Path) -> None:
    for words, message in (
        (("train", tmp_path / "none"), "There is no folder"),
        (("train", photos, "--weights", "general-x"), "no bundle folder"),
        (("train", "--add", photos), "--add needs the run"),
        (("train", "--add", photos, "--run", tmp_path / "none"), "is not a training run"),
        (("train", "--add", photos, "--run", tmp_path, "--recipe", "head"), "Leave out all other options"),
    ):
        result = run(*words)
        assert result.exit_code == 2 and message in result.stderr.replace("\n", " "), result.output
    assert not list(tmp_path.iterdir())


def test_an_accuracy_that_says_little_is_told(trained: Trained) -> None:
    assert trained.doubts == []
    rows = {"hat": {"photos": 2, "recall": 0.0}, "t-shirt": {"photos": 40, "recall": 1.0}}
    row = {"accuracy": 40 / 42, "interval_95": (0.84, 0.99), "photos": 42, "per_class": rows}
    doubts = replace(trained, figures={"formats": {"keras": row}}).doubts
    assert doubts[0].startswith("always answering 't-shirt' would be right for 95.2 % of these photos")
    assert doubts[1].startswith("never recognized: hat.")


@pytest.mark.parametrize("written", ["bundle", "report.json"])
def test_a_disk_that_fills_up_ends_a_head_with_a_sentence(
    written: str, photos: Path, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flush = files._flush

    def full(path: Path) -> None:
        if path.name.endswith(written):
            raise OSError(errno.ENOSPC, "No space left on device")
        flush(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_flush", full)
        told = run("train", photos, "--run", tmp_path / "run", "--weights", small_bundle.folder)
    assert told.exit_code == 2 and "Traceback" not in told.stderr
    message = " ".join(told.stderr.split())
    assert message.endswith("No space left on device. Free some there, or name a folder on another disk.")
    assert f"Error: {tmp_path / 'run'}" in message and message.count("Error: ") == 1
    assert not [path for path in tmp_path.rglob("*") if files.UNFINISHED in path.name]
    again = run("train", photos, "--run", tmp_path / "run", "--weights", small_bundle.folder)
    assert again.exit_code == 0, again.output


def test_another_recipe_has_another_run_folder(photo_folder: Path) -> None:
    """So that a finetune after a head does not meet the head's run."""
    assert default_run(str(photo_folder), None) == Path("runs") / photo_folder.name
    assert default_run(str(photo_folder), "finetune") == Path("runs") / f"{photo_folder.name}-finetune"
    assert default_run("tf_flowers:3.0.1", None) == Path("runs/tf_flowers-3.0.1")
