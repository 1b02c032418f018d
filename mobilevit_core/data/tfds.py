"""Data sets of tensorflow-datasets, by name."""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import (
    JOINING,
    SPLIT_SCHEMES,
    SPLITS,
    Facts,
    LabelledPhoto,
    PhotoDataset,
    Source,
)
from mobilevit_core.errors import UserError

TFDS_NAME = r"\w+(/[\w.-]+)?(:[\d.*]+)?"  # data set, perhaps its configuration, perhaps its version


def is_known(name: str) -> bool:
    """Whether tensorflow-datasets has a data set of this name; a folder's path may look like one."""
    if not re.fullmatch(TFDS_NAME, name):
        return False
    import tensorflow_datasets as tfds  # imports TensorFlow

    try:
        tfds.builder_cls(re.split("[/:]", name)[0])  # it knows names without configuration and version
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError):
        return False
    return True


class TfdsPhotos:
    """A data set's photos: each of its splits is read once, and divided as often as need be.

    Args:
        builder: of tensorflow-datasets, prepared.
        requested: its name as the person gave it.
        compared: whether digests and thumbnails are read, too.
    """

    def __init__(self, builder: Any, requested: str, compared: bool) -> None:
        config = f"/{builder.builder_config.name}" if builder.builder_config else ""
        self.name = f"{builder.name}{config}:{builder.version}"
        self._builder, self._requested, self._compared = builder, requested, compared
        self._read: dict[str, list[LabelledPhoto]] = {}

    def divided(self, split_scheme: str, seed: int = 0) -> PhotoDataset:
        """In splits, by TFDS's own slices.

        Args:
            split_scheme: a key of `SPLIT_SCHEMES`; "default" keeps the data set's own splits, "whole" joins.
            seed: makes no difference here.
        """
        slices = _tfds_slices(set(self._builder.info.splits), split_scheme, self._requested)
        splits = {split: self._slice(part) for split, part in slices.items()}
        names = tuple(self._builder.info.features["label"].names)
        return PhotoDataset(self.name, split_scheme, names, splits, sources=(Source(self.name),))

    def _slice(self, spec: str) -> tuple[LabelledPhoto, ...]:
        import tensorflow_datasets as tfds

        stretches = tfds.core.ReadInstruction.from_spec(spec).to_absolute(self._builder.info.splits)
        photos = [photo for part in stretches for photo in self._all(part.splitname)[part.from_ : part.to]]
        return tuple(
            replace(photo, name=f"{self._builder.name}/{spec}/{index}")
            for index, photo in enumerate(photos)
            if photo.label >= 0  # some data sets mark a split without labels by -1
        )

    def _all(self, split: str) -> list[LabelledPhoto]:
        import tensorflow_datasets as tfds

        if split not in self._read:
            examples = self._builder.as_dataset(
                split=split,
                decoders={"image": tfds.decode.SkipDecoding()},
                # Several shards come interleaved else, in another order than that of the slices.
                read_config=tfds.ReadConfig(interleave_cycle_length=1),
            )
            photos = [
                LabelledPhoto(
                    f"{self._builder.name}/{split}/{index}",
                    int(example["label"]),
                    example["image"],
                    self.name,
                )
                for index, example in enumerate(examples.as_numpy_iterator())
            ]
            if self._compared:
                facts = in_order(
                    lambda photo: Facts.of(photo.source, photo.name), photos, f"Reading {self.name}"
                )
                photos = [replace(photo, facts=read) for photo, read in zip(photos, facts, strict=True)]
            self._read[split] = photos
        return self._read[split]


def read_tfds(name: str, compared: bool = False) -> TfdsPhotos:
    """Opens a data set, which tensorflow-datasets downloads and prepares first if need be.

    Args:
        name: as in the catalogue, perhaps with configuration and version.
        compared: whether digests and thumbnails are read, too, to compare it with other sources.

    Raises:
        UserError: there is no such data set, it is not for classification, or it could not be fetched.
    """
    import tensorflow_datasets as tfds  # imports TensorFlow

    try:
        builder = tfds.builder(name)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError):  # also: no such config or version
        raise UserError(
            f"{name!r} is neither a folder here nor a data set of tensorflow-datasets. "
            "Give a folder with one subfolder per class, or a name such as tf_flowers."
        ) from None
    features = builder.info.features
    if not {"image", "label"} <= set(features) or not isinstance(features["label"], tfds.features.ClassLabel):
        raise UserError(f"{name} is not an image classification data set: it has {', '.join(features)}.")
    try:
        builder.download_and_prepare()  # draws its own progress bars; does nothing when prepared
    except Exception as error:  # network, disk and checksums fail in many ways
        raise UserError(
            f"{name} could not be downloaded or prepared: {error}\nWhere prepared data lies already, "
            "name its folder: TFDS_DATA_DIR=/path/to/tensorflow_datasets"
        ) from error
    return TfdsPhotos(builder, name, compared)


def _tfds_slices(present: set[str], split_scheme: str, name: str) -> dict[str, str]:
    """Split -> slice; the data set's own validation and test splits are respected by the default split."""
    if "train" not in present:
        raise UserError(f"{name} has no split 'train'; it has: {', '.join(sorted(present))}.")
    if split_scheme == JOINING:
        return _percent_slices(sorted(present), split_scheme)
    if split_scheme != "default" or not {"validation", "test"} & present:
        return _percent_slices(["train"], split_scheme)
    if {"validation", "test"} <= present:
        return {split: split for split in SPLITS}
    # One more split than training: it is what others report on, so nothing is chosen on it.
    held_out = "test" if "test" in present else "validation"
    return {"train": "train[:90%]", "validation": "train[90%:]", "test": held_out}


def _percent_slices(names: Iterable[str], split_scheme: str) -> dict[str, str]:
    """Split -> the same stretch of every named TFDS split."""
    slices, start = {}, 0
    for split, percent in SPLIT_SCHEMES[split_scheme].items():
        end = start + percent
        limits = f"{f'{start}%' if start else ''}:{f'{end}%' if end < 100 else ''}"
        slices[split] = "+".join(f"{name}[{limits}]" for name in names)
        start = end
    return slices
