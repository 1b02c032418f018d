"""Writing so that nobody ever finds half a file."""

import json
import os
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Writes beside the path and renames."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(content)
    os.replace(beside, path)


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON beside the path and renames."""
    # A file name that is no UTF-8 comes as lone surrogates; their escapes are JSON too.
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_bytes(path, text.encode(errors="backslashreplace"))
