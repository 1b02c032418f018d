"""What runs in the processes that read photos for `isolated`. Light: it must start fast."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any

# Of a worker: the interpreter with NumPy and Pillow takes about 120 MiB of addresses, the file and its copies
# 200 MiB at most, the decoder what `limits` allows; the rest is reserve.
ADDRESS_BYTES = 1280 * 2**20
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")


class WorkerProcess(SpawnProcess):
    """A process that doesn't import the program that starts it, which may take seconds and much memory."""

    @staticmethod
    def _Popen(process_obj: SpawnProcess) -> Any:  # noqa: N802 (the name is multiprocessing's)
        # The new process is told to import what is found here.
        main = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            with _interrupts_blocked():
                return SpawnProcess._Popen(process_obj)
        finally:
            sys.modules["__main__"] = main


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """What a new process inherits: Ctrl+C reaches it, too, before `start` can say that it is ignored."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class WorkerContext(SpawnContext):
    """Starts workers anew: a fork of a server with threads and TensorFlow in it isn't safe."""

    Process = WorkerProcess


CONTEXT = WorkerContext()


def start(address_bytes: int = ADDRESS_BYTES) -> None:
    """Prepares a worker: one thread, limited memory, and the libraries loaded before a photo comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C reaches workers as well; the server ends them
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))  # before NumPy is imported
    _limit_addresses(address_bytes)
    from mobilevit_core.images import preprocessing  # noqa: F401 (now, not while a visitor waits)


def _limit_addresses(address_bytes: int) -> None:
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        allowed = address_bytes if hard == resource.RLIM_INFINITY else min(address_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (allowed, hard))
    except (ImportError, ValueError, OSError):
        pass  # Windows has no such limit, and macOS may not accept it; `limits` holds there as well


def ready() -> bool:
    """Answers once the worker runs."""
    return True


def read(source: str | bytes, rule: Any, name: str, shown: bool, quick: bool) -> Any:
    """Reads one photo.

    Args:
        source: path or encoded bytes.
        rule: the ResizeRule.
        name: of the photo in an error.
        shown: whether the photo itself is wanted, too.
        quick: whether to decline a photo that takes much memory.

    Returns:
        uint8 (image_size, image_size, 3) and, if wanted, uint8 (height, width, 3), else None; instead of both
        None for a photo that was declined.

    Raises:
        UserError: as `read_photo`.
    """
    import numpy as np

    from mobilevit_core.images import containers, limits, preprocessing, reading

    encoded, name = reading.read_encoded(source, name)
    picture = containers.take_apart(encoded, name)
    if quick and limits.is_large(picture.width, picture.height, picture.working_bytes):
        return None
    image = reading.decode(picture, name)
    if not shown:
        return preprocessing.to_tensor(image, rule).astype(np.uint8), None
    prepared = preprocessing.prepared(image, rule)
    return prepared.tensor.astype(np.uint8), prepared.shown
