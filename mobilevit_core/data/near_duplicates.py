"""How alike photographs look, whatever their size, compression and file: to keep copies out of training."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

from mobilevit_core.images.reading import PhotoSource, read_photo

SIDE = 24
# The known near-duplicates of tf_flowers lie between 0.905 and 1.000 (`near_duplicates.csv`). Among 8,189
# photographs of other flowers two reached 0.90 without being copies: round blossoms on a dark ground.
LOOK_ALIKE = 0.9


def likeness_to(
    photos: Sequence[tuple[PhotoSource, str]], others: Sequence[tuple[PhotoSource, str]]
) -> list[float]:
    """The highest likeness of each photograph to any of the others, mirror images included.

    Args:
        photos: source and name of each.
        others: what to compare with.

    Returns:
        Correlation of the photographs as 24 x 24 grey pixels, -1..1, one number a photograph.
    """
    first, second = _thumbnails(photos), _thumbnails(others)
    mirrored = second[:, :, ::-1]
    return [
        float(value)
        for value in np.maximum(_correlation(first, second), _correlation(first, mirrored)).max(axis=1)
    ]


def _thumbnails(photos: Sequence[tuple[PhotoSource, str]]) -> np.ndarray:
    """Grey, mean 0, length 1: float32 (photos, 24, 24)."""

    def thumbnail(photo: tuple[PhotoSource, str]) -> np.ndarray:
        grey = Image.fromarray(read_photo(*photo)).convert("L")
        pixels = np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
        pixels = pixels - pixels.mean()
        return pixels / max(float(np.linalg.norm(pixels)), 1e-6)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(thumbnail, photos)))


def _correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return first.reshape(len(first), -1) @ second.reshape(len(second), -1).T
