"""From a list of labelled files to a data set: read once, without contradictions, copies in one split."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
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
from mobilevit_core.data.splitting import divide, group_copies
from mobilevit_core.errors import UserError
from mobilevit_core.images.reading import SUFFIXES
from mobilevit_core.messages import counted

HEIC = (".heic", ".heif", ".hif", ".avif")
OTHER_PICTURES = (".gif", ".bmp", ".tif", ".tiff", ".jp2", ".dng", ".cr2", ".nef", ".arw", ".svg")
CONVERT_HEIC = (
    "HEIC photographs, which can't be read here: convert them to JPEG first (on an iPhone: Settings > Camera "
    "> Formats > Most Compatible; on a Mac: Preview > Export; on Linux: heif-convert)"
)
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


def in_splits(
    folder: Path,
    photos: dict[str, tuple[LabelledPhoto, ...]],
    class_names: tuple[str, ...],
    split_scheme: str,
    seed: int,
    laid_out: bool,
) -> PhotoDataset:
    """Divides what does not come in splits; photographs that look alike must not be in two of them."""
    origin, classes = str(folder), len(class_names)
    sources, other_class = (Source(origin),), None
    if any(photo.label == classes for members in photos.values() for photo in members):
        class_names, other_class = (*class_names, NONE_OF_THESE), NONE_OF_THESE
        sources += (Source(f"{origin}/{OTHER_FOLDER}", other=True),)
    photos = {
        split: tuple(replace(photo, origin=sources[photo.label == classes].data) for photo in members)
        for split, members in photos.items()
    }
    beside = photos.pop(OTHER_FOLDER, ())
    everything = [photo for members in (*photos.values(), beside) for photo in members]
    groups = group_copies(everything)
    if laid_out and split_scheme != JOINING:
        if "validation" not in photos:
            photos |= divide(photos.pop("train"), {"train": 90, "validation": 10}, seed, groups)
        for split, members in (
            divide(beside, SPLIT_SCHEMES["default"], seed, groups).items() if beside else ()
        ):
            photos[split] = (*photos.get(split, ()), *members)
        train, notes = _without_copies(photos, groups)
        splits = {**photos, "train": train}
        return PhotoDataset(
            origin,
            FOLDERS,
            class_names,
            splits,
            notes,
            sources=sources,
            other_class=other_class,
            copies=groups,
        )
    splits = divide(everything, SPLIT_SCHEMES[split_scheme], seed, groups)
    return PhotoDataset(
        origin,
        split_scheme,
        class_names,
        splits,
        sources=sources,
        other_class=other_class,
        copies=groups,
    )


def _without_copies(
    splits: dict[str, tuple[LabelledPhoto, ...]], groups: dict[str, int]
) -> tuple[tuple[LabelledPhoto, ...], tuple[str, ...]]:
    """The training split without what looks like a photograph of another split, and a note."""
    held_out = {groups[p.sha256] for split, photos in splits.items() if split != "train" for p in photos}
    train = tuple(photo for photo in splits["train"] if groups[photo.sha256] not in held_out)
    dropped = len(splits["train"]) - len(train)
    note = f"{counted(dropped, 'training photograph')} left out: (nearly) the same as one of another split"
    return train, (note,) if dropped else ()


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
    path, suffix = photo.source, photo.source.suffix.lower()
    if suffix in HEIC:
        return Skipped(str(path), CONVERT_HEIC)
    if suffix in OTHER_PICTURES:
        return Skipped(str(path), f"pictures of another format than {', '.join(SUFFIXES)}")
    if suffix not in SUFFIXES:
        return Skipped(str(path), "not photographs by their names", suffix or "no suffix")
    try:
        return Facts.of(path.read_bytes(), str(path))
    except OSError as error:
        return Skipped(str(path), "can't be read", str(error.strerror))
    except UserError as error:
        return Skipped(str(path), "damaged, or not a picture inside", str(error))


def without_contradictions(
    photos: dict[str, tuple[LabelledPhoto, ...]], reading: Reading
) -> dict[str, tuple[LabelledPhoto, ...]]:
    """Leaves out photographs whose file is in two classes: which one is right is unknown."""
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
        f"{counted(len(contradictory), 'photograph')} in two classes, left out of both: {some(pairs)}"
    )
    for same in contradictory.values():
        for photo in same:
            others = ", ".join(other.name for other in same if other is not photo)
            reading.skip(photo.source, "the same photograph in two classes", others)
    return {
        split: tuple(photo for photo in members if photo.sha256 not in contradictory)
        for split, members in photos.items()
    }


def skipped_notes(skipped: list[Skipped]) -> list[str]:
    """One sentence: how many files were left out, by reason, some by name."""
    if not skipped:
        return []
    reasons = Counter(file.reason for file in skipped)
    told = []
    for reason, count in reasons.most_common():
        names = [Path(file.path).name for file in skipped if file.reason == reason]
        told.append(f"{count:,} {reason} ({some(names)})")
    return [f"{counted(len(skipped), 'file')} skipped: {'; '.join(told)}"]


def some(names: list[str]) -> str:
    """The first few of some names, for a sentence."""
    return ", ".join(names[:NAMED]) + (", ..." if len(names) > NAMED else "")
