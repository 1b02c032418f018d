"""The files of one training run, and the promise that a folder holds one run, trained by one process."""

import csv
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.findings import CONTACT_SHEET, SKIPPED_LIST, write_findings
from mobilevit_core.data.provenance import FILE as PROVENANCE
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.files import UNFINISHED, csv_bytes, write_bytes, write_json
from mobilevit_core.training.checkpoints import Checkpoint, finished_epochs, newest
from mobilevit_core.training.recipes import AT_THE_END, Recipe

LOCK = ".lock"
NAMED = 4  # photos or values in a message
NEW_RUN = "start a new run in another folder with --run"


@dataclass(frozen=True)
class RunFolder:
    """The files of one training run."""

    path: Path

    @property
    def config(self) -> Path:
        """JSON: recipe, data, and what the training started from."""
        return self.path / "config.json"

    @property
    def photos(self) -> Path:
        """CSV: the photos of the run with their digests."""
        return self.path / "photographs.csv"

    @property
    def history(self) -> Path:
        """CSV, one row per epoch."""
        return self.path / "history.csv"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints of everything that changes."""
        return self.path / "checkpoints"

    @property
    def cache(self) -> Path:
        """Decoded photos that do not fit into memory; gone when the training ends."""
        return self.path / "cache"

    @property
    def bundle(self) -> Path:
        """The finished artefact."""
        return self.path / "bundle"

    def bundle_after(self, epochs: int) -> Path:
        """A bundle of the first epochs, beside that of the whole run."""
        return self.path / f"bundle-epoch-{epochs}"

    @contextmanager
    def locked(self, new: bool = True) -> Iterator[None]:
        """Keeps other processes out of the folder; the lock ends with the process, however it ends.

        Args:
            new: whether the folder may be made.

        Raises:
            UserError: it holds something else, another process trains in it, or it can't be written.
        """
        self._check_place(new)
        lock = FileLock(self.path / LOCK, timeout=0)
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise UserError(
                f"Another process is training in {self.path}. Wait until it ends, or {NEW_RUN}."
            ) from None
        except OSError as error:
            raise UserError(
                f"The run folder {self.path} can't be written: {error.strerror}. Name another with --run."
            ) from error
        try:
            # What a killed process had half written.
            for path in [*self.path.glob(f"{UNFINISHED}*"), *self.checkpoints.glob(f"{UNFINISHED}*")]:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            yield
        finally:
            lock.release()

    def check_values(self, recipe: Mapping[str, Any]) -> None:
        """Makes sure, before any photo is read, that a training with these values may be here.

        Args:
            recipe: all values, as JSON.

        Raises:
            UserError: the folder holds something else, or a run with other values.
        """
        self._check_place(new=True)
        if self.config.exists():
            done = finished_epochs(self.checkpoints)
            self._refuse_different(_different_recipe(self.record()["recipe"], recipe, done))

    def _check_place(self, new: bool) -> None:
        if not self.config.exists() and not (new and self._is_free()):
            what = "is not a training run" if self.path.exists() else "does not exist"
            way_out = "a new folder with --run" if new else "the run's folder"
            raise UserError(f"{self.path} {what}. Name {way_out}.")

    def _refuse_different(self, different: Sequence[str]) -> None:
        if different:
            raise UserError(
                f"{self.path} holds a run with other values: {'; '.join(different)}. "
                f"Repeat its command to continue it, {NEW_RUN}, or make a bundle of what it has learned: "
                f"python -m mobilevit_core finish {self.path}"
            )

    def _is_free(self) -> bool:
        """Whether a new run may begin here: the folder is empty, or has what a killed `claim` left."""
        if not self.path.is_dir():
            return not self.path.exists()
        names = {path.name for path in self.path.iterdir() if not path.name.startswith(UNFINISHED)}
        begun = {LOCK, self.photos.name, PROVENANCE, CONTACT_SHEET, SKIPPED_LIST}
        return not names or (LOCK in names and names <= begun)

    def claim(
        self,
        dataset: PhotoDataset,
        recipe: Mapping[str, Any],
        origin: Mapping[str, Any],
        before: Iterable[Provenance] = (),
    ) -> None:
        """Records what the run is, or makes sure that it is still the same.

        The stages may change, as long as the epochs that are done stay what they were, and so may the values
        `AT_THE_END`.

        Args:
            dataset: the photos.
            recipe: all values, as JSON.
            origin: `start` and `teachers`: what other trainings go into the weights.
            before: the photos that went into these.

        Raises:
            UserError: the folder holds a run with other values or photos; the message names them.
        """
        config = {
            "data": _with_full_name(dataset.describe()),
            "class_names": list(dataset.class_names),
            "recipe": recipe,
            **json.loads(json.dumps(origin)),
        }
        rows = dataset.rows()
        if not self.config.exists():
            Provenance.by_training(dataset, before).write(self.path)
            write_findings(self.path, dataset)
            write_bytes(self.photos, csv_bytes(rows, list(rows[0]), for_people=False))
            write_json(self.config, config)  # the last: with it, the folder is a run
            return
        recorded = self.record()
        values = [
            *_different_recipe(recorded["recipe"], recipe, finished_epochs(self.checkpoints)),
            *_different_origin(recorded, config),
        ]
        photos = _different_photos(self._read(self.photos), rows)
        self._refuse_different([*values[:NAMED], *photos])
        if recorded["recipe"] != recipe:
            write_json(self.config, {**recorded, "recipe": recipe})

    def record(self) -> dict[str, Any]:
        """What `claim` recorded.

        Raises:
            UserError: it is damaged.
        """
        try:
            value = json.loads(self.config.read_text(encoding="utf-8"))
            value["recipe"], value["data"]["name"], value["class_names"]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                f"{self.config} is damaged or of an older version. Restore it from a backup, or {NEW_RUN}."
            ) from None
        return value

    def recorded_photos(self) -> list[dict[str, str]]:
        """The photos of the run, one row each; `file` is empty where it has none."""
        return self._read(self.photos)

    def rows(self) -> list[dict[str, str]]:
        """The history so far."""
        return self._read(self.history)

    def write_history(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Writes the history anew."""
        if rows:
            write_bytes(self.history, csv_bytes(rows, list(rows[0]), for_people=False))

    def newest_checkpoint(self) -> Checkpoint | None:
        """The newest intact checkpoint; None before the end of the first epoch.

        Raises:
            UserError: no checkpoint can be read, or there is none although epochs are recorded.
        """
        found = newest(self.checkpoints)
        if found is None and (done := len(self.rows())):
            raise UserError(
                f"{self.history} records {done} epochs, but {self.checkpoints} has no checkpoint. Restore it "
                f"from a backup, or {NEW_RUN}."
            )
        return found

    def put_bundle_aside(self, epochs: int) -> Path:
        """Renames the bundle, so that that of a longer training or of other values can take its place."""
        aside, number = self.bundle_after(epochs), 1
        while aside.exists():
            number += 1
            aside = aside.with_name(f"{self.bundle_after(epochs).name}-{number}")
        self.bundle.rename(aside)
        return aside

    def _read(self, path: Path) -> list[dict[str, str]]:
        if not path.exists():
            return []
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            return list(csv.DictReader(file))


