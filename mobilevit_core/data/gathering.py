"""From a list of labelled files to a data set: read once, without contradictions, copies in one split."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import (
    FOLDERS,
    JOINING,
    NONE_OF_THESE,
    OTHER_FOLDER,
    SPLIT_SCHEMES,
    Facts,
    LabelledPhoto,
    PhotoDataset,
    Skipped,
    Source,
)
from mobilevit_core.data.splitting import divide, group_copies, groups_apart, without_copies
from mobilevit_core.errors import UserError
from mobilevit_core.images.containers import HEAD_BYTES, READ, format_of
from mobilevit_core.images.reading import SUFFIXES
from mobilevit_core.messages import counted

# Suffix -> what such files are, for those that hold nothing that can be read.
OTHER_KINDS = dict.fromkeys(
    (".gif", ".bmp", ".tif", ".tiff", ".jp2", ".jxl", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".svg"),
    f"pictures of another format than {READ}: convert them to JPEG",
) | dict.fromkeys((".mov", ".mp4", ".m4v", ".avi", ".webm", ".mkv"), "videos")
# Words of the reasons why files are skipped -> the same of a single file.
ONE = {"pictures": "picture", "videos": "video", "photos": "a photo", "files": "a file", "them": "it"}
ONE |= {"links": "link", "lead": "leads", "folders": "folder", "are": "is"}
NAMED = 3  # files named in a sentence; the others are only counted


@dataclass
class Reading:
    """What comes to light while a folder or list is read."""

    folder: Path
    notes: list[str] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)

    def skip(self, path: Path, reason: str, detail: str = "") -> None:
        """Notes a file that is not part of the data set."""
        self.skipped.append(Skipped(str(path), reason, detail))

    def found(self) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
        """`notes` and `skipped` of what was read."""
        return (*self.notes, *skipped_notes(self.skipped)), tuple(self.skipped)


@dataclass(frozen=True)
class Gathered:
    """Photos of a folder or list: read once, and divided as often as need be.

    Attributes:
        name: what the person calls it.
        origin: of the photos, a `Source.data`.
        class_names: in the order of the labels; the label after the last one stands for "none of these".
        photos: split, as the person laid it out -> photos; `OTHER_FOLDER` for those that lie beside the
            splits, "train" for all where there are no splits.
        laid_out: whether the person divided them.
        notes: what was found, one sentence each.
        skipped: files that are not part of it.
        folders: split -> its folder's name, where the same name may be in several.
    """

    name: str
    origin: str
    class_names: tuple[str, ...]
    photos: Mapping[str, tuple[LabelledPhoto, ...]]
    laid_out: bool
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    folders: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def copies(self) -> dict[str, int]:
        """Digest -> group; (near) copies have the same one."""
        return group_copies(photo for members in self.photos.values() for photo in members)

    def divided(self, split_scheme: str, seed: int) -> PhotoDataset:
        """Divides what does not come in splits; photos that look alike are never in two of them.

        Args:
            split_scheme: a key of `SPLIT_SCHEMES`, where the person has not divided them; "whole" joins.
            seed: decides who goes into which split.
        """
        classes, joins = len(self.class_names), split_scheme == JOINING
        sources, other_class, names = (Source(self.origin),), None, self.class_names
        if any(photo.label == classes for members in self.photos.values() for photo in members):
            names, other_class = (*names, NONE_OF_THESE), NONE_OF_THESE
            sources += (Source(f"{self.origin}/{OTHER_FOLDER}", other=True),)

        def placed(photo: LabelledPhoto, split: str) -> LabelledPhoto:
            name = f"{self.folders[split]}/{photo.name}" if joins and split in self.folders else photo.name
            return replace(photo, name=name, origin=sources[photo.label == classes].data)

        photos = {
            split: tuple(placed(photo, split) for photo in members) for split, members in self.photos.items()
        }
        everything = [photo for members in photos.values() for photo in members]
        groups, alike = groups_apart(everything, self.copies, names)
        laid_out, notes = self.laid_out and not joins, (*self.notes, *alike)
        if laid_out:
            splits, more = self._as_laid_out(photos, seed, groups)
            notes = (*notes, *more)
        else:
            splits = divide(everything, SPLIT_SCHEMES[split_scheme], seed, groups)
        return PhotoDataset(
            self.name,
            FOLDERS if laid_out else split_scheme,
            names,
            splits,
            notes,
            sources=sources,
            other_class=other_class,
            skipped=self.skipped,
            copies=self.copies,
        )

    def _as_laid_out(
        self, photos: dict[str, tuple[LabelledPhoto, ...]], seed: int, groups: Mapping[str, int]
    ) -> tuple[dict[str, tuple[LabelledPhoto, ...]], list[str]]:
        """The person's own splits, what is missing of them made of the training photos, and notes."""
        beside = photos.pop(OTHER_FOLDER, ())
        if "validation" not in photos:
            photos |= divide(photos.pop("train"), {"train": 90, "validation": 10}, seed, groups)
        if beside:
            for split, members in divide(beside, SPLIT_SCHEMES["default"], seed, groups).items():
                photos[split] = (*photos.get(split, ()), *members)
        train, notes = without_copies(photos, groups, (*self.class_names, NONE_OF_THESE))
        return {**photos, "train": train}, notes


