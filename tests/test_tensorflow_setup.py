"""TensorFlow's environment and its start, in processes of their own."""

import os
import platform
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from mobilevit_core import tensorflow_setup

ROOT = Path(__file__).parents[1]
NAMES = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL")
SHOW = f"import os; print(*(os.environ.get(name, '-') for name in {NAMES}))"


@pytest.fixture
def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=kept | environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("machine", "onednn"), [("x86_64", "1"), ("AMD64", "1"), ("arm64", "-")])
def test_onednn_is_turned_on_for_x86_processors(machine: str, onednn: str) -> None:
    code = f"import platform; platform.machine = lambda: {machine!r}; import mobilevit_core; {SHOW}"
    assert python(code).stdout.split() == [onednn, "2"]


def test_a_persons_own_settings_stay() -> None:
    done = python(f"import mobilevit_core; {SHOW}", TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="0")
    assert done.stdout.split() == ["0", "0"]


@pytest.mark.parametrize("entry", ["mobilevit_core.cli", "mobilevit_core.images.reading"])
def test_every_entry_point_passes_it_and_none_imports_tensorflow(entry: str) -> None:
    done = python(f"import sys, {entry}; {SHOW}; print('tensorflow' in sys.modules)")
    onednn = "1" if platform.machine().lower() in tensorflow_setup.X86 else "-"
    assert done.stdout.split() == [onednn, "2", "False"], done.stderr


@pytest.mark.skipif(tensorflow_setup.NVIDIA_DRIVER.exists(), reason="with a driver nothing is held back")
def test_tensorflow_starts_without_noise() -> None:
    asked = "import mobilevit_core, importlib.util; importlib.util.find_spec('tensorflow')"
    done = python(f"{asked}; import keras, tensorflow as tf; print(int(tf.constant(1) + 1))")
    assert done.stdout.split() == ["2"] and done.stderr == ""


def start_of_app(port: int, **environment: str) -> str:
    """What app.py writes to standard error until its Keras weights, which load last, have answered."""
    kept = {name: value for name, value in os.environ.items() if name not in NAMES}
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), "--no-mcp", "--no-examples"]
    with subprocess.Popen(
        command, env=kept | environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as app:
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}/", timeout=120) as client:
                while app.poll() is None and not _answers(client):
                    time.sleep(0.2)
                event = client.post("gradio_api/call/benchmark", json={"data": [1]}).json()["event_id"]
                assert '"keras"' in client.get(f"gradio_api/call/benchmark/{event}").text
        finally:
            app.terminate()
        return app.communicate(timeout=30)[1]


def _answers(client: httpx.Client) -> bool:
    try:
        return client.get("/").status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.skipif(tensorflow_setup.NVIDIA_DRIVER.exists(), reason="with a driver nothing is held back")
@pytest.mark.parametrize(("level", "shown"), [(None, False), ("2", False), ("0", True)])
def test_the_demo_starts_without_noise(free_port: int, level: str | None, shown: bool) -> None:
    """Also where it inherits our own level from the program that starts it; a person's 0 shows all."""
    output = start_of_app(free_port, **({"TF_CPP_MIN_LOG_LEVEL": level} if level else {}))
    assert bool(tensorflow_setup.NOISE.search(output)) == shown, output


def test_real_errors_of_the_start_are_passed_on() -> None:
    code = (
        "import os; from mobilevit_core.tensorflow_setup import _without_noise\n"
        "try:\n"
        "    with _without_noise():\n"
        "        os.write(2, b'I0000 Could not find cuda drivers on your machine\\nF0000 no room\\n')\n"
        "        raise ImportError('broken')\n"
        "except ImportError as error: print(error)\n"
        "os.write(2, b'afterwards\\n')"
    )
    done = python(code)
    assert done.stdout == "broken\n" and done.stderr == "F0000 no room\nafterwards\n"


def test_the_last_words_of_a_start_that_crashes_are_passed_on() -> None:
    code = (
        "import os; from mobilevit_core.tensorflow_setup import _without_noise\n"
        "with _without_noise():\n"
        "    os.write(2, b'I0000 oneDNN custom operations are on.\\nF0000 no room'); os.abort()"
    )
    done = python(code)
    assert done.returncode == -signal.SIGABRT and done.stderr == "F0000 no room"
