"""Atomic writing of files and folders, careful reading of JSON, and cells of CSV files."""

import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mobilevit_core.errors import UserError

CACHE = "MOBILEVIT_CACHE"
UNFINISHED = ".part-"  # how the name begins of what is not complete
MOST_JSON_BYTES = 64 * 2**20  # a manifest with the confusion matrices of a thousand classes stays under it
MOST_JSON_PARTS = 1_000_000  # lists, objects and keys; each takes about 100 bytes of memory
MOST_JSON_LEVELS = 64
MOST_DIGITS = 40  # of a whole number
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_WRITABLE = (*FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)
# How libraries that raise errors of their own word the same.
NO_SPACE = ("No space left on device", "Disk quota exceeded")
WORDINGS = (*NO_SPACE, "File too large", "Read-only file system")
# Where a cell begins that a spreadsheet computes: also behind a semicolon, where numbers have a comma.
FORMULA = re.compile(r"(^|;)(?= *[=+\-@\t\r\n])")
MARKED = re.compile(r"(^|;)'(?= *[=+\-@\t\r\n])")


@contextmanager
def replacing(path: Path, over_folder: bool = False) -> Iterator[Path]:
    """Writes a file or a folder beside its place and renames it when it is complete and on the disk.

    Args:
        path: the place; a file that is there is replaced.
        over_folder: whether a folder that is there is replaced, too; its old content is gone for the moment
            between the two, because no system renames over a folder.

    Yields:
        A path beside it, with the same suffix, where nothing is yet. If the block fails, what it wrote
        there is removed, and `path` stays as it was.

    Raises:
        FileExistsError: another program has made a folder of this name meanwhile; it stays as it is.
    """
    # The process's number: two programs that write the same file at once must not share it.
    beside = path.with_name(f"{UNFINISHED}{os.getpid()}-{path.name}")
    _remove(beside)
    try:
        yield beside
        _flush(beside)
        if over_folder:
            _remove(path)
        _rename(beside, path)
        _flush_entry(path.parent)
    except OSError as error:
        # A write that fails does not say of which file, and a copy names its source.
        if error.errno in FULL and (error.filename is None or error.filename2 or beside.name in str(error)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        _remove(beside)


def _rename(beside: Path, path: Path) -> None:
    try:
        os.replace(beside, path)
    except OSError as error:
        if not (beside.is_dir() and path.is_dir()):
            raise
        reason = "another program has made this folder meanwhile; it was left as it is"
        raise FileExistsError(errno.EEXIST, reason, str(path)) from error


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Waits until a file, or everything below a folder, is on the disk."""
    if path.is_dir():
        for entry in path.iterdir():
            _flush(entry)
    _flush_entry(path)


def _flush_entry(path: Path) -> None:
    if path.is_dir():
        if os.name == "nt":  # Windows opens no folders
            return
        flags = os.O_RDONLY
    else:
        flags = os.O_RDWR | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def not_writable(error: BaseException) -> str | None:
    """Why an error means that the disk is full, or can't be written for another reason of the system.

    Args:
        error: of Python or of a library.

    Returns:
        The reason in a few words, None where the error means something else.
    """
    if isinstance(error, OSError) and error.errno in NOT_WRITABLE and error.strerror:
        return error.strerror
    return next((words for words in WORDINGS if words in str(error)), None)


def failed_write(error: BaseException, place: object = None) -> str | None:
    """What people read about a write that failed: where, why, and the way out of a full disk.

    Args:
        error: of Python or of a library.
        place: where it happened, as far as that is known, for an error that does not say.

    Returns:
        Sentences, None where the error means something else.
    """
    why = not_writable(error)
    if why is None:
        return None
    where = getattr(error, "filename", None) or place
    told = f"{where}: {why}." if where else f"{why}."
    if why not in NO_SPACE:
        return told
    if not where:
        return f"{told} Free some, also in the folder for temporary files, {tempfile.gettempdir()}."
    if _is_in_cache(Path(where)):
        return f"{told} Free some there, or name another cache folder: {CACHE}=/path/to/folder"
    return f"{told} Free some there, or name a folder on another disk."


def _is_in_cache(path: Path) -> bool:
    try:
        return path.is_relative_to(cache_folder())
    except UserError:
        return False


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically."""
    with replacing(path) as beside:
        beside.write_bytes(content)


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON atomically."""
    # A file name that is not UTF-8 comes as lone surrogates; their escapes are JSON too.
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"))


def read_json(path: Path) -> Any:
    """Reads JSON that may be damaged, or made to do harm.

    Args:
        path: a regular file.

    Returns:
        As `parse_json`.

    Raises:
        ValueError: as `parse_json`.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        return parse_json(file.read(MOST_JSON_BYTES + 1))


def parse_json(content: bytes) -> Any:
    """JSON that may be damaged, or made to do harm.

    Returns:
        The value; every number in it is finite, and it has at most `MOST_JSON_LEVELS` levels.

    Raises:
        ValueError: what is wrong, in a few words, such as "it is not JSON".
    """
    if len(content) > MOST_JSON_BYTES:
        raise ValueError(f"it is larger than {MOST_JSON_BYTES // 2**20} MB")
    if sum(content.count(sign) for sign in (b"[", b"{", b":")) > MOST_JSON_PARTS:  # before they take memory
        raise ValueError(f"it has more than {MOST_JSON_PARTS:,} lists, objects and keys")
    try:
        value = json.loads(
            content.decode(),
            object_pairs_hook=_unique,
            parse_constant=_finite,
            parse_float=_finite,
            parse_int=_whole,
        )
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON (line {error.lineno}: {error.msg})") from None
    except RecursionError:
        raise ValueError("it has too many levels") from None
    _check_levels(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"it has the key {twice[:40]!r} twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"it has the number {text[:40]}, which is not finite")
    return value


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text)} digits")
    return int(text)


