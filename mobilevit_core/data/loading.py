"""Where labelled photos come from, and which of them are not trained on.

A classification data set of tensorflow-datasets by name, a folder with one subfolder per class, a zip file of
such a folder, or a CSV file of paths and labels; several of them together, too.
Photos are kept as they are stored (encoded bytes or a path).
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mobilevit_core.data.archive import read_zip
from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.class_names import FEWEST_CLASSES, LONGEST_DATA_NAME, check_class_names
from mobilevit_core.data.curation import near_duplicates, suspect_labels
from mobilevit_core.data.dataset import ALL, JOINING, SPLIT_SCHEMES, PhotoDataset
from mobilevit_core.data.folder import read_folder
from mobilevit_core.data.gathering import Gathered
from mobilevit_core.data.listing import read_listing
from mobilevit_core.data.near_duplicates import LOOK_ALIKE, likeness_to
from mobilevit_core.data.tfds import TFDS_NAME, TfdsPhotos, is_known, read_tfds
from mobilevit_core.data.union import add_other, add_train_only, merge, with_training_split, with_weights
from mobilevit_core.errors import UserError

Data = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | DataChoice

LEAST = 5  # different photos per class, to train on them
FEW = 20  # training photos per class; with fewer, a class is often missed


@dataclass(frozen=True)
class UndividedPhotos:
    """All photos of a choice, read and not yet divided.

    Attributes:
        choice: which they are.
        sources: each of its sources by its name.
        leave_out: the data set that must not be trained on.
        notes: sentences about what was not read.
        to_measure: whether a model is only measured on them: one class, and a few photos, will do.
    """

    choice: DataChoice
    sources: Mapping[str, Gathered | TfdsPhotos]
    leave_out: PhotoDataset | None = None
    notes: tuple[str, ...] = ()
    to_measure: bool = False

    def divided(
        self, split_scheme: str = "default", seed: int = 0, keep_suspects: bool = True
    ) -> PhotoDataset:
        """Divides them into splits; nothing is read again.

        A photo of the training split that is also in another split, byte for byte or as a near copy, is
        left out of training.

        Args:
            split_scheme: a key of `SPLIT_SCHEMES`.
            seed: decides the split of a folder that has none of its own.
            keep_suspects: whether photos whose label is known to look wrong
                (`curation.suspect_labels`) are trained on; the other splits always stay complete.

        Returns:
            The data set; its training split has photos of every class, unless they are `to_measure`.

        Raises:
            UserError: unknown split scheme, classes that are not there, or too few photos.
        """
        _check_scheme(split_scheme)
        choice = self.choice

        def divided(names: Sequence[str], scheme: str) -> list[PhotoDataset]:
            return [_divided(self.sources[name], scheme, seed) for name in names]

        dataset = merge(divided(choice.data, split_scheme))
        dataset = add_train_only(dataset, divided(choice.train_only, JOINING))
        check_class_names(dataset.class_names, 1 if self.to_measure else FEWEST_CLASSES)
        dataset = _leave_out_classes(dataset, choice.without)
        dataset = add_other(dataset, divided(choice.other, split_scheme), choice.other_without)
        dataset = with_weights(dataset, choice.weights)
        if not keep_suspects:
            dataset = _leave_out_suspects(dataset)
        if self.leave_out:
            dataset = _leave_out_look_alikes(dataset, self.leave_out)
        dataset = replace(dataset, notes=(*dataset.notes, *self.notes))
        return dataset if self.to_measure else _complete(dataset)


def read_photos(data: Data, to_measure: bool = False) -> UndividedPhotos:
    """Reads every photo of a choice once.

    Args:
        data: a choice, or its sources alone: a folder, zip or CSV file, or a name such as "tf_flowers".
        to_measure: whether a model is only measured on them, so that one class will do.

    Raises:
        UserError: missing folder, a folder that is not a data set, or a name that tensorflow-datasets does
            not know or cannot fetch.
    """
    choice = DataChoice.of(data)
    twice = sorted({name for name in choice.sources if choice.sources.count(name) > 1})
    if twice or not choice.data:
        raise UserError(f"{twice[0]} is given twice. Give it once." if twice else "Give a data set.")
    compared = len(choice.sources) > 1 or choice.leave_out is not None
    fewest = 1 if to_measure else FEWEST_CLASSES
    return UndividedPhotos(
        choice,
        {name: _read_one(name, compared, name in choice.data, fewest) for name in choice.sources},
        _divided(_read_one(choice.leave_out, compared), "default", 0) if choice.leave_out else None,
        to_measure=to_measure,
    )


def load_dataset(
    data: Data,
    split_scheme: str = "default",
    seed: int = 0,
    keep_suspects: bool = True,
    to_measure: bool = False,
) -> PhotoDataset:
    """Reads photos and divides them: `read_photos`, then `UndividedPhotos.divided`."""
    _check_scheme(split_scheme)
    return read_photos(data, to_measure).divided(split_scheme, seed, keep_suspects)


def _check_scheme(split_scheme: str) -> None:
    if split_scheme not in SPLIT_SCHEMES:
        raise UserError(f"Unknown split {split_scheme!r}. There are: {', '.join(SPLIT_SCHEMES)}.")


def load_described(
    description: Mapping[str, Any], split_scheme: str, seed: int, keep_suspects: bool = True
) -> PhotoDataset:
    """Loads a data set again by what `PhotoDataset.describe` said of it, as far as it is here.

    Args:
        description: as a bundle records it.
        split_scheme: a key of `SPLIT_SCHEMES`.
        seed: as `load_dataset`.
        keep_suspects: as `load_dataset`.
    """
    choice = replace(DataChoice.from_manifest(description), leave_out=None)
    more = (*choice.other, *choice.train_only)
    there = tuple(name for name in more if Path(name).exists() or is_known(name))
    photos = read_photos(choice.only(there))
    if missing := [name for name in choice.other if name not in there]:
        note = f"photos of anything else are missing here, and not measured: {', '.join(missing)}"
        photos = replace(photos, notes=(note,))
    return photos.divided(split_scheme, seed, keep_suspects)


def load_unlabelled(data: Sequence[str]) -> PhotoDataset:
    """Photos of anything as one class, all of them for training; class folders are not looked at.

    Args:
        data: folders, zip files, or names in tensorflow-datasets.

    Raises:
        UserError: there is no such folder or data set, or it has no photos.
    """
    loaded = [_divided(_read_one(name, False, labelled=False), JOINING, 0) for name in data]
    photos = tuple(replace(photo, label=0) for dataset in loaded for photo in dataset.split(ALL))
    return PhotoDataset(
        ", ".join(data),
        JOINING,
        ("photos",),
        {"train": photos},
        tuple(note for dataset in loaded for note in dataset.notes),
        sources=tuple(source for dataset in loaded for source in dataset.sources),
        skipped=tuple(skipped for dataset in loaded for skipped in dataset.skipped),
    )


def check_there(data: str) -> None:
    """Raises a UserError where a name can be neither a folder or file that is there, nor a data set's."""
    if len(data) > LONGEST_DATA_NAME:
        raise UserError(f"The data set's name {data[:40]!r}... has over {LONGEST_DATA_NAME} characters.")
    if not (Path(data).exists() or re.fullmatch(TFDS_NAME, data)):
        raise UserError(f"There is no folder {data}.")


