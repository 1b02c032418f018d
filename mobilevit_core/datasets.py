"""Where labelled photographs come from and into which parts they are split.

Three sources: tf_flowers or any other classification data set of tensorflow-datasets by name, and a
folder with one subfolder a class. Photographs are kept as they are stored (encoded bytes or a path);
decoding is the business of `photos.py` alone.
"""

import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from mobilevit_core.errors import UserError
from mobilevit_core.likeness import LOOK_ALIKE, likeness_to
from mobilevit_core.photos import SUFFIXES, read_photo

PARTS = ("train", "validation", "test")

# name -> part -> per cent of a data set that comes as one piece, in this order. The last tenth of
# tf_flowers is what the Keras example both chooses its epoch on and reports; in the default split nothing
# is chosen on it. `whole` is for pretraining: it joins a data set's own parts and keeps no test part.
SPLITS: dict[str, dict[str, int]] = {
    "default": {"train": 80, "validation": 10, "test": 10},
    "keras-example": {"train": 90, "validation": 10},
    "whole": {"train": 95, "validation": 5},
}
JOINING = "whole"

# What people call the parts when they lay them out as folders.
FOLDER_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}

TFDS_NAME = r"\w+(/[\w.-]+)?(:[\d.*]+)?"  # data set, perhaps its configuration, perhaps its version

NEAR_DUPLICATES = Path(__file__).with_name("near_duplicates.csv")
# Photographs of tf_flowers whose label looks wrong to the eye (people, fields, other flowers); by digest.
SUSPECT_LABELS = Path(__file__).with_name("suspect_labels.csv")


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
        """The photographs of one part.

        Raises:
            UserError: the data set has no such part, or it is empty.
        """
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
            "digest": hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            "notes": list(self.notes),
            **({"without": list(self.without)} if self.without else {}),
        }


def load_dataset(
    data: str,
    split: str = "default",
    seed: int = 0,
    leave_out: PhotoDataset | None = None,
    without: Sequence[str] = (),
    keep_suspects: bool = True,
) -> PhotoDataset:
    """Loads a data set by folder or by its name in tensorflow-datasets.

    A photograph of the training part that also stands in another part, byte for byte or as one of the
    known near-duplicates of tf_flowers, is left out of training.

    Args:
        data: a folder, or a name such as "tf_flowers".
        split: a key of `SPLITS`.
        seed: decides the split of a folder that has none of its own.
        leave_out: a data set whose validation and test part must not be trained on, not even as a near
            copy; for pretraining.
        without: classes to leave out whole, to see later how a model takes pictures of a kind that it has
            never seen.
        keep_suspects: whether training photographs of tf_flowers whose label looks wrong are trained on;
            the other parts always stay complete.

    Returns:
        The data set; its training part has photographs of every class.

    Raises:
        UserError: unknown split, missing folder, a folder that is no data set, or a name that
            tensorflow-datasets does not know or cannot fetch.
    """
    if split not in SPLITS:
        raise UserError(f"Unknown split {split!r}. There are: {', '.join(SPLITS)}.")
    folder = Path(data)
    if folder.is_dir():
        return _prepared(_load_folder(folder, split, seed), leave_out, without, keep_suspects)
    if folder.exists():
        raise UserError(f"{data} is a file. Give a folder with one subfolder of photographs a class.")
    if not re.fullmatch(TFDS_NAME, data):
        raise UserError(f"There is no folder {data}.")
    return _prepared(_load_tfds(data, split), leave_out, without, keep_suspects)


def _prepared(
    dataset: PhotoDataset, leave_out: PhotoDataset | None, without: Sequence[str], keep_suspects: bool
) -> PhotoDataset:
    dataset = _leave_out_duplicates(_leave_out_classes(dataset, without))
    if not keep_suspects:
        dataset = _leave_out_suspects(dataset)
    return _complete(_leave_out_look_alikes(dataset, leave_out) if leave_out else dataset)


def _leave_out_classes(dataset: PhotoDataset, without: Sequence[str]) -> PhotoDataset:
    missing = sorted(set(without) - set(dataset.class_names))
    if missing:
        raise UserError(
            f"{dataset.name} has no class {missing[0]!r}. It has: {', '.join(dataset.class_names)}."
        )
    kept = tuple(name for name in dataset.class_names if name not in without)
    if len(kept) < 2:
        raise UserError(f"Without {', '.join(without)}, {dataset.name} has fewer than two classes.")
    parts = {
        part: tuple(
            replace(photo, label=kept.index(dataset.class_names[photo.label]))
            for photo in photos
            if dataset.class_names[photo.label] in kept
        )
        for part, photos in dataset.parts.items()
    }
    return replace(dataset, class_names=kept, parts=parts, without=tuple(without))


def _complete(dataset: PhotoDataset) -> PhotoDataset:
    """Refuses a data set that cannot be trained: a class without training photographs, no validation part."""
    present = {photo.label for photo in dataset.parts["train"]}
    empty = [name for label, name in enumerate(dataset.class_names) if label not in present]
    if empty or not dataset.parts["validation"]:
        what = f"class {empty[0]!r} has no photograph left to train on" if empty else "validation has none"
        raise UserError(
            f"{dataset.name} has too few photographs: {what}. "
            "Every class needs at least 3 different ones, and many more to be told apart well."
        )
    return dataset


