"""Opens the file of a photo: only a regular file, and never more of it than the limit."""

import os
import stat
from pathlib import Path

from mobilevit_core.errors import UserError
from mobilevit_core.images.limits import MAX_FILE_BYTES

# Not to wait for the other end of a named pipe. Windows has no such flag, and needs the other one.
FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
SHOWN_CHARACTERS = 120  # of a name in a message


def read_file(path: Path, name: str, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a regular file; symbolic links are followed.

    Args:
        path: of the file.
        name: what to call it in an error.
        limit: bytes.

    Raises:
        UserError: there is no such file, it is not a regular file, it is larger than the limit, or the
            operating system refuses.
    """
    try:
        _check_regular(os.stat(path), name)  # first, because opening a device can already do something
        with os.fdopen(os.open(path, FLAGS), "rb") as file:
            _check_regular(os.fstat(file.fileno()), name)  # again, because it may have been replaced
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise UserError(f"There is no photo {name}.") from None
    except OSError as error:
        raise UserError(f"{name} can't be read: {error.strerror}.") from error
    except ValueError:  # a zero byte in the path, or characters that the file system can't encode
        raise UserError(f"There can't be a photo {name}: that is not a file name.") from None
    check_length(len(content), name, limit)
    return content


def check_length(length: int, name: str, limit: int = MAX_FILE_BYTES) -> None:
    """Refuses a file of more bytes than the limit.

    Raises:
        UserError: naming the limit.
    """
    if length > limit:
        raise UserError(f"{name} is larger than the limit of {limit // 2**20} MiB.")


def _check_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise UserError(f"{name} is a folder, not a photo.")
    if not stat.S_ISREG(status.st_mode):
        raise UserError(f"{name} is not a regular file (a pipe, socket or device), so it can't be read.")


def shown_name(name: str) -> str:
    """A file's name as a message can show it: on one line, printable, and not too long."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:40]}...{text[-(SHOWN_CHARACTERS - 43) :]}"
