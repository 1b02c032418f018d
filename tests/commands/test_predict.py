"""Answers for files, folders and patterns, in every form."""

import csv
import json
import os
import re
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.cli import app
from mobilevit_core.commands import predict as module
from mobilevit_core.commands.predict import find_photos, predictions
from mobilevit_core.errors import UserError
from mobilevit_core.files import cell, from_cell
from mobilevit_core.inference.classifier import load_classifier
from tests.drawing import COLORS, draw_photo


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Photos, some deeper, beside files that are none and one that is damaged."""
    folder = tmp_path / "mixed [1]"
    (folder / "deep").mkdir(parents=True)
    draw_photo(COLORS["red"], 1).save(folder / "b.jpg")
    draw_photo(COLORS["blue"], 2).save(folder / "deep" / "a.PNG")
    draw_photo(COLORS["blue"], 3).save(folder / "=1+1.jpg")
    (folder / "bad.jpg").write_text("no photo")
    (folder / "notes.txt").write_text("no photo, and not meant as one")
    (folder / ".hidden.jpg").write_text("hidden")
    return folder


def test_folders_and_patterns_are_searched(mixed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["=1+1.jpg", "b.jpg", "bad.jpg", "deep/a.PNG"]
    assert [path.relative_to(mixed).as_posix() for path in find_photos([mixed])] == names
    monkeypatch.chdir(mixed)
    assert find_photos(["*.jpg"]) == [Path(name) for name in names[:3]]
    assert find_photos(["**/*.PNG", "b.jpg", "b.jpg"]) == [Path("deep/a.PNG"), Path("b.jpg")]
    assert find_photos(["."]) == [Path(name) for name in names]
    assert find_photos(["none.jpg"]) == [Path("none.jpg")]
    with pytest.raises(UserError, match="No file matches"):
        find_photos(["*.webp"])
    (mixed / "empty").mkdir()
    with pytest.raises(UserError, match="holds no photos"):
        find_photos([mixed / "empty"])


def test_links_that_lead_back_end(mixed: Path) -> None:
    (mixed / "deep" / "back").symlink_to(mixed)
    assert len(find_photos([mixed])) == 4


def test_answers_come_before_all_photos_are_read(
    small_bundle: Bundle, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, read = load_classifier(small_bundle.folder), []
    tensor = classifier.tensor
    monkeypatch.setattr(classifier, "tensor", lambda photo: read.append(photo) or tensor(photo))
    photos = [photo_folder / "red" / "00.jpg"] * 5000
    first = next(iter(predictions(classifier, photos)))
    assert first[1].label == "red" and len(read) < 2500


def test_every_form_goes_on_over_a_bad_file(mixed: Path, small_bundle: Bundle, tmp_path: Path) -> None:
    bundle, table = small_bundle.folder, tmp_path / "answers.csv"
    plain = run("predict", bundle, mixed, "--top", 1)
    assert plain.exit_code == 2 and "1 of 4 photos can't be read" in plain.stderr
    assert "bad.jpg is not a JPEG" in plain.stderr and plain.stdout.count("%") == 3
    lines = run("predict", bundle, mixed, "--json-lines")
    answers = [json.loads(line) for line in lines.stdout.splitlines()]
    assert lines.exit_code == 2 and [Path(answer["photo"]).name for answer in answers] == [
        "=1+1.jpg",
        "b.jpg",
        "a.PNG",
    ]
    whole = json.loads(run("predict", bundle, mixed, "--json").stdout)
    assert whole["photos"] == {
        answer["photo"]: {key: value for key, value in answer.items() if key != "photo"} for answer in answers
    }
    assert run("predict", bundle, mixed, "--csv", table, "--top", 2).exit_code == 2
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == ["blue", "red", "", "blue"]
    assert "is not a JPEG" in rows[2]["error"] and rows[2]["score"] == ""
    assert rows[1]["label_2"] in ("blue", "green") and float(rows[1]["score"]) > float(rows[1]["score_2"])
    assert rows[0]["unknown"] in ("true", "false") and rows[0]["format"] == "float32"


def test_a_name_that_is_no_text_is_printed(mixed: Path, small_bundle: Bundle) -> None:
    odd = os.fsdecode(os.fsencode(mixed) + b"/caf\xe9.jpg")
    shutil.copy(mixed / "b.jpg", odd)
    result = run("predict", small_bundle.folder, odd)
    assert result.exit_code == 0 and "caf\\udce9.jpg" in result.stdout, result.output


@pytest.mark.parametrize("text", ["=1", " -1", "a;=1", "a; @b;+c", "rose", "a;b", "it's", "\t=1", ""])
def test_a_cell_is_read_back(text: str) -> None:
    written = cell(text)
    assert from_cell(written) == text and not re.search(r"(^|;) *[=+\-@\t\r\n]", written)


def test_no_cell_is_a_formula(mixed: Path, small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(mixed)
    assert run("predict", small_bundle.folder, "=1+1.jpg", "--csv", "answers.csv").exit_code == 0
    assert Path("answers.csv").read_text().splitlines()[1].startswith("'=1+1.jpg,")


def test_the_rows_so_far_stay_when_it_is_stopped(
    photo_folder: Path, small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopping(*arguments: object) -> object:
        yield from list(predictions(*arguments))[:2]
        raise KeyboardInterrupt

    monkeypatch.setattr("mobilevit_core.cli.predict.predictions", stopping)
    result = run("predict", small_bundle.folder, photo_folder, "--csv", tmp_path / "answers.csv")
    assert result.exit_code == 130
    assert len((tmp_path / "answers.csv").read_text().splitlines()) == 3


def test_options_that_contradict_and_bad_places_are_told(
    small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    both = run("predict", small_bundle.folder, photo_folder, "--json", "--json-lines")
    assert both.exit_code == 2 and "Choose one" in both.stderr
    nowhere = run("predict", small_bundle.folder, photo_folder, "--csv", tmp_path / "no" / "answers.csv")
    assert nowhere.exit_code == 2 and str(tmp_path / "no") in nowhere.stderr
    shutil.copy(photo_folder / "red" / "00.jpg", tmp_path / "one.jpg")
    assert module.find_photos([tmp_path / "one.jpg"]) == [tmp_path / "one.jpg"]
