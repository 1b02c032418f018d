"""The folder of visitors' uploads: what may be read from it, how large it may become, when it is cleaned.

Every handler, the API and MCP get a photo by a reference that a visitor sends. `admit` is the one place
that decides whether a reference may be opened. The folder is cleaned here: Gradio's `delete_cache` can't be
set in server mode, and knows neither uploads that were broken off nor what came inside of a call.
"""

import atexit
import base64
import contextlib
import hashlib
import math
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mobilevit_core.errors import UserError
from mobilevit_core.images.reading import MAX_FILE_BYTES

REFUSED = (
    "This is not an uploaded photo (they are deleted after a while): upload it, and send the reference "
    "that the upload returns."
)
PREFIX = "mobilevit-uploads-"
ROUTE = "/gradio_api/file="  # where Gradio serves uploads; MCP clients send such addresses back
STALLED_SECONDS = 60  # an upload that gets no byte for so long is ended
ENTRY_BYTES, BLOCK_BYTES = 4096, 512  # what a file or folder takes at least; the unit of `st_blocks`
FILE_BYTES = 2 * ENTRY_BYTES  # what an upload takes beside its bytes: its last block, and a folder of its own
ABANDONED_SECONDS = 86_400  # a folder that no running server has touched for so long


@dataclass(frozen=True)
class Limits:
    """What the uploads may cost.

    Attributes:
        lifetime_seconds: how long an upload stays.
        total_bytes: of all uploads together.
    """

    lifetime_seconds: int = 3600
    total_bytes: int = 2 * 2**30


