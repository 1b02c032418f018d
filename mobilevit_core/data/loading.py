"""Where labelled photographs come from, and which of them are not trained on.

A classification data set of tensorflow-datasets by name, a folder with one subfolder per class, a zip file of
such a folder, or a CSV file of paths and labels; several of them together, too.
Photographs are kept as they are stored (encoded bytes or a path).
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from mobilevit_core.data.archive import load_zip
from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.class_names import LONGEST_DATA_NAME, check_class_names
from mobilevit_core.data.curation import near_duplicates, suspect_labels
from mobilevit_core.data.dataset import (
    ALL,
    JOINING,
    OTHER_FOLDER,
    SPLIT_SCHEMES,
    Facts,
    LabelledPhoto,
    PhotoDataset,
    Source,
)
from mobilevit_core.data.folder import load_folder
from mobilevit_core.data.listing import load_listing
from mobilevit_core.data.near_duplicates import LOOK_ALIKE, likeness_to
from mobilevit_core.data.tfds import TFDS_NAME, is_known, load_tfds
from mobilevit_core.data.union import add_other, add_train_only, merge, with_training_split, with_weights
from mobilevit_core.errors import UserError

LEAST = 5  # different photographs per class, to train on them
FEW = 20  # training photographs per class; with fewer, a class is often missed


def load_dataset(
    data: str | Sequence[str],
    split_scheme: str = "default",
    seed: int = 0,
    leave_out: PhotoDataset | None = None,
    without: Sequence[str] = (),
    keep_suspects: bool = True,
    other: Sequence[str] = (),
    other_without: Sequence[str] = (),
    weights: Mapping[str, float] | None = None,
    train_only: Sequence[str] = (),
) -> PhotoDataset:
    """Loads a data set by folder or by its name in tensorflow-datasets, or several of them as one.

    A photograph of the training split that is also in another split, byte for byte or as a near copy, is
    left out of training.

    Args:
        data: a folder, zip or CSV file, or a name such as "tf_flowers"; several are joined, classes of the
            same name (or WordNet id) become one.
        split_scheme: a key of `SPLIT_SCHEMES`.
        seed: decides the split of a folder that has none of its own.
        leave_out: a data set whose validation and test split must not be trained on, not even as a near
            copy; for pretraining.
        without: classes to leave out whole, to see later how a model takes pictures of a kind that it has
            never seen.
        keep_suspects: whether photographs whose label is known to look wrong (`curation.suspect_labels`)
            are trained on; the other splits always stay complete.
        other: folders or names whose photographs show none of the classes; they become the last class,
            "none of these", together with the subfolder of that name if there is one.
        other_without: classes of these that are left out; those with the name of a wanted class are anyway.
        weights: source, as in the other arguments -> how often its photographs are drawn for training.
        train_only: folders or names with more photographs of the same classes, for the training split alone.

    Returns:
        The data set; its training split has photographs of every class.

    Raises:
        UserError: unknown split, missing folder, a folder that is not a data set, or a name that
            tensorflow-datasets does not know or cannot fetch.
    """
    if split_scheme not in SPLIT_SCHEMES:
        raise UserError(f"Unknown split {split_scheme!r}. There are: {', '.join(SPLIT_SCHEMES)}.")
    names = [data] if isinstance(data, str) else list(data)
    everything = (*names, *train_only, *other)
    twice = sorted({name for name in everything if everything.count(name) > 1})
    if twice or not names:
        raise UserError(f"{twice[0]} is given twice. Give it once." if twice else "Give a data set.")
    several = len(everything) > 1 or leave_out is not None
    loaded = [_load_one(name, split_scheme, seed) for name in names]
    dataset = merge([_with_facts(each) for each in loaded] if several else loaded)
    more = [_with_facts(_load_one(name, JOINING, seed, labelled=False)) for name in train_only]
    dataset = add_train_only(dataset, more)
    check_class_names(dataset.class_names)
    dataset = _leave_out_classes(dataset, without)
    others = [_with_facts(_load_one(name, split_scheme, seed, labelled=False)) for name in other]
    dataset = with_weights(add_other(dataset, others, other_without), dict(weights or {}))
    if not keep_suspects:
        dataset = _leave_out_suspects(dataset)
    return _complete(_leave_out_look_alikes(dataset, leave_out) if leave_out else dataset)


def load_described(
    description: Mapping[str, Any], split_scheme: str, seed: int, keep_suspects: bool = True
) -> PhotoDataset:
    """Loads a data set again by what `PhotoDataset.describe` said of it.

    Args:
        description: as a bundle records it.
        split_scheme: a key of `SPLIT_SCHEMES`.
        seed: as `load_dataset`.
        keep_suspects: as `load_dataset`.
    """
    sources = described_sources(description)
    absent = {name for name in (*sources.other, *sources.train_only) if not _is_here(name)}
    missing = [name for name in sources.other if name in absent]
    there = [name for name in sources.other if name not in absent]
    weights = {name: weight for name, weight in sources.weights.items() if name not in absent}
    left_out, other_left_out = description.get("without", ()), description.get("other_without", ())
    dataset = load_dataset(
        sources.data,
        split_scheme,
        seed,
        without=left_out,
        keep_suspects=keep_suspects,
        other=there,
        other_without=other_left_out if there else (),
        weights=weights,
        train_only=[name for name in sources.train_only if name not in absent],
    )
    if not missing:
        return dataset
    note = f"photographs of other things are missing here, and not measured: {', '.join(missing)}"
    return replace(dataset, notes=(*dataset.notes, note))


def _is_here(data: str) -> bool:
    return Path(data).exists() or is_known(data)


class DescribedSources(NamedTuple):
    """The sources that a bundle records, as `load_dataset` takes them.

    Attributes:
        data: sources of the classes.
        train_only: those of the training split alone.
        other: those of other things, without the folders inside the first.
        weights: those that are not 1.
    """

    data: list[str]
    train_only: list[str]
    other: list[str]
    weights: dict[str, float]


def described_sources(description: Mapping[str, Any]) -> DescribedSources:
    """The sources that `PhotoDataset.describe` names."""
    rows = description.get("sources") or [{"data": description["name"], "other": False, "weight": 1.0}]
    wanted = [row for row in rows if not row["other"]]
    data = [row["data"] for row in wanted if not row.get("train_only")]
    train_only = [row["data"] for row in wanted if row.get("train_only")]
    inside = {f"{name}/{OTHER_FOLDER}" for name in data}
    other = [row["data"] for row in rows if row["other"] and row["data"] not in inside]
    weights = {row["data"]: row["weight"] for row in rows if row["weight"] != 1}
    return DescribedSources(data, train_only, other, weights)


def load_photographs(data: str) -> tuple[LabelledPhoto, ...]:
    """All photographs of a folder or of a data set of tensorflow-datasets, whatever they show.

    Args:
        data: a folder, with subfolders or without, or a name in tensorflow-datasets.

    Raises:
        UserError: there is no such folder or data set.
    """
    return _load_one(data, JOINING, 0, labelled=False).split(ALL)


def is_there(data: str) -> bool:
    """Whether a name can be a folder or file that is there, or a data set's."""
    return Path(data).exists() or bool(re.fullmatch(TFDS_NAME, data))