def read_all(
    unread: dict[str, list[LabelledPhoto]], reading: Reading
) -> dict[str, tuple[LabelledPhoto, ...]]:
    """Reads every file once: digest, thumbnail, and whether it can be decoded to its end."""
    everything = [(split, photo) for split, photos in unread.items() for photo in photos]
    photos = [photo for _, photo in everything]
    kept: dict[str, list[LabelledPhoto]] = {split: [] for split in unread}
    results = in_order(_facts_of, photos, f"Reading {reading.folder}")
    for (split, photo), result in zip(everything, results, strict=True):
        if isinstance(result, Facts):
            kept[split].append(replace(photo, facts=result))
        else:
            reading.skipped.append(result)
    return {split: tuple(members) for split, members in kept.items()}


def _facts_of(photo: LabelledPhoto) -> Facts | Skipped:
    path = photo.source
    if not is_photo(path):
        return no_photo(path)
    try:
        return Facts.of(path, str(path))
    except OSError as error:
        return Skipped(str(path), "can't be read", str(error.strerror))
    except UserError as error:
        return Skipped(str(path), "damaged, or not a picture inside", str(error))


def is_photo(path: Path) -> bool:
    """Whether a file is called like a photo, or holds one under another name."""
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        with path.open("rb") as file:
            return format_of(file.read(HEAD_BYTES)) is not None
    except OSError:
        return False


def no_photo(path: Path) -> Skipped:
    """Says what a file is that is not a photo."""
    suffix = path.suffix.lower()
    return Skipped(str(path), OTHER_KINDS.get(suffix, "not photos"), suffix or "no suffix")


def without_contradictions(
    photos: dict[str, tuple[LabelledPhoto, ...]], reading: Reading
) -> dict[str, tuple[LabelledPhoto, ...]]:
    """Leaves out photos whose file is in two classes: which one is right is unknown."""
    places: dict[str, list[LabelledPhoto]] = defaultdict(list)
    for members in photos.values():
        for photo in members:
            places[photo.sha256].append(photo)
    contradictory = {
        digest: same for digest, same in places.items() if len({photo.label for photo in same}) > 1
    }
    if not contradictory:
        return photos
    pairs = [" = ".join(photo.name for photo in same) for same in contradictory.values()]
    reading.notes.append(
        f"{counted(len(contradictory), 'photo')} in two classes, left out of both: {some(pairs)}"
    )
    for same in contradictory.values():
        for photo in same:
            others = ", ".join(other.name for other in same if other is not photo)
            reading.skip(photo.source, "the same photo in two classes", others)
    return {
        split: tuple(photo for photo in members if photo.sha256 not in contradictory)
        for split, members in photos.items()
    }


def skipped_notes(skipped: Sequence[Skipped], named: int = NAMED) -> list[str]:
    """One sentence: how many files were left out, by reason, so many by name."""
    if not skipped:
        return []
    reasons = Counter(file.reason for file in skipped)
    told = []
    for reason, count in reasons.most_common():
        names = [Path(file.path).name for file in skipped if file.reason == reason]
        if count == 1:
            reason = " ".join(ONE.get(word, word) for word in reason.split())
        told.append(f"{count:,} {reason} ({some(names, named)})")
    return [f"{counted(len(skipped), 'file')} skipped: {'; '.join(told)}"]


def some(names: Sequence[str], named: int = NAMED) -> str:
    """The first few of some names, for a sentence."""
    return ", ".join(names[:named]) + (", ..." if len(names) > named else "")