def _read_one(
    data: str, compared: bool, labelled: bool = True, fewest: int = FEWEST_CLASSES
) -> Gathered | TfdsPhotos:
    """Reads one source; `compared` says whether its photos are compared with those of another."""
    check_there(data)
    path = Path(data)
    if path.is_dir():
        return read_folder(path, labelled, fewest)
    if path.suffix.lower() == ".zip" and path.is_file():
        return read_zip(path, labelled, fewest)
    if path.suffix.lower() in (".csv", ".tsv") and path.is_file() and labelled:
        return read_listing(path, fewest)
    if path.exists():
        listing = ", or a CSV file with the columns path and label" if labelled else ""
        raise UserError(
            f"{data} is a file. Give a folder with one subfolder of photos per class, a zip file of "
            f"such a folder{listing}."
        )
    return read_tfds(data, compared)


def _divided(source: Gathered | TfdsPhotos, split_scheme: str, seed: int) -> PhotoDataset:
    """In splits, without training photos that are (nearly) the same as one in another split."""
    dataset = source.divided(split_scheme, seed)
    held_out = {p.sha256 for split, photos in dataset.splits.items() if split != "train" for p in photos}
    for pair in near_duplicates():
        if pair & held_out:
            held_out |= pair
    train = tuple(photo for photo in dataset.splits["train"] if photo.sha256 not in held_out)
    return with_training_split(dataset, train, "(nearly) the same as one of another split")


