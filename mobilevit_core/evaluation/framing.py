"""A photo as other tools may frame it.

A bundle records how a photo becomes a square. Other people's tools may not follow: MediaPipe squashes a
whole photo, others crop its middle or put bars beside it.
"""

from dataclasses import replace

import numpy as np

from mobilevit_core.images.preprocessing import ResizeRule, preprocess

OWN, SQUASHED, CROPPED = "the bundle's rule", "whole photo, squashed", "largest central square"
LETTERBOXED = "whole photo, black bars"
FRAMINGS = (OWN, SQUASHED, CROPPED, LETTERBOXED)


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