def _leave_out_duplicates(dataset: PhotoDataset) -> PhotoDataset:
    """Drops training photographs that are (nearly) the same as one in another part."""
    held_out = {p.sha256 for part, photos in dataset.parts.items() if part != "train" for p in photos}
    with NEAR_DUPLICATES.open(newline="") as file:
        for row in csv.DictReader(file):
            pair = set(row.values())
            if pair & held_out:
                held_out |= pair
    train = tuple(photo for photo in dataset.parts["train"] if photo.sha256 not in held_out)
    return _with_training_part(dataset, train, "(nearly) the same as one of another part")


def _leave_out_suspects(dataset: PhotoDataset) -> PhotoDataset:
    with SUSPECT_LABELS.open(newline="") as file:
        suspects = {row["sha256"] for row in csv.DictReader(file)}
    train = tuple(photo for photo in dataset.parts["train"] if photo.sha256 not in suspects)
    return _with_training_part(dataset, train, "their label looks wrong (`suspect_labels.csv`)")


def _leave_out_look_alikes(dataset: PhotoDataset, other: PhotoDataset) -> PhotoDataset:
    """Drops training photographs that look like one that another data set validates or tests with."""
    held_out = [photo for part in ("validation", "test") for photo in other.parts.get(part, ())]
    training = dataset.parts["train"]
    likeness = likeness_to(
        [(photo.source, photo.name) for photo in training], [(photo.source, photo.name) for photo in held_out]
    )
    train = tuple(photo for photo, value in zip(training, likeness, strict=True) if value < LOOK_ALIKE)
    reason = (
        f"like a validation or test photograph of {other.name} "
        f"(likeness {LOOK_ALIKE} or more; highest {max(likeness):.3f})"
    )
    return _with_training_part(dataset, train, reason)


def _with_training_part(dataset: PhotoDataset, train: tuple[LabelledPhoto, ...], reason: str) -> PhotoDataset:
    dropped = len(dataset.parts["train"]) - len(train)
    if not dropped:
        return dataset
    note = f"{dropped} training photographs left out: {reason}"
    parts = {**dataset.parts, "train": train}
    return replace(dataset, parts=parts, notes=(*dataset.notes, note))


# --- tensorflow-datasets -------------------------------------------------------------------------------


def _load_tfds(name: str, split: str) -> PhotoDataset:
    import tensorflow_datasets as tfds  # imports TensorFlow

    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError):  # also: no such config or version
        raise UserError(
            f"{name!r} is neither a folder here nor a data set of tensorflow-datasets. "
            "Give a folder with one subfolder a class, or a name such as tf_flowers."
        ) from None
    features = builder.info.features
    if not {"image", "label"} <= set(features) or not isinstance(features["label"], tfds.features.ClassLabel):
        raise UserError(f"{name} is no image classification data set: it has {', '.join(features)}.")
    try:
        builder.download_and_prepare()  # draws its own progress bars; does nothing when prepared
    except Exception as error:  # network, disk and checksums fail in many ways
        raise UserError(
            f"{name} could not be downloaded or prepared: {error}\nWhere prepared data lies already, "
            "name its folder: TFDS_DATA_DIR=/path/to/tensorflow_datasets"
        ) from error
    slices = _tfds_slices(set(builder.info.splits), split, name)
    parts = {part: _read_tfds(builder, part_slice) for part, part_slice in slices.items()}
    config = f"/{builder.builder_config.name}" if builder.builder_config else ""
    full_name = f"{builder.name}{config}:{builder.version}"
    return PhotoDataset(full_name, split, tuple(features["label"].names), parts)


def _tfds_slices(present: set[str], split: str, name: str) -> dict[str, str]:
    """Part -> slice; the data set's own validation and test splits are respected by the default split."""
    if "train" not in present:
        raise UserError(f"{name} has no split 'train'; it has: {', '.join(sorted(present))}.")
    if split == JOINING:
        return _percent_slices(sorted(present), split)
    if split != "default" or not {"validation", "test"} & present:
        return _percent_slices(["train"], split)
    if {"validation", "test"} <= present:
        return {part: part for part in PARTS}
    # One more part than training: it is what others report on, so nothing is chosen on it.
    held_out = "test" if "test" in present else "validation"
    return {"train": "train[:90%]", "validation": "train[90%:]", "test": held_out}


def _percent_slices(names: Iterable[str], split: str) -> dict[str, str]:
    """Part -> the same stretch of every named TFDS split."""
    slices, start = {}, 0
    for part, percent in SPLITS[split].items():
        end = start + percent
        limits = f"{f'{start}%' if start else ''}:{f'{end}%' if end < 100 else ''}"
        slices[part] = "+".join(f"{name}[{limits}]" for name in names)
        start = end
    return slices


