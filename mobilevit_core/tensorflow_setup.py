"""How TensorFlow starts: set before its import, in the one place that every command passes.

The package's `__init__` calls `prepare`; nothing here imports TensorFlow. What the person has set in the
environment is respected.
"""

import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from mobilevit_core.errors import UserError

X86 = ("x86_64", "amd64", "i386", "i686")
KERAS_BACKENDS = ("tensorflow", "jax")  # the second for training on several machines
LOG_LEVEL = "2"  # TensorFlow's own notes and warnings away, its errors shown
QUIET_LEVELS = (LOG_LEVEL, "3")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
# What TensorFlow writes at its start on every machine without an NVIDIA driver; 303 stands for "no driver
# library". No environment variable silences these lines.
NOISE = re.compile(
    r"All log messages before absl::InitializeLog|Could not find cuda drivers|failed call to cuInit.*\(303\)|"
    r"oneDNN custom operations are on"
)
# Copies lines, but for those that match; goes on after Ctrl+C, which the whole group of processes gets.
FILTER = """
import re, signal, sys
signal.signal(signal.SIGINT, signal.SIG_IGN)
noise = re.compile(sys.argv[1].encode())
for line in sys.stdin.buffer:
    if not noise.search(line):
        sys.stderr.buffer.write(line)
        sys.stderr.buffer.flush()
"""
PATIENCE_SECONDS = 1.0  # for the last lines


def prepare() -> None:
    """Sets TensorFlow's environment where the person has not, and keeps its start quiet.

    On x86 processors oneDNN is turned on: without AVX512 TensorFlow leaves it off by itself, and training
    takes half as long again.
    """
    # A program of ours that starts another hands its level on, so that it is set doesn't mean by whom.
    quiet = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", LOG_LEVEL) in QUIET_LEVELS
    if platform.machine().lower() in X86:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # Keras's backend of another project, in the environment or in keras.json: nothing here runs on it.
    if os.environ.get("KERAS_BACKEND") not in KERAS_BACKENDS:
        os.environ["KERAS_BACKEND"] = KERAS_BACKENDS[0]
    # With a driver every line may matter, and so it may to a person who has chosen to see the notes.
    if quiet and not NVIDIA_DRIVER.exists() and "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _QuietTensorFlow())


def check_tensorflow() -> None:
    """Raises a UserError unless Keras runs on TensorFlow, as everything but training on machines needs."""
    import keras

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UserError(
            f"Keras runs on {backend} here, and this needs TensorFlow: unset KERAS_BACKEND, or set "
            "KERAS_BACKEND=tensorflow."
        )


def use_own_settings() -> None:
    """Sets what a keras.json of another project may set otherwise, and all networks here mean."""
    import keras

    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")


class _QuietTensorFlow:
    """Import hook: TensorFlow's first import without `NOISE`. Works for one import, then steps aside.

    Asking for the module's spec without importing it, as some libraries do, leaves it in place.
    """

    def __init__(self) -> None:
        self._asking = False

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's usual spec, for TensorFlow with a loader that filters standard error."""
        if name != "tensorflow" or self._asking:
            return None
        self._asking = True
        try:
            spec = find_spec(name)
        finally:
            self._asking = False
        if spec and spec.loader:
            load = spec.loader.exec_module

            def quietly(module: ModuleType) -> None:
                sys.meta_path.remove(self)
                with _without_noise():
                    load(module)
                    _list_devices(module)

            spec.loader.exec_module = quietly
        return spec


def _list_devices(tensorflow: Any) -> None:
    """TensorFlow's first look for devices, which else complains in the middle of a command."""
    tensorflow.config.list_physical_devices()


@contextmanager
def _without_noise() -> Iterator[None]:
    """Passes standard error, C++ code's included, through `FILTER` until the end of the block.

    In a process of its own, so that the last words of a start that crashes are passed on as well, and those
    of processes that are started meanwhile.
    """
    if sys.stderr is None:  # pythonw, or closed: what has its number now may be anything
        yield
        return
    sys.stderr.flush()
    try:
        real = os.dup(2)
        command = [sys.executable, "-I", "-S", "-c", FILTER, NOISE.pattern]
        lines = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    except OSError:  # a program without standard error, or one that may start no process
        yield
        return
    assert lines.stdin is not None
    os.dup2(lines.stdin.fileno(), 2)
    lines.stdin.close()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(real, 2)
        os.close(real)
        with suppress(subprocess.TimeoutExpired):  # a process started meanwhile goes on writing to it
            lines.wait(PATIENCE_SECONDS)
