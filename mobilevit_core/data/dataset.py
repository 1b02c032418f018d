"""Labelled photos in splits, and the shares of the splits."""

import hashlib
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from mobilevit_core.errors import UserError
from mobilevit_core.images.reading import read_encoded, read_thumbnail

SPLITS = ("train", "validation", "test")
CROSS_VALIDATION = "cross-validation"  # in the place of a split: each photo was left out once
ALL = "all"  # every photo, for evaluation on data that was not trained on
FOLDERS = "folders"  # in place of a split scheme
THUMBNAIL = 24  # side of the grey thumbnails that near-duplicates are found with, pixels

# Photos that show none of the classes: the folder they lie in, and the class that they become.
OTHER_FOLDER = "_other"
NONE_OF_THESE = "none of these"

# name -> split -> per cent of a data set that comes as one piece, in this order. The last tenth of
# tf_flowers is what the Keras example both chooses its epoch on and reports; in the default split nothing
# is chosen on it. `whole` is for pretraining: it joins a data set's own splits and keeps no test split.
SPLIT_SCHEMES: dict[str, dict[str, int]] = {
    "default": {"train": 80, "validation": 10, "test": 10},
    "keras-example": {"train": 90, "validation": 10},
    "whole": {"train": 95, "validation": 5},
}
JOINING = "whole"


@dataclass(frozen=True)
class Facts:
    """What one reading of a photo's file tells.

    Attributes:
        sha256: digest of the encoded file, hexadecimal.
        thumbnail: grey, uint8 (24, 24).
    """

    sha256: str
    thumbnail: np.ndarray

    @classmethod
    def of(cls, source: bytes | Path, name: str) -> "Facts":
        """Reads them; a UserError where the file is not a photo or is damaged."""
        encoded = source if isinstance(source, bytes) else source.read_bytes()
        return cls(hashlib.sha256(encoded).hexdigest(), read_thumbnail(source, THUMBNAIL, name))


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo of a data set.

    Attributes:
        name: path inside the folder, or data set and position, for messages.
        label: index into the data set's class names.
        source: encoded bytes, the path of the file, or uint8 (height, width, 3).
        origin: the data source that it came from, a `Source.data`.
        facts: of its file, where it has been read already.
    """

    name: str
    label: int
    source: bytes | Path | np.ndarray = field(repr=False)
    origin: str = ""
    facts: Facts | None = field(default=None, repr=False, compare=False)

    @property
    def sha256(self) -> str:
        """Digest of the encoded file, or of an array's pixels, hexadecimal."""
        return self.facts.sha256 if self.facts else self._digest

    @property
    def thumbnail(self) -> np.ndarray:
        """Grey, uint8 (24, 24)."""
        return self.facts.thumbnail if self.facts else read_thumbnail(self.source, THUMBNAIL, self.name)

    @cached_property
    def _digest(self) -> str:
        if isinstance(self.source, np.ndarray):
            content = repr((self.source.shape, str(self.source.dtype))).encode() + self.source.tobytes()
        else:
            content, _ = read_encoded(self.source)
        return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Source:
    """One of the places that a data set's photos come from.

    Attributes:
        data: folder, or name in tensorflow-datasets with its version.
        weight: how often each of its photos is drawn for training, compared with other sources; for
            sources of "none of these", the share that the whole source has of that class.
        other: whether its photos belong to "none of these".
        train_only: whether all of its photos are in the training split, so that no figure counts them.
    """

    data: str
    weight: float = 1.0
    other: bool = False
    train_only: bool = False