def _with_full_name(data: dict[str, Any]) -> dict[str, Any]:
    folder = Path(data["name"])
    return {**data, "name": str(folder.resolve()) if folder.is_dir() else data["name"]}


def _different_recipe(before: Mapping[str, Any], recipe: Mapping[str, Any], done: int) -> list[str]:
    # A value that is newer than the run had its default.
    known = {**{key: value for key, value in Recipe().to_json().items() if key in recipe}, **before}
    different = [
        f"{key} is {_text(value)}, it was {_text(known.get(key))} (--set {key}={_text(known.get(key))})"
        for key, value in recipe.items()
        if key not in ("stages", "image_size", *AT_THE_END) and value != known.get(key)
    ]
    if recipe.get("stages") != known.get("stages"):
        if not recipe.get("stages") or not known.get("stages"):
            different.append("--recipe: the run began with another kind of training")
        elif sizes_by_epoch(recipe["stages"])[:done] != sizes_by_epoch(known["stages"])[:done]:
            start = _text(first_epochs(known["stages"], done))
            different.append(
                f"stages is {_text(recipe['stages'])}, but {done} epochs are done (--set stages={start},... "
                "continues them)"
            )
    elif recipe.get("image_size") != known.get("image_size"):
        different.append(f"image_size is {recipe['image_size']}, it was {known['image_size']}")
    return different


def _different_origin(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    different = []
    for key, option in (("start", "--weights"), ("teachers", "--teacher")):
        if now.get(key) != before.get(key):
            was = "other files were given" if before.get(key) and now.get(key) else "it was not given"
            different.append(f"{option}: {'it was given' if not now.get(key) else was} when the run began")
    return different


def _different_photos(before: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]) -> list[str]:
    def by_name(rows: Sequence[Mapping[str, str]]) -> dict[tuple[str, str], tuple[str, str]]:
        return {(row["split"], row["name"]): (row["class"], row["sha256"]) for row in rows}

    old, new = by_name(before), by_name(now)
    kinds = {
        "gone": [key for key in old if key not in new],
        "changed": [key for key in old if key in new and old[key] != new[key]],
        "new": [key for key in new if key not in old],
    }
    return [
        f"{len(keys)} {'photo is' if len(keys) == 1 else 'photos are'} {kind} ("
        + ", ".join(f"{name} of {split}" for split, name in keys[:NAMED])
        + (", ..." if len(keys) > NAMED else "")
        + ")"
        for kind, keys in kinds.items()
        if keys
    ]


def _text(value: Any) -> str:
    """A value as `--set` takes it."""
    if isinstance(value, list | tuple):
        return ",".join(f"{size}:{epochs}" for size, epochs in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def sizes_by_epoch(stages: Sequence[Sequence[int]]) -> list[int]:
    """The image size of every epoch of some stages."""
    return [size for size, epochs in stages for _ in range(epochs)]


def first_epochs(stages: Sequence[Sequence[int]], done: int) -> tuple[tuple[int, int], ...]:
    """The stages cut after so many epochs."""
    cut = []
    for size, epochs in stages:
        epochs = min(epochs, done)
        done -= epochs
        if epochs:
            cut.append((size, epochs))
    return tuple(cut)
