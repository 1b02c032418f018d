"""Labelled photographs in parts, and the shares of the parts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mobilevit_core.errors import UserError

PARTS = ("train", "validation", "test")
ALL = "all"  # every photograph, for evaluation on data that was not trained on

# name -> part -> per cent of a data set that comes as one piece, in this order. The last tenth of
# tf_flowers is what the Keras example both chooses its epoch on and reports; in the default split nothing
# is chosen on it. `whole` is for pretraining: it joins a data set's own parts and keeps no test part.
SPLITS: dict[str, dict[str, int]] = {
    "default": {"train": 80, "validation": 10, "test": 10},
    "keras-example": {"train": 90, "validation": 10},
    "whole": {"train": 95, "validation": 5},
}
JOINING = "whole"


@dataclass(frozen=True)
class LabelledPhoto:
    """One photograph of a data set.

    Attributes:
        name: path inside the folder, or data set and position, for messages.
        label: index into the data set's class names.
        source: encoded bytes or the path of the file.
    """

    name: str
    label: int
    source: bytes | Path = field(repr=False)

    @cached_property
    def sha256(self) -> str:
        """Digest of the encoded file, hexadecimal."""
        encoded = self.source if isinstance(self.source, bytes) else self.source.read_bytes()
        return hashlib.sha256(encoded).hexdigest()


@dataclass(frozen=True)
class PhotoDataset:
    """Photographs in named parts.

    Attributes:
        name: what it was loaded as.
        split: a key of `SPLITS`, or "folders" where the folder's own layout decided.
        class_names: in the order of the labels; travels into the bundle and is read from nowhere else.
        parts: part name -> photographs.
        notes: what was left out and why, one sentence each.
        without: classes that were left out whole.
    """

    name: str
    split: str
    class_names: tuple[str, ...]
    parts: Mapping[str, tuple[LabelledPhoto, ...]]
    notes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def part(self, name: str) -> tuple[LabelledPhoto, ...]:
        """The photographs of one part, or of all parts together for "all".

        Raises:
            UserError: the data set has no such part, or it is empty.
        """
        if name == ALL:
            return tuple(photo for part in PARTS for photo in self.parts.get(part, ()))
        if not self.parts.get(name):
            present = ", ".join(part for part, photos in self.parts.items() if photos)
            raise UserError(f"{self.name} (split {self.split!r}) has no part {name!r}. It has: {present}.")
        return self.parts[name]

    def describe(self) -> dict[str, object]:
        """Data set, split, sizes and a digest of which photograph is in which part with which label."""
        lines = sorted(
            f"{part} {photo.sha256} {self.class_names[photo.label]}"
            for part, photos in self.parts.items()
            for photo in photos
        )
        return {
            "name": self.name,
            "split": self.split,
            "photos": {part: len(photos) for part, photos in self.parts.items()},
            "digest": hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest(),
            "notes": list(self.notes),
            **({"without": list(self.without)} if self.without else {}),
        }