def check_there(data: str) -> None:
    """Raises a UserError where a name can be neither a folder or file that is there, nor a data set's."""
    if len(data) > LONGEST_DATA_NAME:
        raise UserError(f"The data set's name {data[:40]!r}... has over {LONGEST_DATA_NAME} characters.")
    if not is_there(data):
        raise UserError(f"There is no folder {data}.")


def _load_one(data: str, split_scheme: str, seed: int, labelled: bool = True) -> PhotoDataset:
    check_there(data)
    folder = Path(data)
    if folder.is_dir():
        dataset = load_folder(folder, split_scheme, seed, labelled)
    elif folder.suffix.lower() == ".zip" and folder.is_file():
        dataset = load_zip(folder, split_scheme, seed, labelled)
    elif folder.suffix.lower() == ".csv" and folder.is_file() and labelled:
        dataset = load_listing(folder, split_scheme, seed)
    elif folder.exists():
        listing = ", or a CSV file with the columns path and label" if labelled else ""
        raise UserError(
            f"{data} is a file. Give a folder with one subfolder of photographs per class, a zip file of "
            f"such a folder{listing}."
        )
    else:
        dataset = load_tfds(data, split_scheme)
        source = Source(dataset.name)
        splits = {
            split: tuple(replace(photo, origin=source.data) for photo in photos)
            for split, photos in dataset.splits.items()
        }
        dataset = replace(dataset, splits=splits, sources=(source,))
    return _leave_out_duplicates(dataset)


