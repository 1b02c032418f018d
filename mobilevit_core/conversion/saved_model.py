"""A bundle's Keras weights as a SavedModel for TensorFlow Serving, with photos or tensors as input.

serving_default    image float32 (batch, size, size, 3), RGB 0..255 -> probabilities (batch, classes)
photographs        image_bytes string (batch,), encoded JPEG or PNG -> probabilities (batch, classes)
"""

from pathlib import Path

import keras
import tensorflow as tf

from mobilevit_core.images.preprocessing import ResizeRule
from mobilevit_core.images.tf_preprocessing import photo_to_image

PHOTOGRAPHS = "photographs"
EXTRA = "assets.extra"  # where TensorFlow Serving lets people put what belongs to a model


def save_saved_model(model: keras.Model, folder: Path, rule: ResizeRule | None = None) -> None:
    """Writes a SavedModel with the signature `image` -> `probabilities`.

    Args:
        model: image float32 (batch, size, size, 3) RGB 0..255 -> probabilities.
        folder: must not exist.
        rule: how encoded photos become images; without it there is no signature for them.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda image: {"probabilities": model(image, training=False)},
        input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.float32, name="image")],
    )
    if rule:

        def answer(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            shape = tf.TensorSpec(model.input_shape[1:], tf.float32)
            images = tf.map_fn(
                lambda encoded: photo_to_image(encoded, rule), image_bytes, fn_output_signature=shape
            )
            return {"probabilities": model(images, training=False)}

        encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
        archive.add_endpoint(PHOTOGRAPHS, answer, input_signature=[encoded])
    archive.write_out(str(folder), verbose=False)
