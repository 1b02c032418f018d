"""Decoded photos in memory, while a command needs the same ones several times."""

import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KEPT_BYTES = 3 * 2**29  # of all that is kept, and at most an eighth of the memory; else decoded again

PhotoSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray


class Memory:
    """What is kept: nothing is ever dropped, so that a walk through more than fits keeps its beginning.

    Args:
        budget: bytes of pixels.
    """

    def __init__(self, budget: int) -> None:
        self._left, self._kept, self._lock = budget, {}, threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """What is kept under a key, or what `make` gives, which is kept if it fits."""
        if key in self._kept:
            return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept and size(made) <= self._left:
                self._left -= size(made)
                self._kept[key] = made
        return made


_memory: Memory | None = None


@contextmanager
def remembering(budget: int | None = None) -> Iterator[None]:
    """Photos that are read inside are decoded once, as far as memory allows.

    Args:
        budget: bytes of pixels; default: see `KEPT_BYTES`.
    """
    global _memory
    before, _memory = _memory, Memory(min(KEPT_BYTES, _installed() // 8) if budget is None else budget)
    try:
        yield
    finally:
        _memory = before


def _installed() -> int:
    """Bytes of memory; 8 GiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * 2**30


def remembered(
    source: PhotoSource, what: Hashable, make: Callable[[], Any], size: Callable[[Any], int]
) -> Any:
    """What was made of a photo's file before; `make` makes it where nothing is kept.

    Args:
        source: the photo; only files and encoded bytes are remembered.
        what: is made of it.
        make: makes it.
        size: of what was made, bytes.
    """
    memory = _memory
    if memory is None or not isinstance(source, str | os.PathLike | bytes):
        return make()
    if isinstance(source, bytes):
        return memory.get((source, what), make, size)
    try:
        status = Path(source).stat()
    except (OSError, ValueError):  # who reads it says what is wrong
        return make()
    return memory.get((os.fspath(source), status.st_mtime_ns, status.st_size, what), make, size)
