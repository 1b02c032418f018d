"""Data sets of tensorflow-datasets, by name."""

import re
from collections.abc import Iterable

from mobilevit_core.data.dataset import JOINING, SPLIT_SCHEMES, SPLITS, LabelledPhoto, PhotoDataset
from mobilevit_core.errors import UserError

TFDS_NAME = r"\w+(/[\w.-]+)?(:[\d.*]+)?"  # data set, perhaps its configuration, perhaps its version


def is_known(name: str) -> bool:
    """Whether tensorflow-datasets has a data set of this name; a folder's path may look like one."""
    if not re.fullmatch(TFDS_NAME, name):
        return False
    import tensorflow_datasets as tfds  # imports TensorFlow

    try:
        tfds.builder_cls(name)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError):
        return False
    return True


def load_tfds(name: str, split_scheme: str) -> PhotoDataset:
    """Reads a data set, which tensorflow-datasets downloads and prepares first if need be.

    Args:
        name: as in the catalogue, perhaps with configuration and version.
        split_scheme: a key of `SPLIT_SCHEMES`; "default" keeps the data set's own splits, "whole" joins them.

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
    slices = _tfds_slices(set(builder.info.splits), split_scheme, name)
    splits = {split: _read_tfds(builder, split_slice) for split, split_slice in slices.items()}
    config = f"/{builder.builder_config.name}" if builder.builder_config else ""
    full_name = f"{builder.name}{config}:{builder.version}"
    return PhotoDataset(full_name, split_scheme, tuple(features["label"].names), splits)


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


def _read_tfds(builder, split_slice: str) -> tuple[LabelledPhoto, ...]:  # noqa: ANN001 (tfds is lazy)
    import tensorflow_datasets as tfds

    examples = builder.as_dataset(
        split=split_slice,  # slices only: reading "train" whole comes interleaved from its shards
        decoders={"image": tfds.decode.SkipDecoding()},
        read_config=tfds.ReadConfig(interleave_cycle_length=1),
    )
    return tuple(
        LabelledPhoto(f"{builder.name}/{split_slice}/{index}", int(example["label"]), example["image"])
        for index, example in enumerate(examples.as_numpy_iterator())
        if example["label"] >= 0  # some data sets mark a split without labels by -1
    )
