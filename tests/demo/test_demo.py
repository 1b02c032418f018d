"""The page's functions through a real server and Gradio's own client."""

import os
import re
import shutil
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

from demo import words
from demo.comparison import Comparison, compared_first
from demo.server import PageServer, options
from demo.uploads import PREFIX
from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.data.dataset import CROSS_VALIDATION
from tests.demo.visitor import Visitor, free_port

APP = Path(__file__).parents[2] / "app.py"


@pytest.fixture(scope="module")
def client(comparison: Comparison) -> Iterator[Client]:
    page = PageServer(comparison)
    client = Client(page.start(block=False), verbose=False)
    yield client
    client.close()
    page.close()


def test_classify_gives_one_answer_with_all_scores(client: Client, shipped: Bundle, red_photo: Path) -> None:
    answer = client.predict(handle_file(red_photo), api_name="/classify")
    expected = load_classifier(shipped.folder).predict(red_photo)
    assert set(answer) == {"label", "score", "unknown", "predictions", "scores", "format"}
    assert (answer["label"], answer["unknown"], answer["format"]) == (
        expected.label,
        expected.unknown,
        "float32",
    )
    assert list(answer["scores"]) == list(shipped.manifest.class_names)
    assert list(answer["scores"].values()) == pytest.approx(expected.probabilities, abs=1e-5)
    assert client.predict(handle_file(red_photo), "int8", api_name="/classify")["format"] == "int8"


def test_compare_gives_every_format(client: Client, shipped: Bundle, red_photo: Path) -> None:
    answers = client.predict(handle_file(red_photo), 7, api_name="/compare")
    assert list(answers) == list(FORMATS)
    for name, answer in answers.items():
        expected = load_classifier(shipped.folder, name).predict(red_photo).top()
        assert [row["label"] for row in answer["predictions"]] == [label for label, _ in expected]
        assert [row["score"] for row in answer["predictions"]] == pytest.approx(
            [score for _, score in expected], abs=1e-5
        )
        latency = answer["latency_ms"]
        assert latency["runs"] == 7 and latency["threads"] >= 1
        assert 0 < latency["p50"] <= latency["p95"]
        low, high = latency["p50_range"]
        assert 0 < low <= latency["p50"] <= high
        assert answer["size_bytes"] == shipped.size_bytes(name)


def test_runs_have_a_default_and_formats_can_be_chosen(client: Client, red_photo: Path) -> None:
    photo = handle_file(red_photo)
    answers = client.predict(photo, formats=["int8"], api_name="/compare")
    assert list(answers) == ["int8"] and answers["int8"]["latency_ms"]["runs"] == 20


def test_explain_gives_a_map_and_its_class(client: Client, shipped: Bundle, red_photo: Path) -> None:
    picture, name = client.predict(handle_file(red_photo), api_name="/explain")
    assert name == load_classifier(shipped.folder, "keras").predict(red_photo).label
    with Image.open(picture) as drawn, Image.open(red_photo) as original:
        assert drawn.size == original.size


def test_benchmark_measures_every_runtime(client: Client) -> None:
    latencies = client.predict(4, api_name="/benchmark")
    assert list(latencies) == list(FORMATS)
    for latency in latencies.values():
        assert latency["runs"] == 4 and 0 < latency["p50"] <= latency["p95"]


def test_the_functions_are_documented_and_the_rest_is_private(client: Client) -> None:
    endpoints = client.view_api(return_format="dict")["named_endpoints"]
    assert set(endpoints) == {"/classify", "/compare", "/explain", "/benchmark"}
    for endpoint in endpoints.values():
        assert all(parameter["python_type"]["type"] for parameter in endpoint["parameters"])


def test_what_is_no_photo_gets_a_sentence(client: Client, no_photo: Path) -> None:
    with pytest.raises(AppError, match="is not a JPEG, PNG, WebP, HEIC or AVIF picture"):
        client.predict(handle_file(no_photo), api_name="/classify")
    with pytest.raises(AppError, match="no photo yet"):
        client.predict(None, api_name="/classify")


