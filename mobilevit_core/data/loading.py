"""Where labelled photographs come from, and which of them are not trained on.

Three sources: tf_flowers or any other classification data set of tensorflow-datasets by name, and a
folder with one subfolder a class. Photographs are kept as they are stored (encoded bytes or a path);
decoding is the business of `photos.py` alone.
"""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mobilevit_core.data.class_names import check_class_names
from mobilevit_core.data.dataset import SPLITS, LabelledPhoto, PhotoDataset
from mobilevit_core.data.folder import load_folder
from mobilevit_core.data.near_duplicates import LOOK_ALIKE, likeness_to
from mobilevit_core.data.tfds import TFDS_NAME, load_tfds
from mobilevit_core.errors import UserError

TF_FLOWERS = Path(__file__).with_name("tf_flowers")
NEAR_DUPLICATES = TF_FLOWERS / "near_duplicates.csv"
# Photographs of tf_flowers whose label looks wrong to the eye (people, fields, other flowers); by digest.
SUSPECT_LABELS = TF_FLOWERS / "suspect_labels.csv"


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
        return _prepared(load_folder(folder, split, seed), leave_out, without, keep_suspects)
    if folder.exists():
        raise UserError(f"{data} is a file. Give a folder with one subfolder of photographs a class.")
    if not re.fullmatch(TFDS_NAME, data):
        raise UserError(f"There is no folder {data}.")
    return _prepared(load_tfds(data, split), leave_out, without, keep_suspects)


def _prepared(
    dataset: PhotoDataset, leave_out: PhotoDataset | None, without: Sequence[str], keep_suspects: bool
) -> PhotoDataset:
    check_class_names(dataset.class_names)
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
    return _with_training_part(dataset, train, reason, always=True)


def _with_training_part(
    dataset: PhotoDataset, train: tuple[LabelledPhoto, ...], reason: str, always: bool = False
) -> PhotoDataset:
    dropped = len(dataset.parts["train"]) - len(train)
    if not dropped and not always:
        return dataset
    note = f"{dropped} training photographs left out: {reason}"
    parts = {**dataset.parts, "train": train}
    return replace(dataset, parts=parts, notes=(*dataset.notes, note))
