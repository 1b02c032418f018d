"""A bundle ready to answer: the road from a photograph to names and probabilities."""

import os

import numpy as np

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.images.preprocessing import preprocess
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.inference.runtimes import Runtime, load_runtime

DEFAULT_FORMAT = "float32"


class Classifier:
    """Answers with one runtime of a bundle.

    Attributes:
        bundle: the opened bundle.
        name: which weight format answers.
        runtime: what runs it.
    """

    def __init__(self, bundle: Bundle, name: str, runtime: Runtime) -> None:
        self.bundle, self.name, self.runtime = bundle, name, runtime

    def tensor(self, photo: PhotoSource, name: str | None = None) -> np.ndarray:
        """The network's input for a photograph: float32 (size, size, 3), RGB 0..255."""
        return preprocess(photo, self.bundle.manifest.rule, name)

    def probabilities(self, photo: PhotoSource, name: str | None = None) -> np.ndarray:
        """Probabilities of all classes in the bundle's order: float32 (classes,)."""
        return self.runtime.probabilities(self.tensor(photo, name))

    def predict(self, photo: PhotoSource, top: int = 5) -> list[tuple[str, float]]:
        """Classifies one photograph.

        Args:
            photo: path, encoded bytes, Pillow image or uint8 array (height, width, 3).
            top: how many answers at the most.

        Returns:
            Pairs of class name and probability, best first.

        Raises:
            UserError: the photograph can't be read.
        """
        return rank(self.probabilities(photo), self.bundle.manifest.class_names, top)

    def rejects(self, answers: list[tuple[str, float]]) -> bool:
        """Whether the bundle's rule calls a picture with these answers of `predict` none of the classes."""
        rule = self.bundle.manifest.rejection
        best, probability = answers[0]
        is_other = best == self.bundle.manifest.other_class
        return rule is not None and (is_other or probability < rule.threshold)


def rank(probabilities: np.ndarray, class_names: tuple[str, ...], top: int) -> list[tuple[str, float]]:
    """The best answers as pairs of name and probability, best first."""
    order = np.argsort(-probabilities, kind="stable")[:top]
    return [(class_names[index], float(probabilities[index])) for index in order]


def load_classifier(
    bundle: str | os.PathLike[str], runtime: str | None = None, threads: int | None = None
) -> Classifier:
    """Opens a bundle for prediction.

    Args:
        bundle: the bundle's folder.
        runtime: "keras", "float32" or "dynamic_int8"; by default float32, or the first format that the
            bundle was written with if it was written without float32.
        threads: default: the processors of this process, at most 4.

    Raises:
        UserError: no bundle, or no such weights in it.
    """
    opened = open_bundle(bundle)
    expected = opened.expected
    name = runtime or (DEFAULT_FORMAT if DEFAULT_FORMAT in expected else expected[0])
    return Classifier(opened, name, load_runtime(opened, name, threads))
