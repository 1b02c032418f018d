"""Reads a photograph safely: one loader for training, evaluation, prediction and the demo.

Pillow decodes everywhere; TensorFlow's decoder gives other pixels, so it is not used beside it.
"""

import io
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mobilevit_core.errors import UserError

FORMATS = ("JPEG", "PNG", "WEBP")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 120_000_000  # a 108-megapixel phone picture passes; 3 bytes a pixel once decoded
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels

PhotoSource = str | os.PathLike[str] | bytes | Image.Image | np.ndarray


def read_photo(source: PhotoSource, name: str | None = None) -> np.ndarray:
    """Decodes a photograph, upright and in RGB.

    Handles EXIF orientation, grey, CMYK, palette, alpha (laid over white) and 16 bits a channel.

    Args:
        source: path, encoded bytes, Pillow image, or uint8 array (height, width, 3), which is returned as
            it is.
        name: what to call the photograph in an error; taken from the path by default.

    Returns:
        uint8 array (height, width, 3), RGB.

    Raises:
        UserError: the file is missing, too large, of another format, or damaged; the message names it.
    """
    if isinstance(source, np.ndarray):
        if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
            raise UserError(
                f"An array of {source.dtype} with shape {source.shape} is no photograph: "
                "uint8 (height, width, 3) in RGB is expected."
            )
        return source
    if isinstance(source, Image.Image):
        return _decode(source, name or "the image")
    return _decode(*_open(source, name))


def read_thumbnail(source: str | os.PathLike[str] | bytes, side: int, name: str | None = None) -> np.ndarray:
    """Decodes a photograph as a small grey square, at a fraction of the cost of `read_photo`.

    Every byte of the picture is decoded all the same, so whatever passes here can be read by `read_photo`
    too: a JPEG's pixels are computed at a reduced scale only.

    Args:
        source: path or encoded bytes.
        side: of the square, pixels.
        name: what to call the photograph in an error; taken from the path by default.

    Returns:
        uint8 array (side, side), upright, squashed to the square.

    Raises:
        UserError: as `read_photo`.
    """
    image, name = _open(source, name)
    with _decoding(image, name):
        image.draft("L", (2 * side, 2 * side))  # JPEG only; the first size that is not smaller
        grey = _to_rgb(ImageOps.exif_transpose(image)).convert("L")
        return np.asarray(grey.resize((side, side), Image.Resampling.BOX))


def _open(source: str | os.PathLike[str] | bytes, name: str | None) -> tuple[Image.Image, str]:
    """The picture before any pixel is decoded, and what to call it."""
    if isinstance(source, bytes):
        name, encoded = name or "the photograph", source
    else:
        name, encoded = name or str(source), _read_file(Path(source))
    if len(encoded) > MAX_FILE_BYTES:
        raise UserError(
            f"{name} has {len(encoded) / 2**20:.0f} MiB; the limit is {MAX_FILE_BYTES // 2**20} MiB."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is checked later
        try:
            return Image.open(io.BytesIO(encoded), formats=FORMATS), name
        except UnidentifiedImageError:
            raise UserError(f"{name} is not a JPEG, PNG or WebP picture.") from None
        except Exception as error:  # decoders meet damaged files with many kinds of errors
            raise UserError(f"{name} can't be read: {error}") from error


def _read_file(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise UserError(f"{path} is larger than the limit of {MAX_FILE_BYTES // 2**20} MiB.")
        return path.read_bytes()
    except FileNotFoundError:
        raise UserError(f"There is no photograph {path}.") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from error


def _decode(image: Image.Image, name: str) -> np.ndarray:
    """Pixels of an opened picture."""
    with _decoding(image, name):
        # The orientation is applied to the picture as stored, before any change of mode loses it.
        return np.asarray(_to_rgb(ImageOps.exif_transpose(image)))


@contextmanager
def _decoding(image: Image.Image, name: str) -> Iterator[None]:
    """Refuses too many pixels before any is decoded, and tells what a decoder stumbles over."""
    if image.width * image.height > MAX_PIXELS:
        raise UserError(
            f"{name} has {image.width} x {image.height} pixels; "
            f"the limit is {MAX_PIXELS // 1_000_000} million."
        )
    try:
        yield
    except Exception as error:  # decoders meet damaged files with many kinds of errors
        raise UserError(f"{name} is damaged: {error}") from error


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):  # 16-bit grey: Pillow's own conversion would clip it to white
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        background = Image.new("RGBA", layer.size, (*BACKGROUND, 255))
        return Image.alpha_composite(background, layer).convert("RGB")
    return image.convert("RGB")
