"""Reads a photo safely: one loader for training, evaluation, prediction and the demo.

Pillow decodes everywhere; TensorFlow's decoder gives other pixels, so it is not used beside it.
"""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pi_heif
from PIL import AvifImagePlugin, Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from mobilevit_core.errors import UserError
from mobilevit_core.images.containers import Picture, take_apart
from mobilevit_core.images.limits import MAX_FILE_BYTES as MAX_FILE_BYTES
from mobilevit_core.images.limits import check_size, reduction
from mobilevit_core.images.memory import PhotoSource as PhotoSource
from mobilevit_core.images.memory import remembered
from mobilevit_core.images.orientation import TAG, read_orientation
from mobilevit_core.images.photo_file import check_length, read_file, shown_name

# What photos are called; what a file is, its content says (`containers.format_of`).
SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".heic", ".heif", ".hif", ".avif")
BACKGROUND, OTHER_BACKGROUND = 255, 0  # what shows through transparent pixels, and where that hides them
ONE_COLOUR = 8  # levels between the darkest and the brightest pixel of any channel
DEPTHS = (8, 10, 12, 14, 16)  # bits that cameras and scanners store in 16
SMALL_PIXELS = 2**20  # thousands of such photos, decoded, fit into memory
STRIP_ROWS = 64  # of the reduced picture, converted at a time

# The plugins themselves: `Image.open` asks for the MPF directory and warns about sizes through the process's
# warning filters, which is not safe in threads; sizes are checked by `take_apart`.
PLUGINS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImageFile,
    "PNG": PngImageFile,
    "WEBP": WebPImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # photos are read side by side already
pi_heif.options.THUMBNAILS = pi_heif.options.DEPTH_IMAGES = pi_heif.options.AUX_IMAGES = False
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What libjpeg fills in where data are missing, and data to find out whether they are.
MISSING = (127, 128)
MORE_DATA = bytes(range(1, 255)) * 4

Result = TypeVar("Result")


def read_photo(source: PhotoSource, name: str | None = None) -> np.ndarray:
    """Decodes a photo, upright and in RGB.

    Handles EXIF orientation, grey, CMYK, palette, alpha (laid over white, or over black where white would
    hide everything) and up to 16 bits per channel. A photo of more than `limits.FULL_SIZE_PIXELS` comes
    with its sides divided by 2, 4 or 8.

    Args:
        source: path, encoded bytes, Pillow image, or uint8 array (height, width, 3), which is returned as
            it is.
        name: what to call the photo in an error; taken from the path by default.

    Returns:
        uint8 array (height, width, 3), RGB.

    Raises:
        UserError: the file is missing, not a regular file, over a limit, of another format, or damaged; the
            message names it.
    """
    return _checked_array(source) if isinstance(source, np.ndarray) else np.asarray(read_image(source, name))


def read_image(source: PhotoSource, name: str | None = None) -> Image.Image:
    """As `read_photo`, but as a Pillow image: what resizes it saves two copies of all its pixels.

    Args:
        source: as `read_photo`.
        name: what to call the photo in an error; taken from the path by default.

    Returns:
        Image in RGB, upright; it may be the source itself.

    Raises:
        UserError: as `read_photo`.
    """
    if isinstance(source, np.ndarray):
        return Image.fromarray(_checked_array(source))
    if isinstance(source, Image.Image):
        return _from_pillow(source, name or "the image")

    def read() -> Image.Image:
        encoded, shown = read_encoded(source, name)
        return decode(take_apart(encoded, shown), shown)

    return remembered(source, Image, read, _bytes_of)


