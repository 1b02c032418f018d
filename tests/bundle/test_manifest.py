"""No bundle.json, however damaged, ends in more than one clear sentence."""

import json
import os
import runpy
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.manifest import MANIFEST_VERSION, Manifest, read_manifest, write_manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.cli import app
from mobilevit_core.errors import UserError

ROOT = Path(__file__).parents[2]
SHIPPED = json.loads((ROOT / "demo" / "weights" / "bundle.json").read_text())
LONGEST_MESSAGE = 600
NAN, INFINITY = float("nan"), float("inf")

WHOLE_FILES = {
    "empty": (b"", "not JSON"),
    "cut": (json.dumps(SHIPPED).encode()[:1000], "not JSON"),
    "null": (b"null", "it must be a JSON object"),
    "a list": (b"[]", "it must be a JSON object"),
    "text": (b'"bundle"', "it must be a JSON object"),
    "UTF-16": (json.dumps(SHIPPED).encode("utf-16"), "not UTF-8"),
    "Latin-1": (json.dumps({**SHIPPED, "variant": "é"}, ensure_ascii=False).encode("latin-1"), "not UTF-8"),
    "deep lists": (b"[" * 100_000, "too many levels"),
    "deep objects": (b'{"recipe":' * 100_000, "too many levels"),
    "deep and whole": (b'{"recipe":' * 100 + b"1" + b"}" * 100, "too many levels"),
    "a key twice": (b'{"manifest_version": 4, "variant": "s", "variant": "xs"}', "the key 'variant' twice"),
    "zeros": (bytes(100_000), "not JSON"),
    "too large": (b" " * (64 * 2**20 + 1), "larger than 64 MB"),
    "a long number": (b'{"manifest_version": ' + b"1" * 5000 + b"}", "a number of 5000 digits"),
    "long keys": (json.dumps({**SHIPPED, "x" * 233_752: 1, "variant": None}).encode(), "variant is None"),
    "a long key of a section": (
        json.dumps({**SHIPPED, "versions": {"x" * 233_752: "\n" * 233_752}}).encode(),
        "it must have at most 10000 characters",
    ),
    "no version": (b"{}", "manifest_version is None"),
}

