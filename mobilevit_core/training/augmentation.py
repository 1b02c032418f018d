"""What happens to a training photo between the cache and the network, in TensorFlow operations.

Every random draw takes an explicit seed, so an interrupted run that goes on sees the images that it
would have seen. Images are float32 RGB 0..255 throughout.
"""

import math

import tensorflow as tf

from mobilevit_core.training.recipes import Recipe

ASPECT_RATIOS = (3 / 4, 4 / 3)
FIXED_CROP_MARGIN = 35 / 32  # the example squashes to 280 and crops 256
MIXUP_ALPHA = 0.2
EXPOSURE = (0.25, 1.8)  # factor on all channels, drawn evenly in its logarithm
TINT = (0.7, 1.25)  # factor on each channel of its own
UNFOCUSED = (1.5, 7.0)  # how far detail is scaled down


def augment(photo: tf.Tensor, image_size: int, recipe: Recipe, seed: tf.Tensor) -> tf.Tensor:
    """One augmented training image.

    Args:
        photo: uint8 (height, width, 3).
        image_size: side of the result in pixels.
        recipe: its `crop`, `crop_scale`, `whole_share`, `flip`, `color` and `degrade` are read.
        seed: int32 (2,).

    Returns:
        float32 (image_size, image_size, 3), RGB 0..255.
    """
    seeds = tf.random.split(seed, 6)
    if recipe.crop == "random_fixed":
        image = _fixed_crop(photo, image_size, seeds[0])
    else:
        image = _resized_crop(photo, image_size, recipe.crop_scale, seeds[0])
    if recipe.whole_share:
        image = _sometimes_whole(photo, image, recipe.whole_share, tf.random.fold_in(seed, 6))
    if recipe.flip:
        mirrored = tf.random.stateless_uniform((), seeds[1]) < recipe.flip
        image = tf.cond(mirrored, lambda: tf.reverse(image, (1,)), lambda: image)
    if recipe.color:
        image = _jitter_color(image, recipe.color, seeds[2:5])
    if recipe.degrade:
        image = _degrade(image, recipe.degrade, seeds[5])
    return tf.clip_by_value(image, 0, 255)


def _fixed_crop(photo: tf.Tensor, image_size: int, seed: tf.Tensor) -> tf.Tensor:
    """The example's: squash a little larger than needed, take a square of the size from anywhere."""
    margin = round(image_size * FIXED_CROP_MARGIN)
    image = tf.image.resize(photo, (margin, margin))
    return tf.image.stateless_random_crop(image, (image_size, image_size, 3), seed)


def _resized_crop(photo: tf.Tensor, image_size: int, smallest: float, seed: tf.Tensor) -> tf.Tensor:
    """RandomResizedCrop: a region of random area and aspect, resized to the square."""
    begin, size, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.shape(photo),
        bounding_boxes=tf.zeros((1, 0, 4)),
        seed=seed,
        aspect_ratio_range=ASPECT_RATIOS,
        area_range=(smallest, 1.0),
        use_image_if_no_bounding_boxes=True,
    )
    crop = tf.slice(photo, begin, size)
    image = tf.image.resize(crop, (image_size, image_size), antialias=True)
    return tf.ensure_shape(image, (image_size, image_size, 3))


def _sometimes_whole(photo: tf.Tensor, crop: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """In place of the crop, with this chance, the whole photo: half squashed, half between bars."""
    size = crop.shape[0]
    draw = tf.random.stateless_uniform((), seed)
    return tf.cond(
        draw < share / 2,
        lambda: tf.image.resize(photo, (size, size), antialias=True),
        lambda: tf.cond(
            draw < share, lambda: tf.image.resize_with_pad(photo, size, size, antialias=True), lambda: crop
        ),
    )


def _jitter_color(image: tf.Tensor, strength: float, seeds: tf.Tensor) -> tf.Tensor:
    """Brightness, contrast and saturation, each scaled by a factor in 1 +- strength."""
    brightness, contrast, saturation = (
        tf.random.stateless_uniform((), seed, 1 - strength, 1 + strength) for seed in tf.unstack(seeds, num=3)
    )
    image = image * brightness
    grey = tf.image.rgb_to_grayscale(image)
    image = (image - grey) * saturation + grey
    mean = tf.reduce_mean(grey)
    return (image - mean) * contrast + mean


def _degrade(image: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """What phones do to photos: out of focus, too dark or bright, tinted, grey; each with a chance."""
    seeds = tf.random.split(seed, 4)
    draws = tf.random.stateless_uniform((4,), seeds[0])
    image = tf.cond(draws[0] < share, lambda: _unfocused(image, seeds[1]), lambda: image)
    exposure = tf.exp(tf.random.stateless_uniform((), seeds[2], *map(math.log, EXPOSURE)))
    image = tf.where(draws[1] < share, image * exposure, image)
    tint = tf.random.stateless_uniform((3,), seeds[3], *TINT)
    image = tf.where(draws[2] < share, image * tint, image)
    grey = tf.image.rgb_to_grayscale(image)
    return tf.where(draws[3] < share, tf.repeat(grey, 3, axis=-1), image)


def _unfocused(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Detail lost by scaling down and up again, by a random factor."""
    size = image.shape[0]
    factor = tf.random.stateless_uniform((), seed, *UNFOCUSED)
    small = tf.cast(tf.round(size / factor), tf.int32)
    image = tf.image.resize(image, tf.stack([small, small]), antialias=True)
    return tf.image.resize(image, (size, size))


def mix(images: tf.Tensor, labels: tf.Tensor, share: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends a share of the batches with themselves, shifted by one: half by MixUp, half by CutMix.

    Args:
        images: (batch, size, size, 3).
        labels: one-hot (batch, classes).
        share: probability that this batch is blended.
        seed: int32 (2,).

    Returns:
        Images and labels of the same shapes. Sources: Zhang et al. 2018 (MixUp), Yun et al. 2019 (CutMix).
    """
    seeds = tf.random.split(seed, 3)
    draw = tf.random.stateless_uniform((), seeds[0])

    def blended(weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        own, pixels = tf.reduce_mean(weights), weights[..., None]
        return (
            pixels * images + (1 - pixels) * tf.roll(images, 1, axis=0),
            own * labels + (1 - own) * tf.roll(labels, 1, axis=0),
        )

    return tf.cond(
        draw < share / 2,
        lambda: blended(_mixup_weights(tf.shape(images), seeds[1])),
        lambda: tf.cond(
            draw < share,
            lambda: blended(_cutmix_weights(tf.shape(images), seeds[2])),
            lambda: (images, labels),
        ),
    )


def _mixup_weights(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The same weight, drawn from Beta(alpha, alpha), for every pixel: (size, size)."""
    first, second = tf.unstack(tf.random.stateless_gamma((2,), seed, alpha=MIXUP_ALPHA) + 1e-9)
    return tf.fill(shape[1:3], first / (first + second))


def _cutmix_weights(shape: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """0 inside a random rectangle of uniformly drawn area, 1 outside: (size, size)."""
    area, y, x = tf.unstack(tf.random.stateless_uniform((3,), seed))
    half = tf.sqrt(area) / 2

    def outside(length: tf.Tensor, centre: tf.Tensor) -> tf.Tensor:
        position = tf.range(length, dtype=tf.float32) / tf.cast(length, tf.float32)
        return tf.cast(tf.abs(position - centre) > half, tf.float32)

    rows, columns = outside(shape[1], y), outside(shape[2], x)
    return tf.maximum(rows[:, None], columns[None, :])