def _read_tfds(builder, part_slice: str) -> tuple[LabelledPhoto, ...]:  # noqa: ANN001 (tfds is lazy)
    import tensorflow_datasets as tfds

    examples = builder.as_dataset(
        split=part_slice,  # slices only: reading "train" whole comes interleaved from its shards
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    return tuple(
        LabelledPhoto(f"{builder.name}/{part_slice}/{index}", int(example["label"]), example["image"])
        for index, example in enumerate(examples.as_numpy_iterator())
    )


# --- a folder ------------------------------------------------------------------------------------------


def _load_folder(folder: Path, split: str, seed: int) -> PhotoDataset:
    layout = _parts_layout(folder)
    roots = layout or {"train": folder}
    class_names = _class_folders(roots["train"])
    photos, notes = {}, []
    for part, root in roots.items():
        unknown = set(_class_folders(root)) - set(class_names)
        if unknown:
            raise UserError(f"{root} has classes that {roots['train']} lacks: {', '.join(sorted(unknown))}.")
        photos[part], unreadable = _readable(_photos_below(root, class_names), class_names, root)
        notes += unreadable
    if layout and split != JOINING:
        if "validation" not in photos:
            photos |= _divide(photos.pop("train"), {"train": 90, "validation": 10}, seed)
        return PhotoDataset(str(folder), "folders", class_names, photos, tuple(notes))
    joined = [
        replace(photo, name=f"{roots[part].name}/{photo.name}") if layout else photo
        for part, members in photos.items()
        for photo in members
    ]
    return PhotoDataset(str(folder), split, class_names, _divide(joined, SPLITS[split], seed), tuple(notes))


def _parts_layout(folder: Path) -> dict[str, Path]:
    """Part -> folder, where the person has laid the parts out; empty where the folders are classes."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = {
        part: path for path in folders for part, names in FOLDER_NAMES.items() if path.name.lower() in names
    }
    if "train" not in found or len(found) < 2:
        return {}
    others = sorted(path.name for path in folders if path not in found.values())
    if others:
        raise UserError(
            f"{folder} has folders for the parts ({', '.join(p.name for p in found.values())}) beside others "
            f"({', '.join(others)}). Move the others away, or the parts, if they are meant as classes."
        )
    return {part: found[part] for part in PARTS if part in found}


def _class_folders(root: Path) -> tuple[str, ...]:
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < 2:
        what = f"only one class folder ({names[0]})" if names else "no class folders"
        raise UserError(
            f"{root} holds {what}. A classifier needs at least two subfolders of photographs, "
            "one a class, for example photos/daisy and photos/tulip."
        )
    return tuple(names)


def _photos_below(root: Path, class_names: tuple[str, ...]) -> list[LabelledPhoto]:
    return [
        LabelledPhoto(path.relative_to(root).as_posix(), label, path)
        for label, name in enumerate(class_names)
        if (root / name).is_dir()
        for path in sorted((root / name).rglob("*"))
        if path.is_file() and not any(name.startswith(".") for name in path.relative_to(root).parts)
    ]


def _readable(
    photos: list[LabelledPhoto], class_names: tuple[str, ...], root: Path
) -> tuple[tuple[LabelledPhoto, ...], list[str]]:
    """Leaves out what is no photograph or is damaged, and says so; every class must keep at least one."""
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(_problem, photos))
    kept = tuple(photo for photo, problem in zip(photos, problems, strict=True) if problem is None)
    notes = [f"skipped {problem}" for problem in problems if problem is not None]
    filled = Counter(photo.label for photo in kept)
    for label, name in enumerate(class_names):
        if not filled[label] and (root / name).is_dir():
            raise UserError(
                f"Class {name!r} has no readable photograph in {root / name}. Add JPEG, PNG or WebP files "
                "or remove the folder." + "".join(f"\n  {note}" for note in notes[:5])
            )
    return kept, notes


def _problem(photo: LabelledPhoto) -> str | None:
    suffix = photo.source.suffix.lower()
    if suffix not in SUFFIXES:
        return f"{photo.source}: {suffix or 'no suffix'} is none of {', '.join(SUFFIXES)}"
    try:
        read_photo(photo.source)
    except UserError as error:
        return str(error)
    return None


def _divide(
    photos: Iterable[LabelledPhoto], shares: Mapping[str, int], seed: int
) -> dict[str, tuple[LabelledPhoto, ...]]:
    """Splits every class by the given percentages, the last parts first.

    The order inside a class comes from a digest of seed and file name: the same on every machine, and
    hardly disturbed when photographs are added.
    """
    parts: dict[str, list[LabelledPhoto]] = {part: [] for part in shares}
    by_class: dict[int, list[LabelledPhoto]] = {}
    for photo in photos:
        by_class.setdefault(photo.label, []).append(photo)
    for members in by_class.values():
        members.sort(key=lambda photo: hashlib.sha256(os.fsencode(f"{seed} {photo.name}")).digest())
        for part, share in list(shares.items())[:0:-1]:
            # At least one a part, as long as training keeps one too.
            count = max(round(len(members) * share / sum(shares.values())), 1)
            for _ in range(min(count, len(members) - 1)):
                parts[part].append(members.pop())
        parts["train"] += members
    return {part: tuple(chosen) for part, chosen in parts.items()}
