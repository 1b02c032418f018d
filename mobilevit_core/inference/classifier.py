"""A bundle ready to answer: from a photo to names and probabilities."""

import os
from collections.abc import Iterable

import numpy as np

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.download import find_bundle
from mobilevit_core.images.preprocessing import preprocess
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.inference.answer import Answer
from mobilevit_core.inference.latency import Latency
from mobilevit_core.inference.runtimes import Runtime, load_runtime

DEFAULT_FORMAT = "float32"


class Classifier:
    """Answers with one weight format of a bundle.

    Attributes:
        bundle: the opened bundle.
        format: the weight format that answers.
        runtime: what runs it.
    """

    def __init__(self, bundle: Bundle, format: str, runtime: Runtime) -> None:
        self.bundle, self.format, self.runtime = bundle, format, runtime

    def tensor(self, photo: PhotoSource, name: str | None = None) -> np.ndarray:
        """The network's input for a photo: float32 (size, size, 3), RGB 0..255."""
        return preprocess(photo, self.bundle.manifest.rule, name)

    def probabilities(self, photo: PhotoSource, name: str | None = None) -> np.ndarray:
        """Probabilities of all classes in the bundle's order: float32 (classes,)."""
        return self.runtime.probabilities(self.tensor(photo, name))

    def predict(self, photo: PhotoSource, name: str | None = None) -> Answer:
        """Classifies one photo.

        Args:
            photo: path, encoded bytes, Pillow image or uint8 array (height, width, 3).
            name: what messages call the photo; default: the file's name.

        Returns:
            The answer; `top(5)` has its best classes.

        Raises:
            UserError: the photo can't be read.
        """
        return self.answer(self.tensor(photo, name))

    def answer(self, tensor: np.ndarray, latency: Latency | None = None) -> Answer:
        """The answer to a prepared photo, the result of `tensor`."""
        return Answer.of(self.runtime.probabilities(tensor), self.bundle.manifest, self.format, latency)


def load_formats(bundle: Bundle, names: Iterable[str]) -> list[Classifier]:
    """A classifier for each named weight format of an opened bundle."""
    return [Classifier(bundle, name, load_runtime(bundle, name)) for name in names]


def load_classifier(
    bundle: Bundle | str | os.PathLike[str], format: str | None = None, threads: int | None = None
) -> Classifier:
    """Opens a bundle for prediction.

    Args:
        bundle: an opened one, its folder, or "hf://OWNER/NAME" or "hf://OWNER/NAME@REVISION" for one on the
            Hugging Face Hub, which is downloaded once.
        format: a key of `weight_formats.FORMATS`; by default float32, or the first format that the
            bundle was written with if it was written without float32.
        threads: default: the processors of this process, at most 4.

    Raises:
        UserError: no bundle, no such weights in it, or it can't be downloaded.
    """
    opened = find_bundle(bundle)
    expected = opened.expected
    name = format or (DEFAULT_FORMAT if DEFAULT_FORMAT in expected else expected[0])
    return Classifier(opened, name, load_runtime(opened, name, threads))