# Where in the manifest, the value that is put there, what the message says.
FIELDS: list[tuple[str, Any, str]] = [
    ("manifest_version", "2", "manifest_version is '2'; it must be a whole number"),
    ("manifest_version", True, "manifest_version is True"),
    ("manifest_version", 0, "manifest_version is 0"),
    ("class_names", "daisy", "class_names is 'daisy'; it must be a list"),
    ("class_names", ["one"], "there must be 2 to 100,000"),
    ("class_names", [], "there must be 2 to 100,000"),
    ("class_names", ["a", "b", "a"], "the class name 'a' appears 2 times"),
    ("class_names", ["a", ""], "a class name is empty"),
    ("class_names", ["a", "  "], "a class name is empty"),
    ("class_names", ["a", "b\n"], r"'b\n' has a character that can't be printed"),
    ("class_names", ["a", "b\0"], "has a character that can't be printed"),
    ("class_names", ["a", "b\udce9"], "has a character that can't be printed"),
    ("class_names", ["a", "b" * 256], "is too long: 255 characters"),
    ("class_names", ["a", "b" * 233_752], "class_names.1 is 'bbb"),
    ("class_names", ["a", None], "class_names.1 is None; it must be text"),
    ("class_names", {"a": 1, "b": 2}, "it must be a list"),
    ("input", None, "input is None; it must be an object"),
    ("input", [192], "it must be an object"),
    ("input.image_size", INFINITY, "the number Infinity, which is not finite"),
    ("input.image_size", NAN, "the number NaN, which is not finite"),
    ("input.image_size", 192.9, "input.image_size is 192.9; it must be a valid integer"),
    ("input.image_size", 190, "must be a multiple of 64"),
    ("input.image_size", 0, "must be a multiple of 64"),
    ("input.image_size", -64, "must be a multiple of 64"),
    ("input.image_size", 64 * 10**6, "the largest is 2048"),
    ("input.image_size", "192", "its image_size must be a number"),
    ("input.image_size", True, "its image_size must be a number"),
    ("input.image_size", None, "input.image_size is None"),
    ("input.mode", "stretch", "unknown resize mode 'stretch'"),
    ("input.mode", 3, "input.mode is 3"),
    ("input.crop_fraction", NAN, "not finite"),
    ("input.crop_fraction", 0, "it must be over 0"),
    ("input.crop_fraction", 1.5, "at most 1"),
    ("input.crop_fraction", "0.875", "its crop_fraction must be a number"),
    ("variant", None, "variant is None; it must be text"),
    ("variant", "", "variant is ''"),
    ("variant", "x" * 233_752, "variant is 'xxx"),
    ("architecture", 7, "architecture is 7"),
    ("architecture", "a\nb", "printable characters"),
    ("files", [], "files is []; it must be an object"),
    ("files", {}, "files names no weight format that this program knows"),
    (
        "files",
        {"onnx": {"file": "model.onnx", "sha256": "0" * 64, "bytes": 1}},
        "files names no weight format",
    ),
    ("files.int8", "model_int8.tflite", "files.int8 is 'model_int8.tflite'; it must be an object"),
    ("files.int8.file", "../../etc/passwd", "the file of int8 must be model_int8.tflite"),
    ("files.int8.sha256", "0" * 63, "files.int8.sha256 is '000"),
    ("files.int8.sha256", 0, "files.int8.sha256 is 0"),
    ("files.int8.sha256", None, "files.int8.sha256 is None"),
    ("files.int8.bytes", -1, "files.int8.bytes is -1"),
    ("files.int8.bytes", 1.5, "files.int8.bytes is 1.5"),
    ("recipe", None, "recipe is None; it must be an object"),
    ("recipe.split_scheme", 3, "recipe.split_scheme is 3; it must be text"),
    ("recipe.seed", -1, "recipe.seed is -1"),
    ("recipe.seed", "0", "recipe.seed is '0'"),
    ("data", [], "data is []"),
    ("data.name", "", "data.name is ''"),
    ("data.name", "x" * 5000, "data.name is 'xxx"),
    ("data.digest", None, "data.digest is None"),
    ("data.photos", {"train": "many"}, "data.photos.train is 'many'"),
    ("data.notes", "none", "data.notes is 'none'; it must be a list"),
    ("data.without", "roses", "data.without is 'roses'; it must be a list"),
    ("versions", [], "versions is []; it must be an object"),
    ("versions.keras", 3, "versions.keras is 3"),
    ("metrics", [], "metrics is []; it must be an object"),
    ("metrics.test", [], "metrics.test is []"),
    ("metrics.test", {}, "metrics.test.data is missing"),
    ("metrics.test.formats", {}, "metrics.test.formats is {}"),
    ("metrics.test.formats", {"keras": {}}, "metrics.test.formats.keras.photos is missing"),
    ("metrics.test.formats.keras.accuracy", "0.9", "accuracy is '0.9'"),
    ("metrics.test.formats.keras.accuracy", 2, "accuracy is 2; it must be less than or equal to 1"),
    ("metrics.test.formats.keras.interval_95", [0.5], "interval_95 is [0.5]"),
    ("metrics.test.rejection.rooms.photos", 0, "photos is 0"),
    ("metrics.test.formats.keras.interval_95", 0.5, "interval_95 is 0.5; it must be a list"),
    ("parity.int8", None, "parity.int8 is None"),
    ("start", "weights", "start is 'weights'; it must be an object"),
    ("start.data", {}, "start.data.name is missing"),
    ("start.start.classes", "102", "start.start.classes is '102'"),
    ("teachers", {}, "teachers is {}; it must be a list"),
    ("teachers", [{}], "teachers.0.data is missing"),
    ("calibration.temperature", 0, "calibration.temperature is 0; it must be greater than 0"),
    ("rejection.threshold", NAN, "not finite"),
    ("rejection.threshold", 1.5, "rejection.threshold is 1.5"),
    ("rejection.threshold", "0.5", "rejection.threshold is '0.5'"),
    ("rejection.photos", 0, "rejection.photos is 0"),
    ("rejection", [], "rejection is []; it must be an object"),
]
REQUIRED = ("class_names", "input", "architecture", "variant", "recipe", "data")


def changed(path: str, value: Any) -> bytes:
    manifest = json.loads(json.dumps(SHIPPED))
    *way, last = path.split(".")
    inner = manifest
    for key in way:
        inner = inner[key]
    inner[last] = value
    return json.dumps(manifest).encode()


@pytest.fixture
def folder(shipped: Bundle, tmp_path: Path) -> Path:
    """A bundle of one file."""
    os.link(shipped.weights("int8"), tmp_path / FORMATS["int8"].file)
    return tmp_path


def damaged_cases() -> list[Any]:
    cases = [pytest.param(content, said, id=name) for name, (content, said) in WHOLE_FILES.items()]
    for number, (path, value, said) in enumerate(FIELDS):
        cases.append(pytest.param(changed(path, value), said, id=f"{number} {path}"))
    for key in REQUIRED:
        content = json.dumps({name: item for name, item in SHIPPED.items() if name != key}).encode()
        cases.append(pytest.param(content, f"{key} is missing", id=f"no {key}"))
    return cases


