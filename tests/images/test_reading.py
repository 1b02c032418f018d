import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilevit_core.errors import UserError
from mobilevit_core.images import reading as photos
from mobilevit_core.images.reading import read_photo
from tests.drawing import draw_photo

PHOTO = draw_photo((200, 60, 40), seed=1, size=(53, 37))


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("format", ["PNG", "WEBP", "JPEG"])
def test_formats_give_the_pixels_that_were_stored(format: str) -> None:
    lossless = {"WEBP": {"lossless": True}}.get(format, {})
    content = encoded(PHOTO, format, **lossless)
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(read_photo(content), expected)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int) -> None:
    stored = {
        1: lambda x: x,
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x),
        7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
        8: lambda x: np.rot90(x, -1),
    }[orientation](np.asarray(PHOTO))
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(np.ascontiguousarray(stored)), "PNG", exif=exif)
    assert np.array_equal(read_photo(content), np.asarray(PHOTO))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_modes_become_rgb(mode: str) -> None:
    image = PHOTO.convert(mode)
    assert np.array_equal(read_photo(encoded(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "L"])
def test_jpeg_colour_spaces_become_rgb(mode: str) -> None:
    smooth = Image.linear_gradient("L").resize((64, 48))
    image = Image.merge(
        "RGB", (smooth, smooth.rotate(180), smooth.transpose(Image.Transpose.ROTATE_90).resize((64, 48)))
    )
    expected = np.asarray(image.convert("L").convert("RGB") if mode == "L" else image, int)
    pixels = read_photo(encoded(image.convert(mode), "JPEG", quality=100, subsampling=0))
    assert pixels.shape == (48, 64, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels - expected).max() <= 4


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    grey = np.asarray(PHOTO.convert("L"))
    content = encoded(Image.fromarray(grey.astype(np.uint16) * 257))
    assert np.array_equal(read_photo(content)[..., 0], grey)


def test_transparent_pixels_show_white() -> None:
    image = PHOTO.convert("RGBA")
    image.putalpha(0)
    assert (read_photo(encoded(image)) == 255).all()


def test_transparent_palette_shows_white() -> None:
    image = Image.new("P", (8, 8), 0)
    image.putpalette([10, 20, 30] + [0] * 765)
    assert (read_photo(encoded(image, transparency=0)) == 255).all()


def test_sources_give_the_same_pixels(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    PHOTO.save(path)
    expected = np.asarray(PHOTO)
    for source in (path, str(path), path.read_bytes(), PHOTO, expected):
        assert np.array_equal(read_photo(source), expected)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello, I am a text file",
        encoded(PHOTO, "JPEG")[:600],
        encoded(PHOTO, "GIF"),
        encoded(PHOTO)[:80],
    ],
    ids=["empty", "text", "cut JPEG", "GIF", "cut PNG"],
)
def test_what_is_no_photograph_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match="holiday.jpg"):
        read_photo(path)


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing.jpg"):
        read_photo(tmp_path / "nothing.jpg")
    with pytest.raises(UserError, match="can't be read"):
        read_photo(tmp_path)


def test_too_many_pixels_are_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "MAX_PIXELS", 53 * 37 - 1)
    monkeypatch.setattr(photos, "_to_rgb", lambda image: pytest.fail("decoded"))
    with pytest.raises(UserError, match="53 x 37"):
        read_photo(encoded(PHOTO))


def test_too_large_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "MAX_FILE_BYTES", 10)
    path = tmp_path / "large.png"
    PHOTO.save(path)
    for source in (path, path.read_bytes()):
        with pytest.raises(UserError, match="limit"):
            read_photo(source)


def test_array_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="uint8"):
        read_photo(np.zeros((4, 4, 3), np.float32))