def read_thumbnail(source: str | os.PathLike[str] | bytes, side: int, name: str | None = None) -> np.ndarray:
    """A photo as a small grey square.

    Every byte of the picture is decoded, so whatever passes here can be read by `read_photo`, too. Of a JPEG
    with over `SMALL_PIXELS`, pixels are computed at a reduced scale only, at a fraction of the cost; a
    smaller one is decoded as `read_photo` does, which may remember it.

    Args:
        source: path or encoded bytes.
        side: of the square, pixels.
        name: what to call the photo in an error; taken from the path by default.

    Returns:
        uint8 array (side, side), upright, squashed to the square.

    Raises:
        UserError: as `read_photo`.
    """
    encoded, name = read_encoded(source, name)
    picture = take_apart(encoded, name)
    if picture.format != "JPEG" or picture.width * picture.height <= SMALL_PIXELS:
        image = remembered(source, Image, lambda: decode(picture, name), _bytes_of)
    else:
        least = min(picture.width, picture.height) // (2 * side)
        smallest = next(factor for factor in (8, 4, 2, 1) if factor <= max(least, 1))
        factor = max(reduction(picture.width, picture.height), smallest)
        image = _upright(_guarded(lambda: _pixels(picture, name, factor), name), picture.orientation)
    return np.asarray(image.convert("L").resize((side, side), Image.Resampling.BOX))


def read_encoded(source: str | os.PathLike[str] | bytes, name: str | None = None) -> tuple[bytes, str]:
    """The bytes of a photo's file, and what to call it in an error.

    Raises:
        UserError: there is no such file, it is not a regular file, or it is too large.
    """
    if isinstance(source, bytes):
        name = shown_name(name or "the photo")
        check_length(len(source), name)
        return source, name
    name = shown_name(name or os.fspath(source))
    return read_file(Path(source), name), name


def decode(picture: Picture, name: str) -> Image.Image:
    """Decodes a picture that `take_apart` let through.

    Args:
        picture: its parts.
        name: what to call it in an error.

    Returns:
        Image in RGB, upright.

    Raises:
        UserError: the picture is damaged, or memory runs out.
    """
    return _upright(_guarded(lambda: _pixels(picture, name), name), picture.orientation)


def _pixels(picture: Picture, name: str, factor: int | None = None) -> Image.Image:
    factor = factor or reduction(picture.width, picture.height)
    with _open_plugin(picture, picture.encoded, factor) as image:
        stated = picture.width * picture.height
        boxes = picture.format in ("HEIF", "AVIF")  # which may turn and crop
        if image.width * image.height > stated or (
            factor == 1 and not boxes and image.size != (picture.width, picture.height)
        ):
            raise ValueError("its parts disagree about its size")
        image.load()
        if picture.format == "JPEG":
            _check_complete(picture, image, factor)
            return _to_rgb(image)
        rgb = _to_rgb(image) if factor == 1 else _reduced(image, factor)
        return _upright(rgb, image.getexif().get(TAG, 1)) if picture.format == "AVIF" else rgb