def message_of(call: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(("content", "said"), damaged_cases())
def test_a_damaged_manifest_is_one_sentence(content: bytes, said: str, folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_bytes(content)
    message = message_of(lambda: open_bundle(folder))
    assert message.startswith(f"{path} is damaged: ") and message.endswith(". Copy the whole bundle again.")
    assert len(message) < LONGEST_MESSAGE and "\n" not in message
    assert said in message
    assert message_of(lambda: load_classifier(folder)) == message


@pytest.mark.parametrize("content", [case.values[0] for case in damaged_cases()[::6]])
def test_every_command_says_the_same_sentence(content: bytes, folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_bytes(content)
    message = message_of(lambda: open_bundle(folder))
    photo, to = str(folder / "photo.jpg"), str(folder / "made")
    for arguments in (
        ["predict", str(folder), photo],
        ["evaluate", str(folder)],
        ["benchmark", str(folder)],
        ["export", str(folder), "--to", to],
        ["unknown", str(folder), "--data", str(folder)],
        ["train", "--data", str(folder), "--weights", str(folder), "--run", to],
    ):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 2 and result.stdout == "", arguments
        assert result.stderr == f"Error: {message}\n", arguments
    assert not Path(to).exists()


@pytest.mark.parametrize("name", ["deep lists", "a key twice", "UTF-16", "too large"])
def test_the_app_says_the_same_sentence(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "bundle.json").write_bytes(WHOLE_FILES[name][0])
    message = message_of(lambda: open_bundle(folder))
    monkeypatch.setattr(sys, "argv", ["app.py", "--bundle", str(folder)])
    monkeypatch.setattr("signal.signal", lambda *_: None)  # Ctrl-C stays this process's
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(ROOT / "app.py"), run_name="__main__")
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"Error: {message}\n"


@pytest.mark.parametrize(
    ("step", "said", "way_out"), [(-1, "an older", "Train again with"), (1, "a newer", "Update")]
)
def test_another_version_is_called_that(step: int, said: str, way_out: str, folder: Path) -> None:
    path, version = folder / "bundle.json", MANIFEST_VERSION + step
    path.write_text(json.dumps({"manifest_version": version, "whatever": "it holds"}))
    message = message_of(lambda: open_bundle(folder))
    assert message == (
        f"{path} was made by {said} version of this program: its manifest_version is {version}, and this "
        f"program reads {MANIFEST_VERSION}. {way_out} this program."
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_what_is_not_a_file_is_not_read(folder: Path) -> None:
    os.mkfifo(folder / "bundle.json")
    assert "it has no bundle.json" in message_of(lambda: open_bundle(folder))
    (folder / "bundle.json").unlink()
    (folder / "bundle.json").mkdir()
    assert "it has no bundle.json" in message_of(lambda: open_bundle(folder))


def test_keys_that_nobody_knows_are_kept(folder: Path) -> None:
    path = folder / "bundle.json"
    value = json.loads(json.dumps(SHIPPED))
    value["comment"] = {"by": "somebody", "to_json": 1}
    value["to_json"] = "no method"
    value["recipe"]["another"] = [1, 2]
    value["metrics"]["test"]["weather"] = "dry"
    value["files"]["onnx"] = {"file": "model.onnx", "sha256": "0" * 64, "bytes": 1}
    path.write_text(json.dumps(value))
    write_manifest(path, read_manifest(path))
    assert json.loads(path.read_text()) == value


def test_a_manifest_that_could_not_be_read_is_not_written(shipped: Bundle, tmp_path: Path) -> None:
    wrong = shipped.manifest.model_copy(update={"class_names": ("a", "a")})
    with pytest.raises(ValueError, match="the class name 'a' appears 2 times"):
        write_manifest(tmp_path / "bundle.json", wrong)
    assert not any(tmp_path.iterdir())


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
KEYS = st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4)
)
WAYS = st.lists(st.integers(0, 30), min_size=1, max_size=6)
TWISTS = st.lists(st.tuples(WAYS, VALUES), min_size=1, max_size=3)


def twisted(way: list[int], value: Any, manifest: dict[str, Any]) -> None:
    """Follows the numbers down into the manifest and replaces what is there."""
    inner: Any = manifest
    for number in way:
        keys = list(inner) if isinstance(inner, dict) else range(len(inner))
        key = keys[number % len(keys)]
        if number == way[-1] or not isinstance(inner[key], dict | list) or not inner[key]:
            inner[key] = value
            return
        inner = inner[key]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(TWISTS)
def test_a_twisted_manifest_loads_or_is_one_sentence(twists: list[tuple[list[int], Any]]) -> None:
    value = json.loads(json.dumps(SHIPPED))
    for way, new in twists:
        twisted(way, new, value)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.json"
        path.write_text(json.dumps(value))
        try:
            manifest = read_manifest(path)
        except UserError as error:
            assert len(str(error)) < LONGEST_MESSAGE and "\n" not in str(error)
            return
        assert manifest.formats and all(isinstance(phrase, str) for phrase in manifest.origins())
        write_manifest(path, manifest)
        assert read_manifest(path) == manifest


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_changed_bytes_load_or_are_one_sentence(seed: int) -> None:
    random, content = Random(seed), bytearray(json.dumps(SHIPPED).encode())
    for _ in range(random.randint(1, 4)):
        content[random.randrange(len(content))] = random.randrange(256)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bundle.json"
        path.write_bytes(content)
        try:
            assert read_manifest(path).formats
        except UserError as error:
            assert len(str(error)) < LONGEST_MESSAGE and "\n" not in str(error)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(VALUES)
def test_any_json_at_all_is_no_traceback(value: Any) -> None:
    try:
        Manifest.from_json(value)
    except ValueError as error:
        assert type(error) is ValueError or "version of this program" in str(error)