class Usage:
    """How much of the folder is taken: measured from time to time, and counted in between.

    Attributes:
        bytes: that are taken; more for a moment where something was deleted since.
        measured: when, on the monotonic clock.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._measuring = threading.Lock()
        self.bytes, self.measured = 0, -math.inf

    def add(self, size: int) -> None:
        """Counts what has come."""
        with self._lock:
            self.bytes += size

    def measure(self) -> None:
        """Looks at the folder; what comes meanwhile is counted on top of it."""
        with self._measuring:
            with self._lock:
                before = self.bytes
            found = total_bytes()
            with self._lock:
                self.bytes, self.measured = found + self.bytes - before, time.monotonic()


USAGE = Usage()  # of this process, as the folder is


def folder() -> Path:
    """Where everything lies that visitors send, and what is made of it."""
    return Path(os.environ["GRADIO_TEMP_DIR"])


def use_own_folder() -> Path:
    """Gives this process an upload folder that no other program shares; removed when the process ends.

    Call it before Gradio is imported, which then reads where MCP's photos go.

    Returns:
        The folder. A second call returns the same one.
    """
    current = Path(os.environ.get("GRADIO_TEMP_DIR") or "none")
    if current.name.startswith(f"{PREFIX}{os.getpid()}-"):
        return current
    parent = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    parent.mkdir(parents=True, exist_ok=True)
    for left in parent.glob(f"{PREFIX}*"):  # of a server that was killed
        if time.time() - left.lstat().st_mtime > ABANDONED_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    own = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=parent)).resolve()
    os.environ["GRADIO_TEMP_DIR"] = str(own)
    atexit.register(_remove, own, os.getpid())
    return own


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not in a child process that was forked
        shutil.rmtree(folder, ignore_errors=True)


def admit(reference: Any) -> Path:
    """The file that a visitor's reference names, if it is a visitor's upload.

    Nothing outside the upload folder is touched, so the answer does not tell what exists there. A URL is
    never fetched; that of an upload on this server counts as its path.

    Args:
        reference: what Gradio calls file data, a dictionary with "path" or a data URL in "url"; or a path.

    Returns:
        Path of a regular file in the upload folder.

    Raises:
        UserError: always the same sentence.
    """
    if isinstance(reference, str):
        reference = {"path": reference}
    if not isinstance(reference, dict):
        raise UserError(REFUSED)
    path, url = reference.get("path"), reference.get("url")
    if path is None and isinstance(url, str) and url.startswith("data:"):
        return _store(url)
    if not isinstance(path, str) or not path:
        raise UserError(REFUSED)
    if re.match("https?://", path, re.IGNORECASE) and ROUTE in path:
        path = unquote(path.split(ROUTE, 1)[1].partition("?")[0])
    inside = Path(os.path.abspath(path))
    try:
        if not inside.is_relative_to(folder()) or inside.resolve(strict=True) != inside:
            raise UserError(REFUSED)
        if not stat.S_ISREG(inside.lstat().st_mode):
            raise UserError(REFUSED)
    except (OSError, ValueError, RuntimeError):
        raise UserError(REFUSED) from None
    return inside


def _store(data_url: str) -> Path:
    """Writes a photo that came inside the request into the upload folder."""
    head, _, encoded = data_url.partition(",")
    try:
        if not head.endswith(";base64") or len(encoded) > MAX_FILE_BYTES * 4 // 3 + 4:
            raise UserError(REFUSED)
        content = base64.b64decode(encoded, validate=True)
    except ValueError:
        raise UserError(REFUSED) from None
    return keep(content, "photo")


def keep(content: bytes, name: str) -> Path:
    """Writes a file into the folder, to be deleted with the uploads.

    Args:
        content: of the file.
        name: it is found by its content and this.
    """
    path = folder() / hashlib.sha256(content).hexdigest() / name
    if not path.exists():
        USAGE.add(len(content) + FILE_BYTES)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def without_path(error: Exception) -> str:
    """An error's message without the place of the uploads on this machine.

    Args:
        error: any.

    Returns:
        The message, an upload being called by its name alone.
    """
    separator = re.escape(os.sep)
    place = re.escape(str(folder())) + separator
    return re.sub(rf"{place}([^\s{separator}]+{separator})?", "", str(error))


def total_bytes() -> int:
    """Room on the disk that everything in the upload folder takes, its folders and last blocks included."""
    return sum(max(ENTRY_BYTES, BLOCK_BYTES * getattr(info, "st_blocks", 0)) for _, info in _entries())


def drop_unfinished() -> None:
    """Deletes what is left of uploads that were broken off; they lie in the folder itself.

    Call it only while no upload is being received. Times can't tell an older file from one that is being
    received: a file system's clock may be several milliseconds behind the system's.
    """
    with os.scandir(folder()) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def sweep(lifetime_seconds: float, receiving_since: float | None = None) -> list[Path]:
    """Deletes what is too old, and what was broken off.

    Args:
        lifetime_seconds: how long a file stays.
        receiving_since: when the oldest upload began that is still being received, in seconds since the
            epoch; its first file may be finished for long, and is needed until the last one is.

    Returns:
        Folders that have been empty for a while, for `drop_empty`.
    """
    now = time.time()
    folder().mkdir(mode=0o700, parents=True, exist_ok=True)  # something else may clean up, too
    given_up = min(now, receiving_since or now) - STALLED_SECONDS
    empty, entries = [], _entries()
    filled = {path.parent for path, _ in entries}
    for path, info in entries:
        if stat.S_ISDIR(info.st_mode):
            if path not in filled and now - info.st_mtime > STALLED_SECONDS:
                empty.append(path)
            continue
        oldest = given_up if path.parent == folder() else now - lifetime_seconds
        if max(info.st_ctime, info.st_mtime) < oldest:
            with contextlib.suppress(OSError):
                path.unlink()
    os.utime(folder())
    return empty


def drop_empty(folders: Collection[Path]) -> None:
    """Deletes those of the folders that are empty.

    Call it in the server's event loop, where Gradio makes an upload's folder and moves the file into it at
    one go: in another thread this could come between the two.
    """
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()  # fails unless it is empty


def _entries() -> list[tuple[Path, os.stat_result]]:
    found = []
    for place, folders, files in os.walk(folder()):  # skips what is deleted meanwhile
        for name in (*folders, *files):
            with contextlib.suppress(OSError):
                found.append((Path(place, name), os.lstat(os.path.join(place, name))))
    return found