def _check_levels(value: Any) -> None:
    level = [value]
    for _ in range(MOST_JSON_LEVELS + 1):
        level = [node for node in level if isinstance(node, dict | list)]
        if not level:
            return
        level = [child for node in level for child in (node.values() if isinstance(node, dict) else node)]
    raise ValueError("it has too many levels")


def cell(value: Any) -> Any:
    """A value for a CSV file that no spreadsheet takes for a formula.

    Args:
        value: text, number or None.

    Returns:
        The value; what begins like a formula gets an apostrophe in front.
    """
    return FORMULA.sub(r"\1'", value) if isinstance(value, str) else value


def from_cell(text: str) -> str:
    """The text that `cell` made this of."""
    plain = MARKED.sub(r"\1", text)
    return plain if cell(plain) == text else text


def csv_bytes(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], for_people: bool = True) -> bytes:
    """A CSV file's content.

    Args:
        rows: column -> value.
        columns: in order.
        for_people: who open it with a spreadsheet, so that every value is a `cell`.

    Returns:
        UTF-8 with a header; file names that are not UTF-8 keep their bytes.
    """
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, fieldnames=columns)
    writer.writeheader()
    writer.writerows(
        {key: cell(value) if for_people else value for key, value in row.items()} for row in rows
    )
    return text.getvalue().encode(errors="surrogateescape")


def cache_folder() -> Path:
    """Where downloads, unpacked archives and converted networks are kept.

    The folder MOBILEVIT_CACHE, or `mobilevit` in the user's cache folder.
    """
    if os.environ.get(CACHE):
        return Path(os.environ[CACHE])
    try:
        base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(base) / "mobilevit"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # no home, or one that can't be written: "/" in containers
        raise UserError(f"There is no cache folder: {error}. Name one: {CACHE}=/path/to/folder") from error
    return folder


def file_sha256(path: Path) -> str:
    """Digest of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
