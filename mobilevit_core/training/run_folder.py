"""The files of one training run, and the promise that a folder holds one run only."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilevit_core.errors import UserError
from mobilevit_core.files import write_bytes, write_json


@dataclass(frozen=True)
class RunFolder:
    """The files of one training run."""

    path: Path

    @property
    def history(self) -> Path:
        """CSV, a row an epoch."""
        return self.path / "history.csv"

    @property
    def checkpoints(self) -> Path:
        """TensorFlow checkpoints of everything that changes."""
        return self.path / "checkpoints"

    @property
    def best_weights(self) -> Path:
        """Weights of the best epoch, for recipes that keep it."""
        return self.path / "best.weights.h5"

    @property
    def cache(self) -> Path:
        """Decoded photographs that do not fit into memory; gone when the run is finished."""
        return self.path / "cache"

    @property
    def bundle(self) -> Path:
        """The finished artefact."""
        return self.path / "bundle"

    def claim(self, config: dict[str, Any]) -> None:
        """Records what the run is, or makes sure that it is still the same.

        Raises:
            UserError: the folder holds a run with other values, or something that is no run.
        """
        path = self.path / "config.json"
        if not path.exists():
            if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
                raise UserError(f"{self.path} exists and is no training run. Name a new folder with --run.")
            self.path.mkdir(parents=True, exist_ok=True)
            write_json(path, config)
            return
        try:
            before = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise UserError(f"{path} is damaged. Name a new folder with --run.") from None
        flat_before, flat_now = _flatten(before), _flatten(json.loads(json.dumps(config)))
        different = [
            f"{key} was {flat_before.get(key)}, is now {flat_now.get(key)}"
            for key in sorted(flat_before | flat_now)
            if flat_before.get(key) != flat_now.get(key)
        ]
        if different:
            raise UserError(
                f"{self.path} holds a run with other values ({'; '.join(different[:4])}). "
                "Repeat its command to go on with it, or name a new folder with --run."
            )

    def rows(self) -> list[dict[str, str]]:
        """The history so far."""
        if not self.history.exists():
            return []
        with self.history.open(newline="") as file:
            return list(csv.DictReader(file))

    def forget_after(self, epoch: int) -> None:
        """Drops history rows of epochs that no checkpoint holds (the run stopped between the two)."""
        rows = self.rows()
        kept = [row for row in rows if int(row["epoch"]) < epoch]
        if len(kept) < len(rows):
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(kept)
            write_bytes(self.history, text.getvalue().encode())


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {prefix: value}
    return {
        k: v for key, item in value.items() for k, v in _flatten(item, f"{prefix}.{key}".strip(".")).items()
    }
