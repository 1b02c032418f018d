"""Checkpoints of a training run: one file each, complete on the disk before its name appears.

A file holds all that a run needs to go on as if it had never stopped: weights, optimizer, EMA, random
seeds, and the history so far. Its parts carry checksums (it is a zip), so a damaged file is noticed, and
the one before is used.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_core.errors import UserError
from mobilevit_core.files import replacing

KEPT = 2  # files; the second is for the case that the first is damaged
PATTERN = "epoch-*.npz"
HISTORY = "history"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after an epoch.

    Attributes:
        epoch: number of finished epochs.
        arrays: name -> value of everything that changes.
        history: one row per finished epoch.
        damaged: newer files that could not be read, and why, one phrase each.
    """

    epoch: int
    arrays: Mapping[str, np.ndarray]
    history: Sequence[Mapping[str, Any]]
    damaged: tuple[str, ...] = ()


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint and removes all but the newest `KEPT`."""
    folder.mkdir(exist_ok=True)
    with replacing(path_of(folder, checkpoint.epoch)) as beside:
        history = np.array(json.dumps([dict(row) for row in checkpoint.history]))
        with beside.open("wb") as file:  # given a name, NumPy would append a suffix
            np.savez(file, **checkpoint.arrays, **{HISTORY: history})
    for path in _files(folder)[KEPT:]:
        path.unlink()


def path_of(folder: Path, epoch: int) -> Path:
    """The file of the checkpoint after so many finished epochs."""
    return folder / f"epoch-{epoch:05}.npz"


def finished_epochs(folder: Path) -> int:
    """Number of finished epochs by the newest file's name, 0 where there is none."""
    return max((_epoch(path) for path in _files(folder)), default=0)


def newest(folder: Path) -> Checkpoint | None:
    """Reads the newest checkpoint that is intact; None where none was ever written.

    Raises:
        UserError: there are checkpoints, but none can be read.
    """
    damaged: list[str] = []
    for path in _files(folder):
        try:
            with path.open("rb") as file, np.load(file) as content:
                arrays = {name: content[name] for name in content.files}
            history = json.loads(str(arrays.pop(HISTORY)))
            return Checkpoint(_epoch(path), arrays, history, tuple(damaged))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
            # NumPy takes what is no archive for a pickle, and advises to open it unsafely.
            reason = "it is no checkpoint" if "pickle" in str(error) else error
            damaged.append(f"{path} ({reason})")
    if damaged:
        raise UserError(
            f"No checkpoint can be read: {'; '.join(damaged)}. Restore one from a backup, or start a new run "
            "in another folder with --run."
        )
    return None


def _files(folder: Path) -> list[Path]:
    """The newest first."""
    return sorted((path for path in folder.glob(PATTERN) if _epoch(path)), key=_epoch, reverse=True)


def _epoch(path: Path) -> int:
    digits = path.stem.removeprefix("epoch-")
    return int(digits) if digits.isdecimal() else 0
