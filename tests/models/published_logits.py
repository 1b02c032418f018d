"""Do downloaded weights give the logits that were published for them?

    python -m tests.models.published_logits imagenet 000000039769.jpg [VARIANT]

Hugging Face's conversion of the authors' checkpoints states the first three logits of each variant for photo
000000039769 of COCO (two cats on a sofa): shorter side resized to 288, central 256. The photo is at
http://images.cocodataset.org/val2017/000000039769.jpg
"""

import sys
from pathlib import Path

import mobilevit_core  # noqa: F401  # isort: skip  (first: it sets up TensorFlow)
import numpy as np

from mobilevit_core.images.preprocessing import resize
from mobilevit_core.images.reading import read_photo
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import logits_model

PHOTO_SIZE = (640, 480)
SHORTER_SIDE, CROP = 288, 256
PUBLISHED = {
    "xxs": (-1.9364, -1.2327, -0.4653),
    "xs": (-2.4761, -0.9399, -1.9587),
    "s": (-0.9866, 0.2392, -1.1241),
}
TOLERANCE = 1e-4  # as published, absolute and relative


def published_input(pixels: np.ndarray) -> np.ndarray:
    """The publisher's steps one by one: our single resize of the same region rounds a few pixels otherwise.

    Args:
        pixels: uint8 (480, 640, 3), RGB.

    Returns:
        float32 (256, 256, 3), RGB 0..255.
    """
    width, height = PHOTO_SIZE
    scaled = resize(pixels, width * SHORTER_SIDE // height, SHORTER_SIDE, (0, 0, width, height))
    top, left = (scaled.shape[0] - CROP) // 2, (scaled.shape[1] - CROP) // 2
    return scaled[top : top + CROP, left : left + CROP].astype(np.float32)


def first_logits(source: str, variant: str, photo: Path) -> np.ndarray:
    """The first three logits of released weights: float32 (3,)."""
    logits = logits_model(create_mobilevit(variant, None, CROP, weights=source))
    return np.asarray(logits(published_input(read_photo(photo))[None]))[0, :3]


def main(source: str, photo: str, variant: str = "xxs") -> None:
    """Prints both; exit code 1 where they differ by more than the published tolerance."""
    measured, published = first_logits(source, variant, Path(photo)), PUBLISHED[variant]
    print(f"published {published}\nmeasured  {tuple(np.round(measured, 4).tolist())}")
    sys.exit(not np.allclose(measured, published, rtol=TOLERANCE, atol=TOLERANCE))


if __name__ == "__main__":
    main(*sys.argv[1:])