@dataclass(frozen=True)
class Skipped:
    """A file that is not part of the data set.

    Attributes:
        path: the file.
        reason: the kind of reason, a few words; files are counted by it.
        detail: more about this file, where there is more to say.
    """

    path: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class PhotoDataset:
    """Photos in named splits.

    Attributes:
        name: what it was loaded as.
        split_scheme: a key of `SPLIT_SCHEMES`, or `FOLDERS` where the folder's own layout decided.
        class_names: in the order of the labels; travels into the bundle and is read from nowhere else.
        splits: split name -> photos.
        notes: what was left out and why, one sentence each.
        without: classes that were left out whole.
        sources: where the photos come from.
        other_class: "none of these" where that is the last class, None where there is no such class.
        other_without: classes of the other sources that were left out by name.
        leave_out: data set whose validation and test photos, and copies of them, were left out.
        skipped: files that are not part of it.
        copies: digest -> group, as `splitting.group_copies` found (near) copies when it was put together;
            empty where nobody looked.
    """

    name: str
    split_scheme: str
    class_names: tuple[str, ...]
    splits: Mapping[str, tuple[LabelledPhoto, ...]]
    notes: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    sources: tuple[Source, ...] = ()
    other_class: str | None = None
    other_without: tuple[str, ...] = ()
    leave_out: str | None = None
    skipped: tuple[Skipped, ...] = ()
    copies: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    @property
    def other(self) -> int | None:
        """Label of "none of these", None where there is no such class."""
        return len(self.class_names) - 1 if self.other_class else None

    def split(self, name: str) -> tuple[LabelledPhoto, ...]:
        """The photos of one split, or of all splits together for "all".

        Raises:
            UserError: the data set has no such split, or it is empty.
        """
        if name == ALL:
            return tuple(photo for split in SPLITS for photo in self.splits.get(split, ()))
        if not self.splits.get(name):
            present = ", ".join(split for split, photos in self.splits.items() if photos)
            raise UserError(
                f"{self.name} (split scheme {self.split_scheme!r}) has no split {name!r}. It has: {present}."
            )
        return self.splits[name]

    def counts(self) -> dict[str, dict[str, int]]:
        """Class name -> split -> number of photos."""
        counted = {split: Counter(photo.label for photo in photos) for split, photos in self.splits.items()}
        return {
            name: {split: counted[split][label] for split in self.splits}
            for label, name in enumerate(self.class_names)
        }

    @property
    def smallest_class(self) -> tuple[str, int]:
        """The class with the fewest training photos, and how many; not "none of these"."""
        name, splits = min(self._wanted_counts().items(), key=lambda item: item[1]["train"])
        return name, splits["train"]

    @property
    def unevenness(self) -> float:
        """Training photos of the largest class over those of the smallest; not of "none of these"."""
        counts = [splits["train"] for splits in self._wanted_counts().values()]
        return max(counts) / max(min(counts), 1)

    def _wanted_counts(self) -> dict[str, dict[str, int]]:
        return {name: splits for name, splits in self.counts().items() if name != self.other_class}

    def without_other(self) -> "PhotoDataset":
        """The same without "none of these", for a network that does not know that class."""
        if self.other is None:
            return self
        wanted = tuple(source for source in self.sources if not source.other)
        kept = self.without_labels({self.other})
        return replace(kept, class_names=self.class_names[:-1], sources=wanted, other_class=None)

    def without_labels(self, labels: Collection[int]) -> "PhotoDataset":
        """The same without the photos of these labels; the classes' names stay."""
        splits = {
            split: tuple(photo for photo in photos if photo.label not in labels)
            for split, photos in self.splits.items()
        }
        return replace(self, splits=splits)

    def rows(self) -> list[dict[str, str]]:
        """Every photo with split, class, name and digest, and its file where it has one of its own."""
        return [
            {
                "split": split,
                "class": self.class_names[photo.label],
                "name": photo.name,
                "sha256": photo.sha256,
                "file": str(photo.source.absolute()) if isinstance(photo.source, Path) else "",
            }
            for split, photos in self.splits.items()
            for photo in photos
        ]

    def describe(self) -> dict[str, object]:
        """Data set, split, sizes and a digest of which photo is in which split with which label."""
        lines = sorted(
            f"{split} {photo.sha256} {self.class_names[photo.label]}"
            for split, photos in self.splits.items()
            for photo in photos
        )
        return {
            "name": self.name,
            "split_scheme": self.split_scheme,
            "photos": {split: len(photos) for split, photos in self.splits.items()},
            "digest": hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest(),
            "notes": list(self.notes),
            **({"without": list(self.without)} if self.without else {}),
            **({"leave_out": self.leave_out} if self.leave_out else {}),
            **self._describe_sources(),
        }

    def _describe_sources(self) -> dict[str, object]:
        """Each source with its numbers of photos; nothing where one plain source is all."""
        if len(self.sources) < 2 and not self.other_class:
            return {}
        counted = {split: Counter(photo.origin for photo in photos) for split, photos in self.splits.items()}
        rows = [
            {
                "data": source.data,
                "other": source.other,
                "weight": source.weight,
                **({"train_only": True} if source.train_only else {}),
                "photos": {split: counted[split][source.data] for split in self.splits},
            }
            for source in self.sources
        ]
        return {
            "sources": rows,
            **({"other_class": self.other_class} if self.other_class else {}),
            **({"other_without": list(self.other_without)} if self.other_without else {}),
        }
