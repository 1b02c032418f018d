"""The photo-to-tensor path as TensorFlow operations, for a server that takes encoded photos.

A copy of the one path (`reading.read_photo`, `preprocessing.preprocess`) for where Python can't go; a test
holds the two together. JPEG and PNG, WebP without transparency, BMP and GIF's first frame; upright by the
EXIF orientation of a JPEG, not by that of other formats; a PNG's transparent pixels over white.
"""

import tensorflow as tf

from mobilevit_core.images.preprocessing import ResizeRule
from mobilevit_core.images.reading import BACKGROUND

EXIF_SEARCHED = 64 * 1024  # bytes; EXIF data come first in a JPEG and can't be longer
ORIENTATION_TAG = 0x0112
ENTRY_BYTES = 12  # of an entry in a TIFF directory: tag, type, count (2, 2, 4) and value (4)


def photo_to_image(encoded: tf.Tensor, rule: ResizeRule) -> tf.Tensor:
    """Decodes, turns upright and resizes one photo.

    Args:
        encoded: string (), the photo's file.
        rule: the bundle's resize rule.

    Returns:
        float32 (image_size, image_size, 3), RGB 0..255, whole numbers.
    """
    is_jpeg = tf.strings.substr(encoded, 0, 2) == b"\xff\xd8"
    is_png = tf.strings.substr(encoded, 0, 4) == b"\x89PNG"
    pixels = tf.case(
        [(is_jpeg, lambda: _jpeg(encoded)), (is_png, lambda: _over_white(tf.io.decode_png(encoded, 4)))],
        default=lambda: tf.io.decode_image(encoded, 3, expand_animations=False),
    )
    return _resize(tf.ensure_shape(pixels, (None, None, 3)), rule)


def _jpeg(encoded: tf.Tensor) -> tf.Tensor:
    pixels = tf.io.decode_jpeg(encoded, 3, dct_method="INTEGER_ACCURATE")
    orientation = _exif_orientation(encoded)
    pixels = tf.cond(orientation >= 5, lambda: tf.transpose(pixels, (1, 0, 2)), lambda: pixels)
    # After the transposition of 5 to 8: which of left and right, top and bottom are exchanged.
    left_right = tf.reduce_any(orientation == [2, 3, 6, 7])
    up_down = tf.reduce_any(orientation == [3, 4, 7, 8])
    pixels = tf.cond(left_right, lambda: tf.reverse(pixels, [1]), lambda: pixels)
    return tf.cond(up_down, lambda: tf.reverse(pixels, [0]), lambda: pixels)


def _exif_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """1 to 8 as EXIF numbers them, 1 where nothing is said: int32 ()."""
    start = tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, 0, EXIF_SEARCHED), tf.uint8), tf.int32)
    data = tf.concat([start, tf.zeros(ENTRY_BYTES, tf.int32)], axis=0)
    marker = tf.stack([tf.roll(data, -offset, 0) for offset in range(6)], axis=1)
    found = tf.where(tf.reduce_all(marker == list(b"Exif\0\0"), axis=1))[:, 0]
    return tf.cond(
        tf.size(found) > 0,
        lambda: _orientation_of_tiff(data[tf.cast(found[0], tf.int32) + 6 :]),
        lambda: tf.constant(1),
    )


def _orientation_of_tiff(tiff: tf.Tensor) -> tf.Tensor:
    """Reads the first directory of the TIFF structure that EXIF consists of."""
    little = tiff[0] == ord("I")
    tiff = tf.concat([tiff, tf.zeros(ENTRY_BYTES, tf.int32)], axis=0)

    def number(at: tf.Tensor, count: int) -> tf.Tensor:
        at = tf.clip_by_value(at, 0, tf.size(tiff) - count)
        digits = tiff[at : at + count]
        digits = tf.where(little, tf.reverse(digits, [0]), digits)
        return tf.reduce_sum(digits * [256**place for place in reversed(range(count))])

    directory = number(tf.constant(4), 4)
    entries = tf.minimum(number(directory, 2), EXIF_SEARCHED // ENTRY_BYTES)
    places = directory + 2 + ENTRY_BYTES * tf.range(entries)
    tags = tf.map_fn(lambda place: number(place, 2), places)
    which = tf.where(tags == ORIENTATION_TAG)[:, 0]
    value = tf.cond(
        tf.size(which) > 0,
        lambda: number(tf.gather(places, which[0]) + 8, 2),
        lambda: tf.constant(1),
    )
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _over_white(pixels: tf.Tensor) -> tf.Tensor:
    """uint8 (height, width, 4) -> (height, width, 3), what is transparent over the background."""
    color, alpha = tf.cast(pixels[..., :3], tf.float32), tf.cast(pixels[..., 3:], tf.float32) / 255
    return tf.cast(tf.round(color * alpha + tf.constant(BACKGROUND, tf.float32) * (1 - alpha)), tf.uint8)


def _resize(pixels: tf.Tensor, rule: ResizeRule) -> tf.Tensor:
    """Antialiased bilinear, as Pillow does it."""
    size = tf.cast(tf.shape(pixels)[:2], tf.float32)
    box = size  # height and width of the region that becomes the square
    if rule.mode == "center_crop":
        box = tf.fill((2,), tf.reduce_min(size) * rule.crop_fraction)
    scale = rule.image_size / box
    image = tf.raw_ops.ScaleAndTranslate(
        images=pixels[None],
        size=(rule.image_size, rule.image_size),
        scale=scale,
        translation=-(size - box) / 2 * scale,
        kernel_type="triangle",
        antialias=True,
    )[0]
    return tf.ensure_shape(tf.round(tf.clip_by_value(image, 0, 255)), (rule.image_size, rule.image_size, 3))
