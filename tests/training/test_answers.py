"""Gains and regressions, labels to check, and the time that a training takes."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.findings import CONTACT_SHEET, Findings, write_findings
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.evaluation.metrics import Evaluation, Measured
from mobilevit_core.training import label_noise
from mobilevit_core.training.answers import compare, read_answers, write_answers
from mobilevit_core.training.progress import EstimateTime
from tests.drawing import draw_folder, draw_photo, noise_folder, noise_photo

NAMES = ("cat", "dog")


def photo(number: int, label: int, folder: Path) -> LabelledPhoto:
    path = folder / f"{number}.png"
    noise_photo(number).save(path)
    return LabelledPhoto(path.name, label, path)


def measured(photos: list[LabelledPhoto], evaluation: Evaluation) -> Measured:
    dataset = PhotoDataset("some", "default", evaluation.class_names, {"test": tuple(photos)})
    return Measured(dataset, "test", {"float32": evaluation})


def test_gains_and_regressions_are_listed(tmp_path: Path) -> None:
    photos = [photo(n, label, tmp_path) for n, label in enumerate((0, 0, 1, 1, 0))]
    probabilities = np.eye(2)[[0, 1, 1, 1, 0]] * 0.8 + 0.1
    write_answers(tmp_path, measured(photos, Evaluation(NAMES, np.array([0, 0, 1, 1, 0]), probabilities)))
    after = read_answers(tmp_path)
    assert after == {p.sha256: a for p, a in zip(photos, ("cat", "dog", "dog", "dog", "cat"), strict=True)}
    before = {photos[0].sha256: "dog", photos[1].sha256: "cat", photos[2].sha256: "dog"}
    asked = []

    def ask(each: LabelledPhoto) -> str | None:
        asked.append(each.name)
        return None if each is photos[4] else "cat"

    changes = compare(photos, NAMES, after, before, ask)
    assert asked == ["3.png", "4.png"]  # the fifth was trained on before: not compared
    assert (changes.compared, changes.right_before, changes.right_after) == (4, 2, 3)
    with changes.write(tmp_path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["change"], row["photograph"], row["before"], row["after"]) for row in rows] == [
        ("gained", "0.png", "dog", "cat"),
        ("lost", "1.png", "cat", "dog"),
        ("gained", "3.png", "cat", "dog"),
    ]
    assert "3 right, 2 before; 2 gained, 1 lost" in changes.sentence()
    assert "No photo" in compare([], NAMES, {}, {}, ask).sentence()


def test_class_names_like_formulas_come_back(tmp_path: Path) -> None:
    photos, names = [photo(n, n, tmp_path) for n in range(3)], ("+1", "-1", "'quoted'")
    write_answers(tmp_path, measured(photos, Evaluation(names, np.arange(3), np.eye(3))))
    assert read_answers(tmp_path) == {p.sha256: name for p, name in zip(photos, names, strict=True)}


def test_a_missing_record_is_empty(tmp_path: Path) -> None:
    assert read_answers(tmp_path) == {}


def test_labels_that_the_model_disagrees_with_are_shown(tmp_path: Path) -> None:
    photos = [photo(n, n % 2, tmp_path) for n in range(8)]
    cats = np.array([0.99, 0.93, 0.8, 0.98, 0.95, 0.02, 0.9, 0.01])  # the two dogs of places 1 and 3 are not
    probabilities = np.stack([cats, 1 - cats], axis=1)
    assert label_noise.write_suspects(tmp_path, photos, NAMES, probabilities) == 2
    with (tmp_path / label_noise.TABLE).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["photograph"], row["class"], row["answer"]) for row in rows] == [
        ("3.png", "dog", "cat"),  # the clearest first
        ("1.png", "dog", "cat"),
    ]
    with Image.open(tmp_path / label_noise.SHEET) as sheet:
        assert sheet.format == "JPEG" and len(sheet.convert("RGB").getcolors(10**6)) > 1000
    empty = tmp_path / "empty"
    empty.mkdir()
    right = np.eye(2)[[0, 1, 0, 1]]
    assert label_noise.write_suspects(empty, photos[:4], NAMES, right) == 0 and not list(empty.iterdir())


def test_a_weak_model_doubts_no_labels() -> None:
    random = np.random.default_rng(0)
    labels, guesses = random.integers(0, 5, 200), random.dirichlet(np.full(5, 3.0), 200)
    assert (guesses.argmax(1) != labels).mean() > 0.7
    assert len(label_noise.suspects(labels, guesses)) == 0


def test_a_look_finds_sizes_copies_and_imbalance(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path / "photos", {"cat": 30, "dog": 10})
    noise_photo(5).resize((180, 140)).save(folder / "cat" / "copy.jpg", quality=70)
    noise_photo(7).save(folder / "dog" / "same.jpg", quality=60)
    dataset = load_dataset(str(folder))
    found = Findings.of(dataset)
    assert found.copies == 1 and found.shorter_side == 70 and found.sides[-1] == 140
    assert [sorted(pair) for pair in found.across] == [["cat/007.jpg", "dog/same.jpg"]]
    assert found.unevenness == pytest.approx(24 / 9, abs=0.6)
    told = " ".join(found.sentences())
    assert "70 to 140 px" in told and "in two classes" in told and "times the photos" in told
    write_findings(tmp_path, dataset)
    with Image.open(tmp_path / CONTACT_SHEET) as sheet:
        assert sheet.format == "JPEG" and sheet.height > 2 * 112
    before = (tmp_path / CONTACT_SHEET).stat().st_mtime_ns
    write_findings(tmp_path, dataset)
    assert (tmp_path / CONTACT_SHEET).stat().st_mtime_ns == before


def test_a_photo_that_is_gone_leaves_its_place_empty(tmp_path: Path) -> None:
    dataset = load_dataset(str(draw_folder(tmp_path / "photos")))
    (tmp_path / "photos" / "red" / "00.jpg").unlink()
    assert Findings.of(dataset).shorter_side == 70
    write_findings(tmp_path, dataset)
    assert (tmp_path / CONTACT_SHEET).exists()


def test_names_that_no_font_has_are_drawn(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    for name in ("a🌻b 花", "x" * 200):
        (folder / name).mkdir(parents=True)
        for number in range(6):
            draw_photo((200, 30, 30), 10 * len(name) + number).save(folder / name / f"{number}.jpg")
    write_findings(tmp_path, load_dataset(str(folder)))
    assert (tmp_path / CONTACT_SHEET).exists()


def test_the_time_is_told_once_and_grows_with_the_pixels(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("mobilevit_core.training.progress.time.perf_counter", lambda: clock[0])
    estimate = EstimateTime([64, 64, 128], steps=4)
    for epoch in range(2):
        estimate.on_epoch_begin(epoch)
        for batch in range(4):
            clock[0] += 30.0 if epoch == 0 and batch < 2 else 2.0  # the first steps build the graph
            estimate.on_train_batch_end(batch)
        clock[0] += 1000  # validation
    told = capsys.readouterr().err
    # After 7 steps: 1 of the second epoch is left, and one epoch of 4 steps at four times the pixels.
    assert told.count("Time: about") == 1 and "about 34 s" in told and "2.00 s" in told
