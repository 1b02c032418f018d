"""The page's functions through a real server and Gradio's own client."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from httpx import HTTPTransport
from PIL import Image

from demo.comparison import Answer, Comparison, Result
from demo.interface import LAUNCH, build
from demo.one_photo import summary
from demo.serving import options
from demo.uploads import PREFIX
from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.inference.latency import measure
from tests.demo.visitor import Visitor

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture(scope="module")
def client(shipped: Bundle) -> Iterator[Client]:
    page = build(Comparison(shipped))
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    client = Client(url, verbose=False)
    yield client
    client.close()
    page.close()


def test_classify_gives_every_runtime(client: Client, shipped: Bundle, photo_folder: Path) -> None:
    photo = photo_folder / "red" / "00.jpg"
    answers = client.predict(handle_file(photo), 7, api_name="/classify")
    assert list(answers) == list(FORMATS)
    for name, answer in answers.items():
        assert set(answer) == {"predictions", "latency_ms", "size_bytes"}
        expected = load_classifier(shipped.folder, name).predict(photo).top()
        assert [row["label"] for row in answer["predictions"]] == [label for label, _ in expected]
        assert [row["score"] for row in answer["predictions"]] == pytest.approx(
            [score for _, score in expected], abs=1e-5
        )
        latency = answer["latency_ms"]
        assert latency["runs"] == 7 and latency["threads"] >= 1
        assert 0 < latency["p50"] <= latency["p95"]
        assert answer["size_bytes"] == shipped.size_bytes(name)


def test_runs_have_a_default(client: Client, photo_folder: Path) -> None:
    answers = client.predict(handle_file(photo_folder / "red" / "00.jpg"), api_name="/classify")
    assert answers["float32"]["latency_ms"]["runs"] == 20


def test_weights_can_be_chosen(client: Client, photo_folder: Path) -> None:
    photo = handle_file(photo_folder / "red" / "00.jpg")
    assert list(client.predict(photo, 2, ["int8"], api_name="/classify")) == ["int8"]


def test_explain_gives_a_map_and_its_class(client: Client, shipped: Bundle, photo_folder: Path) -> None:
    photo = photo_folder / "red" / "00.jpg"
    picture, name = client.predict(handle_file(photo), api_name="/explain")
    assert name == load_classifier(shipped.folder, "keras").predict(photo).label
    with Image.open(picture) as drawn, Image.open(photo) as original:
        assert drawn.size == original.size


def test_benchmark_measures_every_runtime(client: Client) -> None:
    latencies = client.predict(4, api_name="/benchmark")
    assert list(latencies) == list(FORMATS)
    for latency in latencies.values():
        assert latency["runs"] == 4 and 0 < latency["p50"] <= latency["p95"]


def test_the_functions_are_documented_and_the_rest_is_private(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/classify", "/explain", "/benchmark"}
    for endpoint in endpoints.values():
        assert all(parameter["python_type"]["type"] for parameter in endpoint["parameters"])


def test_what_is_no_photograph_gets_a_sentence(client: Client, tmp_path: Path) -> None:
    text = tmp_path / "holiday.jpg"
    text.write_text("no photograph")
    with pytest.raises(AppError, match="is not a JPEG, PNG or WebP picture"):
        client.predict(handle_file(text), api_name="/classify")
    with pytest.raises(AppError, match="no photograph yet"):
        client.predict(None, api_name="/classify")


@pytest.mark.parametrize("kept", ["model.keras", "model_dynamic_int8.tflite"])
def test_a_bundle_with_one_kind_of_weights_works(
    kept: str, small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    for fmt in FORMATS.values():
        if fmt.file != kept:
            (folder / fmt.file).unlink()
    comparison = Comparison(open_bundle(folder))
    result = comparison.run(photo_folder / "red" / "00.jpg", 2)
    assert [FORMATS[name].file for name in result.answers] == [kept]
    assert build(comparison).fns


def test_damaged_weights_do_not_take_the_others_down(
    small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    (folder / "model.keras").write_bytes(b"damaged")
    comparison = Comparison(open_bundle(folder))
    assert set(comparison.run(photo_folder / "red" / "00.jpg", 2).answers) == set(tflite_formats())
    assert "model.keras is not the file" in comparison.problems()["keras"]


def test_without_tensorflow_the_tflite_files_run(shipped: Bundle, photo_folder: Path) -> None:
    code = """
import sys
for name in ("tensorflow", "keras", "tensorflow_datasets"):
    sys.modules[name] = None  # as if it were not installed
from demo.comparison import Comparison
from demo.interface import build
from mobilevit_core.bundle.bundle import open_bundle
comparison = Comparison(open_bundle(sys.argv[1]))
build(comparison)
print(*comparison.run(sys.argv[2], 1).answers)
print(comparison.problems()["keras"])
try:
    comparison.explain(sys.argv[2])
except Exception as error:
    print(error)
"""
    command = [sys.executable, "-c", code, shipped.folder, photo_folder / "red" / "00.jpg"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=APP.parent)
    assert done.returncode == 0, done.stderr
    answered, problem, no_map = done.stdout.splitlines()[-3:]
    assert answered.split() == tflite_formats()
    assert "model.keras needs" in problem and "pip install -r requirements.txt" in problem
    assert no_map.startswith("The map needs")


@pytest.mark.parametrize(("best", "said"), [(0.41, True), (0.6, False)])
def test_a_picture_of_something_else_is_called_so(best: float, said: bool) -> None:
    probabilities = np.array([best, 1 - best - 0.3, 0.3], np.float32)
    latency = measure({"float32": lambda: None}, {"float32": 1}, runs=2)["float32"]
    answer = Answer(
        probabilities,
        sorted(zip("abc", probabilities.tolist(), strict=True), key=lambda pair: -pair[1]),
        latency,
        "LiteRT",
        1,
        1.0,
    )
    text = summary(Result({"float32": answer}, 1.0), RejectionRule(0.5, 0.05, 367))
    assert ("Probably none of these (best: a, 41%)" in text) == said
    assert ("### a, 60%" in text) != said
    assert "none of these" not in summary(Result({"float32": answer}, 1.0), None)


def test_the_app_tells_a_wrong_bundle(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, APP, "--bundle", tmp_path / "none"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("Error: ") == 1 and "Traceback" not in done.stderr


@pytest.mark.parametrize("wrong", [["--keep-uploads", "0"], ["--uploads-mb", "-1"], ["--port", "x"]])
def test_a_wrong_option_is_told(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options().parse_args(wrong)
    assert ended.value.code == 2 and wrong[0] in capsys.readouterr().err


def test_a_server_that_is_stopped_leaves_no_uploads(photo_folder: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, APP, "--port", str(port), "--no-mcp"]
    server = subprocess.Popen(
        command, env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}, stdout=subprocess.DEVNULL
    )
    try:
        with Visitor(base_url=f"http://127.0.0.1:{port}/", transport=HTTPTransport(retries=10)) as visitor:
            sent = visitor.upload(photo_folder / "red" / "00.jpg")
            assert Path(sent["path"]).is_relative_to(tmp_path)
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(PREFIX)]


def test_the_app_stays_a_door() -> None:
    assert len(APP.read_text().splitlines()) <= 30