def _open_plugin(picture: Picture, encoded: bytes, factor: int) -> Image.Image:
    if picture.format == "HEIF":
        return _open_heif(picture)
    image = PLUGINS[picture.format](io.BytesIO(encoded))
    if picture.format == "JPEG" and factor > 1:  # libjpeg leaves out what the smaller picture doesn't need
        image.draft(None, (picture.width // factor, picture.height // factor))
    return image


def _open_heif(picture: Picture) -> Image.Image:
    heif = pi_heif.open_heif(picture.encoded, convert_hdr_to_8bit=True)
    if not len(heif):
        raise ValueError("it holds no picture")
    width, height = heif.size
    if width * height > picture.width * picture.height:
        raise ValueError("its parts disagree about its size")
    return heif.to_pillow()


def _check_complete(picture: Picture, image: Image.Image, factor: int) -> None:
    """Notices a JPEG whose data end before the picture does: libjpeg fills the rest with grey in silence.

    Where the last pixel has that grey, the picture is decoded a second time with more data at the end of each
    scan. A decoder that had enough data takes no notice of them.
    """
    last = image.getpixel((image.width - 1, image.height - 1))
    if not all(channel in MISSING for channel in (last if isinstance(last, tuple) else (last,))):
        return
    pieces, start = [], 0
    for end in picture.scan_ends:
        pieces += [picture.encoded[start:end], MORE_DATA]
        start = end
    longer = b"".join([*pieces, picture.encoded[start:]])
    with _open_plugin(picture, longer, factor) as again:
        if again.tobytes() != image.tobytes():
            raise ValueError("its data end before the picture does")


def _reduced(image: Image.Image, factor: int) -> Image.Image:
    """To RGB and smaller, strip by strip, so that the whole exists only once in memory."""
    width, height = (-(-side // factor) for side in image.size)
    reduced, convert = Image.new("RGB", (width, height)), _conversion(image)
    for strip, top in _strips(image, STRIP_ROWS * factor):
        reduced.paste(convert(strip).reduce(factor), (0, top // factor))
    return reduced


def _strips(image: Image.Image, rows: int) -> Iterator[tuple[Image.Image, int]]:
    """Pieces of so many rows, and where they begin."""
    for top in range(0, image.height, rows):
        yield image.crop((0, top, image.width, min(top + rows, image.height))), top


def _bytes_of(image: Image.Image) -> int:
    return 3 * image.width * image.height


def _checked_array(array: np.ndarray) -> np.ndarray:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise UserError(
            f"An array of {array.dtype} with shape {array.shape} is not a photo: "
            "uint8 (height, width, 3) in RGB is expected."
        )
    return array


def _from_pillow(image: Image.Image, name: str) -> Image.Image:
    check_size(image.width, image.height, 0, name)
    rgb = _guarded(lambda: _to_rgb(image), name)
    try:
        orientation = image.getexif().get(TAG, 1)
    except Exception:  # Pillow reads the whole EXIF, and damage anywhere in it can raise anything
        orientation = read_orientation(image.info.get("exif", b""))
    return _upright(rgb, orientation)


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _guarded(read: Callable[[], Result], name: str) -> Result:
    try:
        return read()
    except UserError:
        raise
    except MemoryError:
        raise UserError(f"{name} takes more memory to decode than there is. Make it smaller.") from None
    except Exception as error:  # decoders meet damaged files with many kinds of errors
        if "unsupported" in str(error).lower():
            raise UserError(f"{name} is stored in a way that can't be read here. Save it as JPEG.") from error
        raise UserError(f"{name} is damaged: {_one_line(error)}.") from error


def _one_line(error: Exception) -> str:
    """A decoder's own words, without addresses and line breaks."""
    text = " ".join(str(error).split()).rstrip(".")
    return text if text and len(text) < 120 and " at 0x" not in text else "it can't be decoded"


def _to_rgb(image: Image.Image) -> Image.Image:
    image.load()
    return image if image.mode == "RGB" and not image.has_transparency_data else _conversion(image)(image)


def _conversion(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    """How the whole image, or a strip of it, becomes RGB."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        white = _white_level(image)
        return lambda part: _deep_to_rgb(part, white)
    if image.has_transparency_data:
        ground = _background(image)
        return lambda part: _over(part, ground)
    return lambda part: part.convert("RGB")


def _white_level(image: Image.Image) -> float:
    """The value that is white: Pillow's own conversion of such images would clip them at 255."""
    highest = float(image.getextrema()[1])
    if image.mode == "F" and highest <= 1:
        return 1.0
    return next((float(2**bits - 1) for bits in DEPTHS if highest < 2**bits), highest)


def _deep_to_rgb(image: Image.Image, white: float) -> Image.Image:
    grey = np.nan_to_num(np.asarray(image, np.float32)) * np.float32(255 / white)
    return Image.fromarray(np.clip(grey, 0, 255).round().astype(np.uint8)).convert("RGB")


def _over(image: Image.Image, ground: int) -> Image.Image:
    layer = image.convert("RGBA")
    background = Image.new("RGBA", layer.size, (ground, ground, ground, 255))
    return Image.alpha_composite(background, layer).convert("RGB")


def _background(image: Image.Image) -> int:
    """White, but for a picture that has one colour on white and not on black: a white drawing on nothing."""
    hidden = _has_one_colour(image, BACKGROUND)
    return OTHER_BACKGROUND if hidden and not _has_one_colour(image, OTHER_BACKGROUND) else BACKGROUND


def _has_one_colour(image: Image.Image, ground: int) -> bool:
    lowest, highest = np.full(3, 255), np.zeros(3)
    for strip, _ in _strips(image, STRIP_ROWS):
        extremes = np.array(_over(strip, ground).getextrema())
        lowest, highest = np.minimum(lowest, extremes[:, 0]), np.maximum(highest, extremes[:, 1])
        if (highest - lowest).max() > ONE_COLOUR:
            return False
    return True
