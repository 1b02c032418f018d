"""How accuracy holds up on photos as phones take them: other framing, light, sharpness, compression.

Every distortion is made from a photo as it was read, before the resize rule, and is the same every
time. A framing is how other tools may make the square, whatever the bundle records: MediaPipe squashes a
whole photo, others crop its middle or put bars beside it.
"""

import io
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from PIL import Image, ImageFilter

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.evaluation.metrics import Evaluation, labels_for
from mobilevit_core.images.preprocessing import ResizeRule, preprocess, shrink
from mobilevit_core.images.reading import read_photo
from mobilevit_core.inference.classifier import Classifier

Picture = Image.Image
OWN, SQUASHED, CROPPED = "the bundle's rule", "whole photo, squashed", "largest central square"
LETTERBOXED = "whole photo, black bars"
FRAMINGS = (OWN, SQUASHED, CROPPED, LETTERBOXED)
SHORTER_SIDE = 512  # larger photos are shrunk first, else noise and compression would average away


def _centre(picture: Picture, share: float) -> Picture:
    """The central part of so much of the area."""
    width, height = (side * share**0.5 for side in picture.size)
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    return picture.crop((round(left), round(top), round(left + width), round(top + height)))


def _small(picture: Picture) -> Picture:
    """Half as wide and high, on a ground of its own colours out of focus."""
    ground = picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 12))
    half = picture.resize((max(picture.width // 2, 1), max(picture.height // 2, 1)))
    ground.paste(half, (picture.width // 4, picture.height // 4))
    return ground


def _blurred(picture: Picture, share: float) -> Picture:
    return picture.filter(ImageFilter.GaussianBlur(min(picture.size) * share))


def _times(picture: Picture, factors: tuple[float, float, float]) -> Picture:
    pixels = np.asarray(picture, np.float32) * np.array(factors, np.float32)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _noisy(picture: Picture) -> Picture:
    noise = np.random.default_rng(0).normal(0, 25, (picture.height, picture.width, 3))
    return Image.fromarray((np.asarray(picture) + noise).clip(0, 255).astype(np.uint8))


def _compressed(picture: Picture) -> Picture:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=10)
    return Image.open(buffer).convert("RGB")


DISTORTIONS: dict[str, Callable[[Picture], Picture]] = {
    "as it is": lambda picture: picture,
    "mirrored": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "central half of the area": lambda picture: _centre(picture, 0.5),
    "upper left corner, 3/4 of each side": lambda picture: picture.crop(
        (0, 0, picture.width * 3 // 4, picture.height * 3 // 4)
    ),
    "small: half the width and height": _small,
    "turned by 20 degrees": lambda picture: picture.rotate(
        20, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)
    ),
    "slightly out of focus (blur 1 % of the side)": lambda picture: _blurred(picture, 0.01),
    "out of focus (blur 3 % of the side)": lambda picture: _blurred(picture, 0.03),
    "dark (x 0.3)": lambda picture: _times(picture, (0.3, 0.3, 0.3)),
    "overexposed (x 1.8)": lambda picture: _times(picture, (1.8, 1.8, 1.8)),
    "warm light (red x 1.25, blue x 0.7)": lambda picture: _times(picture, (1.25, 1.0, 0.7)),
    "noise (deviation 25 of 255)": _noisy,
    "JPEG quality 10": _compressed,
    "black and white": lambda picture: picture.convert("L").convert("RGB"),
}


def framings(pixels: np.ndarray, rule: ResizeRule) -> dict[str, np.ndarray]:
    """One photo in every framing.

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


def evaluate_robustness(
    classifier: Classifier, dataset: PhotoDataset, split: str
) -> dict[str, dict[str, float]]:
    """Accuracy under each distortion and each framing; every photo is decoded once.

    Args:
        classifier: a loaded bundle.
        dataset: with the same classes by name.
        split: the validation split, if something is to be chosen by the result.

    Returns:
        "accuracy": distortion -> accuracy, and "framing": framing -> accuracy, in the tables' order.

    Raises:
        UserError: other classes, or no such split.
    """
    names = classifier.bundle.manifest.class_names
    translate = labels_for(dataset, names)
    other = classifier.bundle.manifest.other
    photos = [photo for photo in dataset.split(split) if translate[photo.label] != other]
    labels = np.array([translate[photo.label] for photo in photos])
    answers: dict[str, list[np.ndarray]] = {name: [] for name in (*DISTORTIONS, *FRAMINGS)}
    for versions in in_order(partial(_versions, classifier), photos, "Distorting photos", ahead=1):
        for name, tensor in versions.items():
            answers[name].append(classifier.runtime.probabilities(tensor))
    accuracy = {
        name: Evaluation(names, labels, np.stack(rows), other).accuracy for name, rows in answers.items()
    }
    return {
        "accuracy": {name: accuracy[name] for name in DISTORTIONS},
        "framing": {name: accuracy[name] for name in FRAMINGS},
    }


def _versions(classifier: Classifier, photo: LabelledPhoto) -> dict[str, np.ndarray]:
    """Distortion or framing -> the network's input."""
    pixels = read_photo(photo.source, photo.name)
    picture = Image.fromarray(shrink(pixels, SHORTER_SIDE))
    distorted = {name: classifier.tensor(distort(picture)) for name, distort in DISTORTIONS.items()}
    return distorted | framings(pixels, classifier.bundle.manifest.rule)
