"""Consoles, settings of other projects, and machines that lack something."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import rich.console
import typer
from PIL import Image

from mobilevit_core import messages
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.download import find_bundle
from mobilevit_core.cli.app import Commands, result
from mobilevit_core.cli.evaluate import print_classes
from mobilevit_core.commands.evaluate import evaluate
from mobilevit_core.errors import UserError
from mobilevit_core.files import CACHE, cache_folder
from mobilevit_core.images import isolated
from mobilevit_core.inference.classifier import load_classifier

ROOT = Path(__file__).parents[1]


def test_a_console_of_another_code_page_shows_any_class(monkeypatch: pytest.MonkeyPatch) -> None:
    redirected = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(redirected, encoding="cp1252"))
    program = typer.Typer(cls=Commands)

    @program.command("show")
    def show() -> None:
        row = {"precision": 1, "recall": 1, "photos": 3}
        print_classes({"per_class": {"🌻": row, "雏菊": row, "Gänse": row}})
        result("photos/🌻.jpg")

    program.callback()(lambda: None)
    program(["show"], standalone_mode=False)
    sys.stdout.flush()
    told = redirected.getvalue().decode("cp1252")
    assert "\\U0001f33b" in told and "\\u96cf\\u83ca" in told and "Gänse" in told
    assert "photos/\\U0001f33b.jpg" in told


@pytest.mark.parametrize("backend", [{"KERAS_BACKEND": "torch"}, {}])
def test_keras_settings_of_other_projects_do_no_harm(backend: dict[str, str], tmp_path: Path) -> None:
    settings = {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    code = (
        "from mobilevit_core.models.create import create_mobilevit; import keras;"
        "model = create_mobilevit('xxs', 3, 64);"
        "print(keras.config.backend(), model.input_shape, model.layers[-1].compute_dtype)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    environment |= {"KERAS_HOME": str(tmp_path), **backend}
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout.split("\n")[0] == "tensorflow (None, 64, 64, 3) float32"


@pytest.mark.skipif(os.name == "nt", reason="the shell of Windows can't close a stream")
def test_a_program_without_standard_error_works(tmp_path: Path) -> None:
    code = (
        "import mobilevit_core, tensorflow; from mobilevit_core import messages; messages.say('x'); print(7)"
    )
    command = f"'{sys.executable}' -c \"{code}\" 2>&-"
    told = subprocess.run(command, shell=True, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    assert told.stdout == "7\n"


def test_a_notebook_is_not_asked_for_widgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    assert not messages.console().is_jupyter


def test_whatever_takes_a_bundle_takes_the_object(small_bundle: Bundle, photo_folder: Path) -> None:
    assert find_bundle(small_bundle) is small_bundle
    assert os.fspath(small_bundle) == str(small_bundle.folder)
    image = Image.open(next(photo_folder.rglob("*.jpg")))
    for bundle in (small_bundle, small_bundle.folder, str(small_bundle.folder)):
        assert load_classifier(bundle).predict(image).label in small_bundle.manifest.class_names


def test_a_report_is_not_written_into_a_bundle_of_the_hub() -> None:
    with pytest.raises(UserError, match="hf://someone/flowers is on the Hub"):
        evaluate("hf://someone/flowers", record=True)


@pytest.mark.parametrize("home", [None, "file"])
def test_no_place_for_the_cache_is_told(
    home: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (CACHE, "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "file").write_text("")

    def find_home() -> Path:
        if home is None:
            raise RuntimeError("Could not determine home directory.")
        return tmp_path / home

    monkeypatch.setattr(Path, "home", find_home)
    with pytest.raises(UserError, match="There is no cache folder: .*MOBILEVIT_CACHE="):
        cache_folder()


def test_no_shared_memory_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(isolated, "ProcessPool", no_locks)
    with pytest.raises(UserError, match="Read-only file system.*a /dev/shm that can be written"):
        isolated.IsolatedReader().start()
