"""How TensorFlow starts: set before its import, in the one place that every command passes.

The package's `__init__` calls `prepare`; nothing here imports TensorFlow. What the person has set in the
environment is respected.
"""

import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

X86 = ("x86_64", "amd64", "i386", "i686")
LOG_LEVEL = "2"  # TensorFlow's own notes and warnings away, its errors shown
QUIET_LEVELS = (LOG_LEVEL, "3")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
# What TensorFlow writes at its start on every machine without an NVIDIA driver; 303 stands for "no driver
# library". No environment variable silences these lines.
NOISE = re.compile(
    r"All log messages before absl::InitializeLog|Could not find cuda drivers|failed call to cuInit.*\(303\)|"
    r"oneDNN custom operations are on"
)


def prepare() -> None:
    """Sets TensorFlow's environment where the person has not, and keeps its start quiet.

    On x86 processors oneDNN is turned on: without AVX512 TensorFlow leaves it off by itself, and training
    takes half as long again.
    """
    # A program of ours that starts another hands its level on, so that it is set doesn't mean by whom.
    quiet = os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", LOG_LEVEL) in QUIET_LEVELS
    if platform.machine().lower() in X86:
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    # With a driver every line may matter, and so it may to a person who has chosen to see the notes.
    if quiet and not NVIDIA_DRIVER.exists() and "tensorflow" not in sys.modules:
        sys.meta_path.insert(0, _QuietTensorFlow())


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
    """Holds standard error back, C++ code's included, and passes on all of it but `NOISE`."""
    sys.stderr.flush()
    try:
        real = os.dup(2)
    except OSError:  # a program without standard error
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            held.seek(0)
            for line in held.read().decode(errors="replace").splitlines(keepends=True):
                if not NOISE.search(line):
                    os.write(2, line.encode(errors="replace"))
