"""From a photo to the tensor that the network takes: one rule, recorded in the bundle.

Pillow and NumPy only. Validation, evaluation, export checks, predict and the demo all call `preprocess`.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

from mobilevit_core.errors import UserError
from mobilevit_core.images.memory import remembered
from mobilevit_core.images.reading import PhotoSource, read_image

SHOWN_SIDE = 480  # shorter side of a photo that is shown, pixels
SHOWN_LONGER_SIDE = 1600  # of a panorama

RESIZE_MODES = {
    "squash": "the whole photo, its sides scaled independently to a square",
    "center_crop": "the largest central square (a fraction of it, if so recorded), scaled",
}


@dataclass(frozen=True)
class ResizeRule:
    """How a photo becomes a square.

    Attributes:
        image_size: side of the square in pixels.
        mode: a key of `RESIZE_MODES`.
        crop_fraction: for center_crop, side of the crop over the photo's shorter side.
    """

    image_size: int
    mode: str = "squash"
    crop_fraction: float = 1.0

    def __post_init__(self) -> None:
        if self.mode not in RESIZE_MODES:
            raise UserError(f"Unknown resize mode {self.mode!r}. There are: {', '.join(RESIZE_MODES)}.")
        if not 0 < self.crop_fraction <= 1:
            raise UserError(f"crop_fraction is {self.crop_fraction}; it must be over 0 and at most 1.")

    def to_json(self) -> dict[str, Any]:
        """The rule as the bundle records it."""
        return {**asdict(self), "interpolation": "Pillow bilinear, antialiased", "range": "RGB 0..255"}


@dataclass(frozen=True)
class Prepared:
    """A photo as the network takes it, and as a page shows it.

    Attributes:
        tensor: float32 (image_size, image_size, 3), RGB 0..255, whole numbers.
        shown: uint8 (height, width, 3), RGB, upright, the whole photo.
    """

    tensor: np.ndarray
    shown: np.ndarray


def prepare(photo: PhotoSource, rule: ResizeRule, name: str | None = None) -> Prepared:
    """Reads one photo for the network and for showing it.

    Args:
        photo: anything that `read_photo` takes.
        rule: the bundle's resize rule.
        name: what to call the photo in an error.

    Returns:
        The input tensor, and the photo of at most about 480 pixels on the shorter and 1,600 on the
        longer side.

    Raises:
        UserError: as `read_photo`.
    """
    return prepared(read_image(photo, name), rule)


def prepared(image: Image.Image, rule: ResizeRule) -> Prepared:
    """As `prepare`, for what `read_image` returns: its EXIF, if it still has one, is not asked again."""
    size = _shrunk_size(*image.size, SHOWN_SIDE, SHOWN_LONGER_SIDE)
    shown = image.resize(size, Image.Resampling.BILINEAR) if size != image.size else image
    return Prepared(to_tensor(image, rule), np.asarray(shown))


def preprocess(photo: PhotoSource, rule: ResizeRule, name: str | None = None) -> np.ndarray:
    """Reads and resizes one photo.

    Args:
        photo: anything that `read_photo` takes.
        rule: the bundle's resize rule.
        name: what to call the photo in an error.

    Returns:
        float32 array (image_size, image_size, 3), RGB 0..255, whole numbers.

    Raises:
        UserError: as `read_photo`.
    """
    square = remembered(photo, rule, lambda: _square(read_image(photo, name), rule), lambda made: made.nbytes)
    return square.astype(np.float32)


def to_tensor(image: Image.Image, rule: ResizeRule) -> np.ndarray:
    """As `preprocess`, for what `read_image` returns: its EXIF, if it still has one, is not asked again."""
    return _square(image, rule).astype(np.float32)


def _square(image: Image.Image, rule: ResizeRule) -> np.ndarray:
    side, box = rule.image_size, crop_box(image.width, image.height, rule)
    return np.asarray(image.resize((side, side), Image.Resampling.BILINEAR, box=box))


def crop_box(width: int, height: int, rule: ResizeRule) -> tuple[float, float, float, float]:
    """The region of a photo that becomes the square: left, top, right, bottom in pixels."""
    if rule.mode != "center_crop":
        return 0.0, 0.0, float(width), float(height)
    side = min(height, width) * rule.crop_fraction
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def shrink(pixels: np.ndarray, shorter_side: int, longer_side: int | None = None) -> np.ndarray:
    """Scales a photo down until its shorter side fits; a smaller one stays as it is.

    Args:
        pixels: uint8 (height, width, 3).
        shorter_side: in pixels.
        longer_side: in pixels, which the longer side may have at most; default: any.

    Returns:
        uint8 (height, width, 3) of the same aspect ratio.
    """
    height, width = pixels.shape[:2]
    size = _shrunk_size(width, height, shorter_side, longer_side)
    return pixels if size == (width, height) else resize(pixels, *size, (0, 0, width, height))


def _shrunk_size(width: int, height: int, shorter_side: int, longer_side: int | None) -> tuple[int, int]:
    scale = shorter_side / min(height, width)
    if longer_side is not None:
        scale = min(scale, longer_side / max(height, width))
    return (max(1, round(width * scale)), max(1, round(height * scale))) if scale < 1 else (width, height)


def resize(pixels: np.ndarray, width: int, height: int, box: tuple[float, float, float, float]) -> np.ndarray:
    """Pillow's antialiased bilinear resize of one region (left, top, right, bottom)."""
    image = Image.fromarray(pixels)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))
