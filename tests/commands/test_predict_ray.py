"""Many photos into a folder of Parquet files: the folder, its continuation, and the workers."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from filelock import FileLock
from typer.testing import CliRunner, Result

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.cli import app
from mobilevit_core.commands import answer_folder
from mobilevit_core.commands.answer_folder import SCHEMA, AnswerFolder, answer_row, answers_digest
from mobilevit_core.commands.predict import find_photos
from mobilevit_core.commands.predict_ray import Worker
from mobilevit_core.errors import UserError
from mobilevit_core.inference.classifier import Classifier, load_classifier
from tests.drawing import COLORS, draw_photo

ROOT = Path(__file__).parents[2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def rows(*paths: str) -> pa.Table:
    return pa.Table.from_pylist([{"path": path} for path in paths], SCHEMA)


@pytest.fixture
def classifier(small_bundle: Bundle) -> Classifier:
    return load_classifier(small_bundle.folder)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Three photos, one of them damaged."""
    folder = tmp_path / "photos"
    folder.mkdir()
    draw_photo(COLORS["red"], 1).save(folder / "a.jpg")
    draw_photo(COLORS["blue"], 2).save(folder / "b.jpg")
    (folder / "bad.jpg").write_text("no photo")
    return folder


def test_a_worker_answers_and_goes_on_over_a_bad_file(small_bundle: Bundle, photos: Path) -> None:
    classifier = load_classifier(small_bundle.folder, "float16")
    worker = Worker(str(small_bundle.folder), "float16", answers_digest(classifier))
    paths = [os.fsencode(path) for path in sorted(photos.iterdir())]
    table = worker(pa.table({"path": paths}))
    assert table.schema == SCHEMA
    good, _, bad = table.to_pylist()
    answer = classifier.predict(photos / "a.jpg")
    assert good["answer"] == "red" and good["probabilities"] == answer.probabilities.tolist()
    assert good["score"] == answer.score and good["unknown"] is answer.unknown and good["error"] is None
    assert "is not a JPEG" in bad["error"] and bad["answer"] is bad["probabilities"] is None


def test_a_worker_without_the_photos_says_so(small_bundle: Bundle, tmp_path: Path) -> None:
    classifier = load_classifier(small_bundle.folder, "float16")
    worker = Worker(str(small_bundle.folder), "float16", answers_digest(classifier))
    with pytest.raises(UserError, match="not_mounted is not there on a worker's machine"):
        worker(pa.table({"path": [os.fsencode(tmp_path / "not_mounted" / "a.jpg")]}))


def test_a_worker_refuses_another_bundle(small_bundle: Bundle) -> None:
    with pytest.raises(UserError, match="another bundle on a worker's machine"):
        Worker(str(small_bundle.folder), "float32", "0" * 64)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow no such names")
def test_a_name_that_is_not_utf8(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"\xff.jpg")
    draw_photo(COLORS["red"], 1).save(path)
    folder = AnswerFolder(tmp_path / "answers")
    with folder.claimed(classifier):
        folder.write([pa.Table.from_pylist([answer_row(classifier, str(path))], SCHEMA)], 1)
        assert folder.left([path]) == [] and folder.counts() == (1, 0)