def _with_facts(dataset: PhotoDataset) -> PhotoDataset:
    """Reads thumbnails and digests of photographs that come from memory, all at once."""
    photos = [photo for split in dataset.splits.values() for photo in split if photo.facts is None]
    facts = in_order(lambda photo: Facts.of(photo.source, photo.name), photos, f"Reading {dataset.name}")
    read = {photo.name: replace(photo, facts=found) for photo, found in zip(photos, facts, strict=True)}
    splits = {
        split: tuple(photo if photo.facts else read[photo.name] for photo in members)
        for split, members in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


def check_enough(dataset: PhotoDataset) -> list[str]:
    """Refuses classes that are too small to train on.

    Returns:
        A sentence about classes that are small, if there are any.

    Raises:
        UserError: a class has fewer than `LEAST` different photographs.
    """
    different: dict[int, set[str]] = {label: set() for label in range(len(dataset.class_names))}
    for photos in dataset.splits.values():
        for photo in photos:
            different[photo.label].add(photo.sha256)
    least = min(different, key=lambda label: len(different[label]))
    if len(different[least]) < LEAST:
        raise UserError(
            f"Class {dataset.class_names[least]!r} of {dataset.name} has only {len(different[least])} "
            f"different photographs. Every class needs at least {LEAST}, and many more to be told apart well."
        )
    counts = {name: splits["train"] for name, splits in dataset.counts().items()}
    few = [f"{name} {count}" for name, count in counts.items() if count < FEW]
    if not few:
        return []
    shown = ", ".join(few[:10]) + (f" and {len(few) - 10} more" if len(few) > 10 else "")
    return [
        f"few training photographs ({shown}): such classes are often missed. "
        f"{FEW} or more per class help most"
    ]


def _leave_out_classes(dataset: PhotoDataset, without: Sequence[str]) -> PhotoDataset:
    if not without:
        return dataset
    missing = sorted(set(without) - set(dataset.class_names))
    if missing:
        raise UserError(
            f"{dataset.name} has no class {missing[0]!r}. It has: {', '.join(dataset.class_names)}."
        )
    kept = tuple(name for name in dataset.class_names if name not in without)
    if len(kept) - bool(dataset.other_class) < 2:
        raise UserError(f"Without {', '.join(without)}, {dataset.name} has fewer than two classes.")
    splits = {
        split: tuple(
            replace(photo, label=kept.index(dataset.class_names[photo.label]))
            for photo in photos
            if dataset.class_names[photo.label] in kept
        )
        for split, photos in dataset.splits.items()
    }
    return replace(dataset, class_names=kept, splits=splits, without=tuple(without))


def _complete(dataset: PhotoDataset) -> PhotoDataset:
    """Refuses a data set that cannot be trained: a class without photographs in train, or no validation."""
    present = {photo.label for photo in dataset.splits["train"]}
    empty = [name for label, name in enumerate(dataset.class_names) if label not in present]
    if empty or not dataset.splits["validation"]:
        what = f"class {empty[0]!r} has no photograph left to train on" if empty else "validation has none"
        raise UserError(
            f"{dataset.name} has too few photographs: {what}. "
            f"Every class needs at least {LEAST} different ones, and many more to be told apart well."
        )
    return dataset


def _leave_out_duplicates(dataset: PhotoDataset) -> PhotoDataset:
    """Drops training photographs that are (nearly) the same as one in another split."""
    held_out = {p.sha256 for split, photos in dataset.splits.items() if split != "train" for p in photos}
    for pair in near_duplicates():
        if pair & held_out:
            held_out |= pair
    train = tuple(photo for photo in dataset.splits["train"] if photo.sha256 not in held_out)
    return with_training_split(dataset, train, "(nearly) the same as one of another split")


def _leave_out_suspects(dataset: PhotoDataset) -> PhotoDataset:
    suspects = suspect_labels()
    train = tuple(photo for photo in dataset.splits["train"] if photo.sha256 not in suspects)
    return with_training_split(dataset, train, "their label looks wrong (`suspect_labels.csv`)")


def _leave_out_look_alikes(dataset: PhotoDataset, other: PhotoDataset) -> PhotoDataset:
    """Drops training photographs that look like one that another data set validates or tests with."""
    other = _with_facts(other)
    held_out = [photo.thumbnail for split in ("validation", "test") for photo in other.splits.get(split, ())]
    training = dataset.splits["train"]
    likeness = likeness_to([photo.thumbnail for photo in training], held_out)
    train = tuple(photo for photo, value in zip(training, likeness, strict=True) if value < LOOK_ALIKE)
    reason = (
        f"like a validation or test photograph of {other.name} "
        f"(likeness {LOOK_ALIKE} or more; highest {max(likeness):.3f})"
    )
    return replace(with_training_split(dataset, train, reason, always=True), leave_out=other.name)
