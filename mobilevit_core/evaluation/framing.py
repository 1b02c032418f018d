"""Accuracy when other tools frame the photograph in their own way.

A bundle records how a photograph becomes a square. Other people's tools may not follow: MediaPipe squashes a
whole photograph, others crop its middle or put bars beside it.
"""

from dataclasses import replace

import numpy as np

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.evaluation.metrics import Evaluation, labels_for
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.reading import read_photo
from mobilevit_core.inference.classifier import Classifier

OWN, SQUASHED, CROPPED = "the bundle's rule", "whole photograph, squashed", "largest central square"
LETTERBOXED = "whole photograph, black bars"


def framings(pixels: np.ndarray, rule: ResizeRule) -> dict[str, np.ndarray]:
    """One photograph in every framing.

    Args:
        pixels: uint8 (height, width, 3).
        rule: the bundle's.

    Returns:
        Framing -> the network's input, float32 (size, size, 3).
    """
    squash = replace(rule, mode="squash", crop_fraction=1.0)
    height, width = pixels.shape[:2]
    side = max(height, width)
    square = np.zeros((side, side, 3), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    square[top : top + height, left : left + width] = pixels
    return {
        OWN: preprocess(pixels, rule),
        SQUASHED: preprocess(pixels, squash),
        CROPPED: preprocess(pixels, replace(rule, mode="center_crop", crop_fraction=1.0)),
        LETTERBOXED: preprocess(square, squash),
    }


def accuracy_by_framing(classifier: Classifier, dataset: PhotoDataset, split: str) -> dict[str, float]:
    """Accuracy under each framing.

    Args:
        classifier: a loaded bundle.
        dataset: with the same classes by name.
        split: the validation split, if something is to be chosen by the result.

    Returns:
        Framing -> accuracy.

    Raises:
        UserError: other classes, or no such split.
    """
    manifest = classifier.bundle.manifest
    translate = labels_for(dataset, manifest.class_names)
    photos = [photo for photo in dataset.split(split) if translate[photo.label] != manifest.other]
    labels = np.array([translate[photo.label] for photo in photos])

    def framed(photo: LabelledPhoto) -> dict[str, np.ndarray]:
        return framings(read_photo(photo.source, photo.name), manifest.rule)

    answers: dict[str, list[np.ndarray]] = {}
    for tensors in in_order(framed, photos, "Framing photographs", ahead=1):
        for name, tensor in tensors.items():
            answers.setdefault(name, []).append(classifier.runtime.probabilities(tensor))
    names, other = manifest.class_names, manifest.other
    return {name: Evaluation(names, labels, np.stack(rows), other).accuracy for name, rows in answers.items()}