def check_enough(dataset: PhotoDataset, fitted: Sequence[str] = ("train",)) -> list[str]:
    """Refuses classes that are too small to train on.

    Args:
        dataset: in splits.
        fitted: the splits that weights are fitted to; a head's are training and validation.

    Returns:
        A sentence about classes that are small, if there are any.

    Raises:
        UserError: a class has fewer than `LEAST` different photos.
    """
    different: dict[int, set[str]] = {label: set() for label in range(len(dataset.class_names))}
    for photos in dataset.splits.values():
        for photo in photos:
            different[photo.label].add(photo.sha256)
    least = min(different, key=lambda label: len(different[label]))
    if len(different[least]) < LEAST:
        raise UserError(
            f"Class {dataset.class_names[least]!r} of {dataset.name} has only {len(different[least])} "
            f"different photos. Every class needs at least {LEAST}, and many more to be told apart well."
        )
    counts = {name: sum(splits[split] for split in fitted) for name, splits in dataset.counts().items()}
    few = [f"{name} {count}" for name, count in counts.items() if count < FEW]
    if not few:
        return []
    shown = ", ".join(few[:10]) + (f" and {len(few) - 10} more" if len(few) > 10 else "")
    return [
        f"few training photos ({shown}): such classes are often missed. {FEW} or more per class help most"
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
    """Refuses a data set that cannot be trained: a class without photos in train, or no validation."""
    present = {photo.label for photo in dataset.splits["train"]}
    empty = [name for label, name in enumerate(dataset.class_names) if label not in present]
    if empty or not dataset.splits["validation"]:
        what = f"class {empty[0]!r} has no photo left to train on" if empty else "validation has none"
        gone = "".join(f" ({note})" for note in dataset.notes if "left out" in note)
        raise UserError(
            f"{dataset.name} has too few photos: {what}{gone}. "
            f"Every class needs at least {LEAST} different ones, and many more to be told apart well."
        )
    return dataset


def _leave_out_suspects(dataset: PhotoDataset) -> PhotoDataset:
    suspects = suspect_labels()
    train = tuple(photo for photo in dataset.splits["train"] if photo.sha256 not in suspects)
    return with_training_split(dataset, train, "their label looks wrong (`suspect_labels.csv`)")


def _leave_out_look_alikes(dataset: PhotoDataset, other: PhotoDataset) -> PhotoDataset:
    """Drops training photos that look like one that another data set validates or tests with."""
    held_out = [photo.thumbnail for split in ("validation", "test") for photo in other.splits.get(split, ())]
    training = dataset.splits["train"]
    likeness = likeness_to([photo.thumbnail for photo in training], held_out)
    train = tuple(photo for photo, value in zip(training, likeness, strict=True) if value < LOOK_ALIKE)
    reason = (
        f"like a validation or test photo of {other.name} "
        f"(likeness {LOOK_ALIKE} or more; highest {max(likeness):.3f})"
    )
    return replace(with_training_split(dataset, train, reason, always=True), leave_out=other.name)
