"""The page starts without what its first answer does not need."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from demo import comparison as module
from demo.comparison import Comparison
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.weight_formats import tflite_formats
from tests.demo.visitor import free_port

ROOT = Path(__file__).parents[2]
START = """
import sys
import app
print({"tensorflow", "keras", "sklearn", "tensorflow_datasets", "matplotlib"} & set(sys.modules))
"""


def test_nothing_large_is_imported_before_the_page_is_there() -> None:
    done = subprocess.run([sys.executable, "-c", START], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


@pytest.mark.parametrize("seconds", [0.5, 3, 7])
def test_ctrl_c_ends_it_at_once(seconds: float, tmp_path: Path) -> None:
    """While it imports, loads the weights, starts, and while TensorFlow is on its way."""
    program = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(free_port()), "--no-examples"],
        cwd=ROOT,
        env={**os.environ, "GRADIO_TEMP_DIR": str(tmp_path)},
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    time.sleep(seconds)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does it: the processes that read photos, too
    pressed = time.monotonic()
    said = program.communicate(timeout=60)[1]
    assert time.monotonic() - pressed < 5 and program.returncode == 130
    assert said.count("\n") <= 1, said
    assert not list(tmp_path.iterdir())


def test_the_keras_weights_wait_for_the_first_answer(
    small_bundle: Bundle, red_photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_START_SECONDS", 600)
    comparison = Comparison(small_bundle)
    for name in tflite_formats():
        comparison._loading[name].result(600)
    time.sleep(1)
    assert comparison.ready() == tflite_formats()
    assert comparison.classify(red_photo).format == "float32"
    assert comparison._loading["keras"].result(600).format == "keras"


def test_whoever_asks_for_keras_does_not_wait_for_an_answer(
    small_bundle: Bundle, red_photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEAD_START_SECONDS", 600)
    assert set(Comparison(small_bundle).run(red_photo, 1, ["keras"])) == {"keras"}
    assert Comparison(small_bundle).explain(red_photo)[1] in small_bundle.manifest.class_names
