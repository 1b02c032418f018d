"""What the network looked at: a class activation map over the photo.

The networks end in global averages and one dense layer. For these, Grad-CAM (Selvaraju et al. 2017) is the
class activation map (Zhou et al. 2016): the last feature map weighted by the class's column of the dense
layer, without a gradient to compute. Of a hypercolumn, earlier maps count as well, in the grid of the last.
"""

import threading

import numpy as np
from PIL import Image

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.errors import UserError
from mobilevit_core.images.preprocessing import Prepared, ResizeRule, crop_box
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.models.parts import averaged, kernel_on_averages

FADED = 0.5  # brightness of the grey where the network did not look
OUTSIDE = 0.35  # brightness of what the crop leaves out


class Explainer:
    """Maps from a bundle's Keras weights; safe to call from several threads.

    Args:
        bundle: an opened bundle.

    Raises:
        UserError: the bundle has no Keras weights, or they are damaged.
    """

    def __init__(self, bundle: Bundle) -> None:
        import keras
        import tensorflow as tf

        self.bundle = bundle
        model = load_keras(bundle.weights("keras"))
        inner = keras.Model(model.input, [*(layer.input for layer in averaged(model)), model.output])
        signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
        self._run = tf.function(lambda image: inner(image, training=False), [signature], jit_compile=False)
        self._kernel = kernel_on_averages(model)
        self._lock = threading.Lock()
        self.map(np.zeros(model.input_shape[1:], np.float32))

    @classmethod
    def load(cls, bundle: Bundle) -> "Explainer":
        """The explainer of a bundle.

        Raises:
            UserError: TensorFlow is not installed; otherwise as the constructor.
        """
        try:
            return cls(bundle)
        except ImportError as error:
            raise UserError(
                f"The map needs {error.name}, which is not installed: pip install -r requirements.txt"
            ) from error

    def map(self, image: np.ndarray, label: int | None = None) -> tuple[np.ndarray, int]:
        """The map of one class.

        Args:
            image: float32 (size, size, 3), RGB 0..255.
            label: of the class; default: the most probable one.

        Returns:
            float32 (size / 32, size / 32), 0..1, 1 at its highest unless nothing speaks for the class; and
            the class's label.
        """
        with self._lock:
            *maps, probabilities = (result.numpy()[0] for result in self._run(image[None]))
        label = int(probabilities.argmax()) if label is None else label
        features = np.concatenate([in_grid(one, len(maps[-1])) for one in maps], axis=-1)
        heat = np.maximum(features @ self._kernel[:, label], 0)
        return heat / max(float(heat.max()), 1e-6), label

    def explain_prepared(self, photo: Prepared) -> tuple[Image.Image, str]:
        """A photo with the map of its most probable class laid over it.

        Returns:
            The image, in the size of `photo.shown`, and the class's name. What the bundle's rule crops
            away is darkened.
        """
        heat, label = self.map(photo.tensor)
        image = overlay(photo.shown, heat, self.bundle.manifest.rule)
        return image, self.bundle.manifest.class_names[label]


def in_grid(maps: np.ndarray, side: int) -> np.ndarray:
    """Averages of blocks: (height, width, channels) -> (side, side, channels)."""
    rows, columns = maps.shape[0] // side, maps.shape[1] // side
    return maps.reshape(side, rows, side, columns, -1).mean(axis=(1, 3))


def overlay(pixels: np.ndarray, heat: np.ndarray, rule: ResizeRule) -> Image.Image:
    """Fades what did not matter of the part of a photo that the network saw; no colour is laid over it.

    Args:
        pixels: uint8 (height, width, 3).
        heat: float32 (rows, columns), 0..1.
        rule: the bundle's ResizeRule.

    Returns:
        An image of the same size.
    """
    box = crop_box(pixels.shape[1], pixels.shape[0], rule)
    left, right = _whole(box[0], box[2], pixels.shape[1])
    top, bottom = _whole(box[1], box[3], pixels.shape[0])
    scaled = Image.fromarray((heat * 255).astype(np.uint8)).resize(
        (right - left, bottom - top), Image.Resampling.BICUBIC
    )
    shown = pixels.astype(np.float32) * OUTSIDE
    share = np.asarray(scaled, np.float32)[..., None] / 255
    seen = pixels[top:bottom, left:right].astype(np.float32)
    shown[top:bottom, left:right] = seen * share + seen.mean(axis=-1, keepdims=True) * FADED * (1 - share)
    return Image.fromarray(shown.astype(np.uint8))


def _whole(start: float, end: float, length: int) -> tuple[int, int]:
    """A stretch in whole pixels, at least one, inside of the image."""
    first = min(round(start), length - 1)
    return first, max(round(end), first + 1)
