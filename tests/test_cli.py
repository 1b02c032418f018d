import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.cli import app
from tests.drawing import draw_folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """Runs a command that must fail as a person's mistake does; returns its one message."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("Error: ") == 1 and "Traceback" not in result.stderr
    return result.stderr.replace("\n", " ")


def test_predict_prints_the_best_of_each_photo(small_bundle: Bundle, photo_folder: Path) -> None:
    photos = sorted((photo_folder / "red").iterdir())[:2]
    result = run("predict", small_bundle.folder, *photos, "--top", 2)
    lines = result.stdout.splitlines()
    assert result.exit_code == 0 and lines[0] == str(photos[0]) and lines[3] == str(photos[1])
    assert all(line.split()[0].endswith("%") for line in (lines[1], lines[2], lines[4], lines[5]))


@pytest.mark.parametrize("weight_format", FORMATS)
def test_predict_in_json_by_every_format(
    weight_format: str, small_bundle: Bundle, photo_folder: Path
) -> None:
    photo = photo_folder / "red" / "00.jpg"
    result = run("predict", small_bundle.folder, photo, "--format", weight_format, "--json")
    answers = json.loads(result.stdout)
    answer = answers["photos"][str(photo)]
    scores = [row["score"] for row in answer["predictions"]]
    assert answer["unknown"] == (scores[0] < small_bundle.manifest.rejection.threshold)
    assert answers["format"] == weight_format
    assert sum(scores) == pytest.approx(1, abs=1e-5) and scores == sorted(scores, reverse=True)


def test_evaluate_names_the_split_and_gives_every_format(
    small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    figures = json.loads(run("evaluate", folder, "--data", photo_folder, "--json").stdout)
    assert figures["split"] == "test" and set(figures["formats"]) == set(FORMATS)
    keras, float32 = (figures["formats"][name] for name in ("keras", "float32"))
    assert keras["confusion"] == float32["confusion"]
    error = "expected_calibration_error"
    assert keras[error] == pytest.approx(float32[error], abs=1e-4)


def test_benchmark_gives_every_format(small_bundle: Bundle) -> None:
    figures = json.loads(run("benchmark", small_bundle.folder, "--runs", 3, "--threads", 1, "--json").stdout)
    assert set(figures["formats"]) == set(FORMATS)
    for name, row in figures["formats"].items():
        latency = row["latency_ms"]["1"]
        assert latency["runs"] == 3 and 0 < latency["p50"] <= latency["p95"]
        assert row["load_ms"] > 0 and row["peak_memory_mb"] > 10
        assert row["size_bytes"] == small_bundle.size_bytes(name)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_one_bad_photo_does_not_take_the_answers_of_the_others(
    form: tuple[str, ...], shipped: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    good = photo_folder / "red" / "00.jpg"
    bad = [tmp_path / "bad.txt", tmp_path / "missing.jpg"]
    bad[0].write_text("no photo")
    result = run("predict", shipped.folder, bad[0], good, bad[1], *form)
    assert result.exit_code == 2 and result.stdout.count(str(good)) == 1
    if form:
        assert list(json.loads(result.stdout)["photos"]) == [str(good)]
    assert result.stdout.replace(str(good), "").count(str(tmp_path)) == 0
    assert "bad.txt is not a JPEG" in result.stderr and "no photo" in result.stderr
    assert result.stderr.count("Error: ") == 1 and "Traceback" not in result.stderr


def test_help_names_every_command() -> None:
    result = run("--help")
    for command in ("train", "evaluate", "export", "predict", "unknown", "benchmark"):
        assert command in result.stdout
        assert run(command, "--help").exit_code == 0


def test_wrong_data_is_told_before_anything_is_written(tmp_path: Path) -> None:
    folder, runs = tmp_path / "photos", tmp_path / "runs"
    assert "no folder" in refused("train", "--data", f"{tmp_path}/missing", "--run", runs)
    draw_folder(folder, 2)
    for name in ("blue", "green"):
        shutil.rmtree(folder / name)
    assert "only one class folder (red)" in refused("train", "--data", folder, "--run", runs)
    (folder / "blue").mkdir()
    (folder / "blue" / "a.jpg").write_text("no photo")
    assert "'blue' has no readable photo" in refused("train", "--data", folder, "--run", runs)
    assert "Unknown recipe 'best'" in refused("train", "--data", folder, "--recipe", "best", "--run", runs)
    for value in ("image_size=100", "stages=100:1"):
        assert "Image size 100" in refused("train", "--data", folder, "--run", runs, "--set", value)
    assert "NAME=VALUE" in refused("train", "--data", folder, "--run", runs, "--set", "batch_size")
    assert not runs.exists()
    draw_folder(folder / "more", 5)
    file = folder / "blue" / "a.jpg"
    assert str(file) in refused("train", "--data", folder / "more", "--run", file / "run")


def test_wrong_bundles_and_photos_are_told(small_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    photo = photo_folder / "red" / "00.jpg"
    text = tmp_path / "text.jpg"
    text.write_text("no photo")
    assert "text.jpg is not a JPEG" in refused("predict", small_bundle.folder, text)
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(photo.read_bytes()[: photo.stat().st_size // 2])
    assert "cut.jpg is damaged" in refused("predict", small_bundle.folder, cut)
    assert "no photo" in refused("predict", small_bundle.folder, tmp_path / "none.jpg")
    assert "no bundle folder" in refused("predict", tmp_path / "none", photo)
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    (folder / "model.keras").unlink()
    assert "no model.keras" in refused("evaluate", folder)
    assert "no model.keras" in refused("export", folder, "--to", tmp_path / "out")
    assert "no model.keras" in refused("predict", folder, photo, "--format", "keras")
    (folder / "bundle.json").unlink()
    assert "no bundle.json" in refused("benchmark", folder)
    assert "exists already" in refused("export", small_bundle.folder, "--to", tmp_path)
    assert "Unknown split 'exam'" in refused("evaluate", small_bundle.folder, "--split", "exam")
    assert "Unknown format 'onnx'" in refused("predict", small_bundle.folder, photo, "--format", "onnx")
    assert not (tmp_path / "out").exists()
    assert str(text) in refused("export", small_bundle.folder, "--to", text / "out")


def test_a_tflite_prediction_never_imports_tensorflow(small_bundle: Bundle, photo_folder: Path) -> None:
    code = (
        "import sys; from mobilevit_core import load_classifier; "
        "print(load_classifier(sys.argv[1]).predict(sys.argv[2])); sys.exit('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code, small_bundle.folder, photo_folder / "red" / "00.jpg"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "red" in done.stdout


def test_a_split_scheme_is_no_split(small_bundle: Bundle) -> None:
    assert "--split-scheme keras-example" in refused(
        "evaluate", small_bundle.folder, "--split", "keras-example"
    )
