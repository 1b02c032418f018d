"""Batches for the network: augmented ones for training, plainly preprocessed ones for validation."""

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tensorflow as tf

from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.images.preprocessing import ResizeRule, preprocess, shrink
from mobilevit_core.images.reading import read_photo
from mobilevit_core.training.augmentation import augment, mix
from mobilevit_core.training.recipes import Recipe

CACHE_BYTES = 2 * 2**30  # decoded photographs kept in memory (twice that while it fills); the rest in files
CACHE_MARGIN = 1.5  # the cached photograph's shorter side over the largest training size


class PhotoCache:
    """Photographs decoded once, shrunk to what training can use, read back by TensorFlow alone.

    What fits into the budget lies in one long tensor of pixels in memory, what does not in a file a
    photograph. (A Python function inside tf.data would serve both, but can hang the process at its end.)

    Args:
        photos: what to read.
        shorter_side: of the cached photographs, pixels.
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

        in_memory, shapes, offsets, used = [], [], [], 0
        with ThreadPoolExecutor() as pool:
            for index, pixels in enumerate(pool.map(read, photos)):
                shapes.append(pixels.shape)
                offsets.append(used)
                if used + pixels.size <= budget:
                    in_memory.append(pixels.ravel())
                    used += pixels.size
                else:
                    offsets[-1] = -1
                    folder.mkdir(parents=True, exist_ok=True)
                    pixels.tofile(folder / f"{index}.pixels")
        self._pixels = tf.convert_to_tensor(np.concatenate([*in_memory, np.zeros(0, np.uint8)]))
        self._shapes = tf.constant(shapes, tf.int64)
        self._offsets = tf.constant(offsets, tf.int64)
        self._folder = str(folder)

    def read(self, index: tf.Tensor) -> tf.Tensor:
        """One photograph inside a TensorFlow graph: uint8 (height, width, 3)."""
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


def steps_per_epoch(photos: int, batch_size: int) -> int:
    """Full batches, and a last smaller one if it has at least a quarter of the pictures."""
    full, rest = divmod(photos, batch_size)
    return max(full + (rest >= batch_size / 4), 1)


def training_batches(
    photos: Sequence[LabelledPhoto],
    cache: PhotoCache,
    num_classes: int,
    image_size: int,
    recipe: Recipe,
    first_epoch: int,
) -> tf.data.Dataset:
    """Endless augmented batches, epoch after epoch, each epoch in an order of its own.

    The order and every random draw follow from the recipe's seed and the epoch's number alone.

    Args:
        photos: the training part.
        cache: of the same photographs.
        num_classes: width of the one-hot labels.
        image_size: of this stage, pixels.
        recipe: batch size, augmentation and seed are read.
        first_epoch: number of the epoch that the first batch belongs to.

    Returns:
        Dataset of images float32 (batch, size, size, 3) in 0..255 and labels float32 (batch, classes).
    """
    labels = tf.constant([photo.label for photo in photos])
    count = len(photos)
    steps = steps_per_epoch(count, recipe.batch_size)

    def picture(index: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = augment(cache.read(index), image_size, recipe, seed)
        return image, tf.one_hot(labels[index], num_classes)

    def epoch_pictures(epoch: tf.Tensor) -> tf.data.Dataset:
        seed = tf.stack([tf.cast(recipe.seed, tf.int32), tf.cast(epoch, tf.int32)])
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seed)
        seeds = tf.random.split(seed, count)
        pictures = tf.data.Dataset.from_tensor_slices((order, seeds))
        return pictures.map(picture, tf.data.AUTOTUNE).batch(recipe.batch_size).take(steps)

    def mixed(number: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        seed = tf.stack([tf.cast(recipe.seed + 1, tf.int32), tf.cast(number, tf.int32)])
        return mix(*batch, recipe.mix, seed)

    batches = tf.data.Dataset.range(first_epoch, 2**31).flat_map(epoch_pictures)
    if recipe.mix:
        batches = batches.enumerate(first_epoch * steps).map(mixed)
    return batches.prefetch(4)


def validation_batches(
    photos: Sequence[LabelledPhoto], num_classes: int, rule: ResizeRule, batch_size: int
) -> tf.data.Dataset:
    """Batches through the one photo-to-tensor path, computed once and kept in memory as bytes."""
    images = np.stack([preprocess(p.source, rule, p.name).astype(np.uint8) for p in photos])
    labels = tf.one_hot([photo.label for photo in photos], num_classes)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(batch_size)
    batches = batches.map(lambda image, label: (tf.cast(image, tf.float32), label))
    return batches.apply(tf.data.experimental.assert_cardinality(math.ceil(len(photos) / batch_size)))
