"""Batches for the network: augmented ones for training, plainly preprocessed ones for validation."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.images.preprocessing import ResizeRule, preprocess, shrink
from mobilevit_core.images.reading import read_photo
from mobilevit_core.training.augmentation import augment, mix
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.sampling import Sampling

CACHE_BYTES = 2 * 2**30  # decoded photos kept in memory; the rest in files
CACHE_MARGIN = 1.5  # the cached photo's shorter side over the largest training size
ALIGNMENT = 64  # bytes; TensorFlow takes over memory that begins at such an address


class PhotoCache:
    """Photos decoded once, shrunk to what training can use, read back by TensorFlow alone.

    What fits into the budget lies in one long tensor of pixels in memory, what does not in a file per
    photo. (A Python function inside tf.data would serve both, but can hang the process at its end.)

    Args:
        photos: what to read.
        shorter_side: of the cached photos, pixels.
        folder: where files go if they are needed.
        budget: bytes of memory.
    """

    def __init__(
        self,
        photos: Sequence[LabelledPhoto],
        shorter_side: int,
        folder: Path,
        budget: int = CACHE_BYTES,
    ) -> None:
        def read(photo: LabelledPhoto) -> np.ndarray:
            return shrink(read_photo(photo.source, photo.name), shorter_side)

        memory = _aligned(budget)  # the system gives out pages when they are written to, not before
        shapes, offsets, used, in_files = [], [], 0, 0
        for index, pixels in enumerate(in_order(read, photos, "Decoding photos", ahead=1)):
            shapes.append(pixels.shape)
            if used + pixels.size <= budget:
                offsets.append(used)
                memory[used : used + pixels.size] = pixels.ravel()
                used += pixels.size
            else:
                offsets.append(-1)
                folder.mkdir(parents=True, exist_ok=True)
                pixels.tofile(folder / f"{index}.pixels")
                in_files += pixels.size
        self.memory_bytes, self.file_bytes = used, in_files
        self._pixels = _taken_over(memory[: max(used, 1)])
        self._shapes = tf.constant(shapes, tf.int64)
        self._offsets = tf.constant(offsets, tf.int64)
        self._folder = str(folder)

    def describe(self) -> str:
        """One sentence about its size."""
        text = f"decoded photos: {self.memory_bytes / 2**20:,.0f} MiB in memory"
        if not self.file_bytes:
            return text
        return f"{text}, {self.file_bytes / 2**20:,.0f} MiB in {self._folder} (removed at the end)"

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """One photo inside a TensorFlow graph: uint8 (height, width, 3)."""
        shape, offset = self._shapes[index], self._offsets[index]
        pixels = tf.cond(
            offset >= 0,
            lambda: tf.slice(self._pixels, [offset], [tf.reduce_prod(shape)]),
            lambda: tf.io.decode_raw(
                tf.io.read_file(tf.strings.join([self._folder, "/", tf.strings.as_string(index), ".pixels"])),
                tf.uint8,
            ),
        )
        return tf.ensure_shape(tf.reshape(pixels, shape), (None, None, 3))


def _aligned(size: int) -> np.ndarray:
    """Room for so many bytes that TensorFlow can take over without a copy: uint8 (size,)."""
    room = np.empty(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size]


def _taken_over(array: np.ndarray) -> tf.Tensor:
    """The same memory as a tensor; nobody may write to it any more."""
    return tf.experimental.dlpack.from_dlpack(array.__dlpack__())


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Full batches, and a last smaller one if it has at least a quarter of the images."""
    full, rest = divmod(photos, batch_size)
    return max(full + (rest >= batch_size / 4), 1)


def training_batches(
    photos: Sequence[LabelledPhoto],
    cache: PhotoCache,
    num_classes: int,
    image_size: int,
    recipe: Recipe,
    first_epoch: int,
    sampling: Sampling | None = None,
) -> tf.data.Dataset:
    """Endless augmented batches, epoch after epoch, each epoch in an order of its own.

    The order and every random draw follow from the recipe's seed and the epoch's number alone.

    Args:
        photos: the training split.
        cache: of the same photos.
        num_classes: width of the one-hot labels.
        image_size: of this stage, pixels.
        recipe: batch size, augmentation and seed are read.
        first_epoch: number of the epoch that the first batch belongs to.
        sampling: how often each photo is drawn; by default once per epoch.

    Returns:
        Dataset of images float32 (batch, size, size, 3) in 0..255 and labels float32 (batch, classes).
    """
    labels = tf.constant([photo.label for photo in photos])
    drawing = sampling or Sampling.uniform(len(photos))
    count = drawing.epoch_photos
    steps = steps_per_epoch(count, recipe.batch_size)

    def example(index: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = augment(cache.read(index), image_size, recipe, seed)
        return image, tf.one_hot(labels[index], num_classes)

    def epoch_images(epoch: tf.Tensor) -> tf.data.Dataset:
        seed = tf.stack([tf.cast(recipe.seed, tf.int32), tf.cast(epoch, tf.int32)])
        order = drawing.draw(seed)
        seeds = tf.random.split(seed, count)
        images = tf.data.Dataset.from_tensor_slices((order, seeds))
        return images.map(example, tf.data.AUTOTUNE).batch(recipe.batch_size).take(steps)

    def mixed(number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        seed = tf.stack([tf.cast(recipe.seed + 1, tf.int32), tf.cast(number, tf.int32)])
        return mix(*batch, recipe.mix, seed)

    batches = tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch_images)
    if recipe.mix:
        batches = batches.enumerate(first_epoch * steps).map(mixed)
    return batches.prefetch(4)


def validation_batches(
    photos: Sequence[LabelledPhoto], num_classes: int, rule: ResizeRule, batch_size: int
) -> tf.data.Dataset:
    """Batches through the one photo-to-tensor path, computed once and kept in memory as bytes."""
    side = rule.image_size
    images = _aligned(len(photos) * side * side * 3).reshape(len(photos), side, side, 3)
    squares = in_order(
        lambda photo: preprocess(photo.source, rule, photo.name), photos, "Preparing validation", ahead=1
    )
    for index, square in enumerate(squares):
        images[index] = square.astype(np.uint8)
    labels = tf.one_hot([photo.label for photo in photos], num_classes)
    batches = tf.data.Dataset.from_tensor_slices((_taken_over(images), labels)).batch(batch_size)
    batches = batches.map(lambda image, label: (tf.cast(image, tf.float32), label))
    return batches.apply(tf.data.experimental.assert_cardinality(math.ceil(len(photos) / batch_size)))