def test_what_is_written_is_not_left(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(answer_folder, "FILE_ROWS", 2)
    folder = AnswerFolder(tmp_path / "answers")
    absolute = [str(tmp_path / name) for name in "abcde"]
    with folder.claimed(classifier):
        assert folder.left(["b", tmp_path / "a", Path("b")]) == [absolute[1], absolute[0]]
        folder.write([rows(absolute[0]), rows(absolute[1]), rows(absolute[2])], 3)
    (folder.path / ".part-1-answers-000002.parquet").write_bytes(b"half a file")
    with folder.claimed(classifier):
        assert folder.left(["e", "c", "a"]) == [absolute[4]]
        folder.write([rows(absolute[3], absolute[4])], 2)
        assert folder.counts() == (5, 0)
    names = [path.name for path in sorted(folder.path.glob("*.p*"))]
    assert names == [f"answers-00000{number}.parquet" for number in range(3)]
    assert pq.read_table(folder.path)["path"].to_pylist() == absolute  # as other programs read the folder


def test_rows_before_an_error_stay(classifier: Classifier, tmp_path: Path) -> None:
    def failing() -> object:
        yield rows("a")
        raise KeyboardInterrupt

    folder = AnswerFolder(tmp_path / "answers")
    with pytest.raises(KeyboardInterrupt), folder.claimed(classifier):
        folder.write(failing(), 2)
    assert folder.counts() == (1, 0)


def test_the_folder_belongs_to_one_bundle_and_one_process(
    classifier: Classifier, small_bundle: Bundle, tmp_path: Path
) -> None:
    folder = AnswerFolder(tmp_path / "answers")
    with folder.claimed(classifier):
        pass
    with pytest.raises(UserError, match="another bundle or format"):
        with folder.claimed(load_classifier(ROOT / "demo" / "weights")):
            pass
    with pytest.raises(UserError, match="another bundle or format"):
        with folder.claimed(load_classifier(small_bundle.folder, "float16")):
            pass
    with FileLock(folder.path / answer_folder.LOCK), pytest.raises(UserError, match="Another process"):
        with folder.claimed(classifier):
            pass
    (folder.path / answer_folder.RECORD).write_text("{")
    with pytest.raises(UserError, match="can't be read: it is not JSON"):
        with folder.claimed(classifier):
            pass
    (tmp_path / "other.parquet").touch()
    with pytest.raises(UserError, match="holds other Parquet files"):
        with AnswerFolder(tmp_path).claimed(classifier):
            pass


def test_a_damaged_file_is_named(classifier: Classifier, tmp_path: Path) -> None:
    folder = AnswerFolder(tmp_path / "answers")
    with folder.claimed(classifier):
        folder.write([rows("a")], 1)
        path = folder.path / "answers-000000.parquet"
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(UserError, match=r"answers-000000\.parquet is damaged"):
            folder.left(["a"])


def test_tables_name_photos(photos: Path) -> None:
    (photos / "some.csv").write_text("number,Path\n1,a.jpg\n2,\n3,deep/none.jpg\n")
    pq.write_table(pa.table({"path": ["b.jpg", str(photos / "a.jpg")]}), photos / "some.parquet")
    found = find_photos([photos / "some.csv", photos / "some.parquet"])
    assert found == [photos / "a.jpg", photos / "deep" / "none.jpg", photos / "b.jpg"]
    (photos / "other.csv").write_text("number,label\n1,red\n")
    with pytest.raises(UserError, match=r"no column path; its first line is: number, label\.$"):
        find_photos([photos / "other.csv"])
    (photos / "empty.csv").write_text("path\n")
    with pytest.raises(UserError, match="names no files"):
        find_photos([photos / "empty.csv"])
    (photos / "other.parquet").write_text("no table")
    with pytest.raises(UserError, match="is not a Parquet file"):
        find_photos([photos / "other.parquet"])


def test_without_ray_a_sentence_says_what_to_install(
    small_bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = run("predict", small_bundle.folder, photos, "--parquet", tmp_path / "answers")
    assert result.exit_code == 2 and not (tmp_path / "answers").exists()
    assert result.stderr.count("\n") == 1 and result.stderr.rstrip().endswith("pip install '.[bulk]'")


def test_options_that_contradict(small_bundle: Bundle, photos: Path) -> None:
    both = run("predict", small_bundle.folder, photos, "--parquet", "answers", "--json")
    assert both.exit_code == 2 and "Choose one" in both.stderr
    alone = run("predict", small_bundle.folder, photos, "--workers", 2)
    assert alone.exit_code == 2 and "--workers needs --parquet" in alone.stderr


def test_ray_answers_as_predict_does_and_goes_on(
    small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    folder, table = tmp_path / "answers", tmp_path / "answers.csv"
    places = [shutil.copytree(photo_folder, tmp_path / "photos")]
    (places[0] / "bad.jpg").write_text("no photo")
    command = [sys.executable, "-m", "mobilevit_core", "predict", str(small_bundle.folder)]
    options = ["--parquet", str(folder), "--workers", "2"]
    environment = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}

    def ray(place: Path) -> subprocess.CompletedProcess[str]:
        words = [*command, str(place), *options]
        return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    first = ray(places[0] / "red")
    assert first.returncode == 0 and f"10 answers in {folder}" in first.stderr, first.stderr
    second = ray(places[0])
    assert second.returncode == 2 and "1 of 31 photos can't be read" in second.stderr, second.stderr
    assert run("predict", small_bundle.folder, places[0], "--csv", table).exit_code == 2
    with table.open(newline="", encoding="utf-8") as file:
        plain = {row["photograph"]: row for row in csv.DictReader(file)}
    answers = pq.read_table(folder).to_pylist()
    assert len(answers) == len({row["path"] for row in answers}) == 31
    assert {row["path"]: row["answer"] or "" for row in answers} == {
        path: row["label"] for path, row in plain.items()
    }
    assert len(list(folder.glob("*.parquet"))) == 2
    names = json.loads((folder / answer_folder.RECORD).read_text())["class_names"]
    assert names == list(small_bundle.manifest.class_names)
    ours = psutil.Process().children(recursive=True)
    assert not [process for process in ours if "ray" in " ".join(process.cmdline())]
