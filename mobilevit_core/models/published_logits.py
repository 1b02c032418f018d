"""Do downloaded weights give the logits that were published for them?

Hugging Face's conversion of the authors' checkpoints states the first three logits of each variant for
photograph 000000039769 of COCO (two cats on a sofa): shorter side resized to 288, central 256.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilevit_core.errors import UserError
from mobilevit_core.images.preprocessing import resize
from mobilevit_core.images.reading import read_photo
from mobilevit_core.models.create import create_mobilevit, logits_model
from mobilevit_core.models.released_weights import IMAGENET_CLASSES, open_weights

PICTURE = "http://images.cocodataset.org/val2017/000000039769.jpg"
PICTURE_SIZE = (640, 480)
SHORTER_SIDE, CROP = 288, 256
PUBLISHED = {
    "xxs": (-1.9364, -1.2327, -0.4653),
    "xs": (-2.4761, -0.9399, -1.9587),
    "s": (-0.9866, 0.2392, -1.1241),
}
TOLERANCE = 1e-4  # as published


@dataclass(frozen=True)
class PublishedCheck:
    """What the weights answered, beside what was published.

    Attributes:
        variant: "xxs", "xs" or "s".
        expected: the published first logits.
        measured: ours.
    """

    variant: str
    expected: tuple[float, ...]
    measured: tuple[float, ...]

    @property
    def difference(self) -> float:
        """The largest."""
        return max(abs(a - b) for a, b in zip(self.expected, self.measured, strict=True))

    @property
    def passed(self) -> bool:
        """Whether every logit is within the published tolerance, absolute and relative."""
        return bool(np.allclose(self.measured, self.expected, rtol=TOLERANCE, atol=TOLERANCE))


def published_input(pixels: np.ndarray) -> np.ndarray:
    """The publisher's steps one by one: our single resize of the same region rounds a few pixels otherwise.

    Args:
        pixels: uint8 (480, 640, 3), RGB.

    Returns:
        float32 (256, 256, 3), RGB 0..255.
    """
    width, height = PICTURE_SIZE
    scaled = resize(pixels, width * SHORTER_SIDE // height, SHORTER_SIDE, (0, 0, width, height))
    top, left = (scaled.shape[0] - CROP) // 2, (scaled.shape[1] - CROP) // 2
    return scaled[top : top + CROP, left : left + CROP].astype(np.float32)


def check_published(source: str, variant: str, picture: Path) -> PublishedCheck:
    """Runs released weights on the published picture.

    Args:
        source: what `open_weights` takes.
        variant: "xxs", "xs" or "s".
        picture: the file 000000039769.jpg of COCO's validation part.

    Raises:
        UserError: the picture or the weights can't be had, or are others than the published ones.
    """
    pixels = read_photo(picture)
    size = (pixels.shape[1], pixels.shape[0])
    if size != PICTURE_SIZE:
        raise UserError(
            f"{picture} has {size[0]} x {size[1]} pixels, the published picture "
            f"{PICTURE_SIZE[0]} x {PICTURE_SIZE[1]}. It is at {PICTURE}"
        )
    if open_weights(source, variant).classes != IMAGENET_CLASSES:
        raise UserError(
            f"{source} has no classifier of {IMAGENET_CLASSES} classes, so nothing was published for it."
        )
    logits = logits_model(create_mobilevit(variant, None, CROP, weights=source))
    answer = np.asarray(logits(published_input(pixels)[None]))[0]
    expected = PUBLISHED[variant]
    return PublishedCheck(variant, expected, tuple(float(value) for value in answer[: len(expected)]))