@pytest.mark.parametrize(
    ("features", "small"),
    [
        (("avx2", "fma"), "int8_weights"),
        (("avx2", "fma", "avx512f", "avx512_vnni"), "dynamic_int8"),
        (("asimd", "asimddp"), "dynamic_int8"),
        ((), "int8_weights"),
    ],
)
def test_a_format_that_is_slow_here_is_not_compared_first(
    features: tuple[str, ...], small: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("demo.comparison.processor_features", lambda: features)
    assert compared_first() == ("keras", small)


@pytest.mark.parametrize("kept", ["model.keras", "model_dynamic_int8.tflite"])
def test_a_bundle_with_one_kind_of_weights_works(
    kept: str, small_bundle: Bundle, red_photo: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    for fmt in FORMATS.values():
        if fmt.file != kept:
            (folder / fmt.file).unlink()
    comparison = Comparison(open_bundle(folder))
    result = comparison.run(red_photo, 2)
    assert [FORMATS[name].file for name in result] == [kept]
    functions = PageServer(comparison).api_of_page.parameters
    assert set(functions) == {"classify", "compare", "explain", "benchmark"}


def test_damaged_weights_do_not_take_the_others_down(
    small_bundle: Bundle, red_photo: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    (folder / "model.keras").write_bytes(b"damaged")
    comparison = Comparison(open_bundle(folder))
    assert set(comparison.run(red_photo, 2)) == set(tflite_formats())
    assert "model.keras is not the file" in str(comparison._loading["keras"].exception())


def test_without_tensorflow_the_tflite_files_run(shipped: Bundle, red_photo: Path) -> None:
    code = """
import sys
for name in ("tensorflow", "keras", "tensorflow_datasets"):
    sys.modules[name] = None  # as if it were not installed
from demo.comparison import Comparison
from demo.server import PageServer
from mobilevit_core.bundle.bundle import open_bundle
comparison = Comparison(open_bundle(sys.argv[1]))
PageServer(comparison)
print(*comparison.run(sys.argv[2], 1))
print(comparison._loading["keras"].exception())
try:
    comparison.explain(sys.argv[2])
except Exception as error:
    print(error)
"""
    command = [sys.executable, "-c", code, shipped.folder, red_photo]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=APP.parent)
    assert done.returncode == 0, done.stderr
    answered, problem, no_map = done.stdout.splitlines()[-3:]
    assert answered.split() == tflite_formats()
    assert "model.keras needs" in problem and "pip install -r requirements.txt" in problem
    assert no_map.startswith("The map needs")


def test_the_answer_is_that_of_the_last_timed_run(shipped: Bundle, red_photo: Path, tmp_path: Path) -> None:
    """No run besides those that are timed, and none outside of the lock."""
    shutil.copy(shipped.weights("float32"), tmp_path)
    comparison = Comparison(Bundle(tmp_path, shipped.manifest))
    runtime = comparison._wait_for(["float32"])["float32"].runtime
    calls: list[np.ndarray] = []

    def counted(image: np.ndarray) -> np.ndarray:
        assert comparison._measuring.locked()
        calls.append(np.full(len(shipped.manifest.class_names), len(calls), np.float32))
        return calls[-1]

    runtime.probabilities = counted
    answer = comparison.run(red_photo, 12, ["float32"])["float32"]
    assert len(calls) == 12 + 2 * 3  # two turns, each warmed up by three
    assert answer.probabilities is calls[-1] and answer.latency.runs == 12


@pytest.mark.parametrize(
    ("names", "title", "kind"),
    [
        (("dandelion", "daisy", "tulips", "sunflowers", "roses"), "Name that flower", "five flowers"),
        (("roses", "tulips", "none of these"), "Name that flower", "two flowers"),
        (("red", "green", "dark_blue"), "What is it? Red, green or dark blue", "three kinds"),
        (tuple(f"dog {number}" for number in range(20)), "What is it? One of 20 kinds", "20 kinds"),
    ],
)
def test_the_words_come_from_the_classes(
    shipped: Bundle, names: tuple[str, ...], title: str, kind: str
) -> None:
    other = "none of these" if "none of these" in names else None
    manifest = shipped.manifest.model_copy(update={"class_names": names, "other_class": other})
    assert (words.title(manifest), words.kind(manifest)) == (title, kind)
    assert words.display("dark_blue", manifest) == "Dark blue"


def test_the_subtitle_says_what_it_is(shipped: Bundle) -> None:
    text = words.subtitle(shipped.manifest, shipped)
    accuracy = shipped.manifest.metrics["test"]["formats"]["dynamic_int8"]["accuracy"]
    assert text == (
        f"Knows five flowers, fits in {shipped.size_bytes('dynamic_int8') / 1e6:.1f} MB, "
        f"right on {accuracy * 100:.0f} % of 367 test photos."
    )


def test_one_figure_says_how_many_other_things_are_rejected(shipped: Bundle) -> None:
    """The page's tile, the bundle's report and the project's README; the last two name it by hand."""
    by_name = shipped.manifest.metrics["test"]["rejection"]
    sources = by_name.values()
    photos = sum(row["photos"] for row in sources)
    share = f"{100 * sum(row['detection_rate'] * row['photos'] for row in sources) / photos:.0f} %"
    tile = next(tile for tile in words.tiles(shipped) if tile["title"] == "None of these")
    assert tile["value"] == share and f"of {photos:,} photos of other things are rejected" in tile["text"]
    report = (shipped.folder / "report" / "index.html").read_text()
    assert re.search(rf"<dt>None of these</dt><dd><strong>{share}</strong> of {photos:,} photos", report)
    readme = " ".join((APP.parent / "README.md").read_text().split())
    assert f"It rejects {share} of {photos:,} photos of other things" in readme
    wrong = f"{100 * (1 - by_name['other_flowers']['detection_rate']):.0f} %"
    assert f"{wrong} of other flowers" in tile["text"] and f"of other kinds of flowers, {wrong} get" in readme
    knows = words.facts_without_server(shipped)["knows"]
    assert knows.endswith(f"and nothing else: {wrong} of other flowers get a wrong name.")


@pytest.mark.parametrize(
    ("measured", "shown"),
    [
        (("test", "validation", CROSS_VALIDATION), "test"),
        ((CROSS_VALIDATION, "validation"), CROSS_VALIDATION),  # a head was trained on the validation split
        (("validation",), "validation"),
    ],
)
def test_the_figures_come_from_the_best_split(shipped: Bundle, measured: tuple[str, ...], shown: str) -> None:
    figures = shipped.manifest.metrics["test"]
    metrics = {split: {**figures, "split": split} for split in measured}
    bundle = Bundle(shipped.folder, shipped.manifest.model_copy(update={"metrics": metrics}))
    crossed = shown == CROSS_VALIDATION
    right = words.tiles(bundle)[0]
    assert right["value"] == f"{figures['formats']['keras']['accuracy'] * 100:.1f} %"
    assert (" by cross-validation, with" if crossed else f", {shown} split, with") in right["text"]
    text = words.subtitle(bundle.manifest, bundle)
    assert text.endswith("of 367 photos by cross-validation." if crossed else f"of 367 {shown} photos.")


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


def test_a_server_that_is_stopped_leaves_no_uploads(
    red_photo: Path, tmp_path: Path, quick_start: list[str]
) -> None:
    port = free_port()
    command = [sys.executable, APP, "--port", str(port), *quick_start]
    server = subprocess.Popen(
        command, env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)}, stdout=subprocess.DEVNULL
    )
    try:
        with Visitor(base_url=f"http://127.0.0.1:{port}/", transport=HTTPTransport(retries=10)) as visitor:
            sent = visitor.upload(red_photo)
            assert Path(sent["path"]).is_relative_to(tmp_path)
    finally:
        server.terminate()
        assert server.wait(timeout=60) == 0
    assert not [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(PREFIX)]


def test_the_app_stays_a_door() -> None:
    assert len(APP.read_text().splitlines()) <= 30
