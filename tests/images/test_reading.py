import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilevit_core.errors import UserError
from mobilevit_core.images import limits, reading
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.reading import read_photo
from tests.drawing import UNTURNED, draw_photo

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
    stored = UNTURNED[orientation](np.asarray(PHOTO))
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
def test_what_is_no_photo_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    with pytest.raises(UserError, match="holiday.jpg"):
        read_photo(path)


def test_a_heic_file_of_an_unknown_kind_says_what_to_do() -> None:
    content = (Path(__file__).parents[1] / "hostile/heic/plain.heic").read_bytes()
    with pytest.raises(UserError, match="holiday.heic is stored in a way.*Save it as JPEG"):
        read_photo(content.replace(b"hvc1", b"zzz1"), "holiday.heic")


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_white_drawings_on_nothing_are_seen(mode: str) -> None:
    icon = np.zeros((40, 60, 4), np.uint8)
    icon[10:30, 20:50] = 255
    image = Image.fromarray(icon).convert("RGBA")
    content = encoded(image.convert(mode) if mode != "P" else image.quantize())
    expected = np.zeros((40, 60, 3), np.uint8)
    expected[10:30, 20:50] = 255
    assert np.array_equal(read_photo(content), expected)


def test_a_large_drawing_has_one_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "FULL_SIZE_PIXELS", 100_000)
    icon = np.zeros((800, 200, 4), np.uint8)
    icon[600:, 50:150] = 255  # the first strips alone would look blank on any ground
    pixels = read_photo(encoded(Image.fromarray(icon)))
    assert pixels.shape == (400, 100, 3)
    assert (pixels[:290] == 0).all() and (pixels[310:, 30:70] == 255).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_fewer_bits_in_sixteen_are_not_black(bits: int) -> None:
    values = np.linspace(0, 2**bits - 1, 64).astype(np.uint16).reshape(8, 8)
    pixels = read_photo(encoded(Image.fromarray(values)))
    assert pixels.min() == 0 and pixels.max() == 255
    assert np.abs(pixels[..., 0] - values * (255 / (2**bits - 1))).max() <= 0.51


@pytest.mark.parametrize(
    ("mode", "highest"), [("I", 65535), ("I", 4095), ("F", 1.0), ("F", 255.0), ("F", 70000.0)]
)
def test_pillow_images_of_whole_and_real_numbers_are_not_blown_out(mode: str, highest: float) -> None:
    values = np.linspace(0, highest, 64).reshape(8, 8).astype(np.int32 if mode == "I" else np.float32)
    pixels = read_photo(Image.fromarray(values))
    assert np.abs(pixels[..., 0] - values * (255 / highest)).max() <= 0.51


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 3}])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_grey_corner_is_not_taken_for_missing_data(options: dict[str, object], mode: str) -> None:
    pixels = np.asarray(PHOTO.resize((120, 90))).copy()
    pixels[-40:] = 128
    content = encoded(Image.fromarray(pixels).convert(mode), "JPEG", quality=95, **options)
    assert (np.abs(read_photo(content)[-1, -1].astype(int) - 128) <= 2).all()
    if not options:  # the same without the last of its data
        with pytest.raises(UserError, match="is damaged"):
            read_photo(content[:-60] + b"\xff\xd9")


def test_missing_file_and_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nothing\.jpg"):
        read_photo(tmp_path / "nothing.jpg")
    with pytest.raises(UserError, match="is a folder"):
        read_photo(tmp_path)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("limit", "value", "message"),
    [
        ("MAX_PIXELS", 53 * 37 - 1, "53 x 37 pixels; the limit"),
        ("MAX_SIDE", 52, "52 pixels per side"),
        ("MAX_ASPECT", 1.2, "one side may be at most"),
        ("MAX_DECODED_BYTES", 53 * 37 * 4 - 1, "MiB of memory"),
        ("MAX_WORKING_BYTES", 53 * 37 * 4 - 1, "MiB of memory"),
    ],
)
def test_too_large_a_picture_is_refused_before_decoding(
    format: str, limit: str, value: float, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(PHOTO, format)
    read_photo(content)
    monkeypatch.setattr(limits, limit, value)
    monkeypatch.setattr(reading, "decode", lambda *arguments: pytest.fail("decoded"))
    with pytest.raises(UserError, match=message):
        read_photo(content)


def test_too_large_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(limits.MAX_FILE_BYTES + 1)
    for source in (path, path.read_bytes()):
        with pytest.raises(UserError, match="limit"):
            read_photo(source)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("factor", [2, 4, 8])
def test_reduced_reading_stays_near_the_whole(
    format: str, factor: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As stated in limits.py. The reduced picture is 10 times the network's side here, and more in use."""
    grid = np.mgrid[:900, :1200] / 300
    waves = [np.sin(grid[0] * a + grid[1] * b) for a, b in ((9, 7), (31, -5), (4, 40))]
    scene = Image.fromarray((np.stack(waves, axis=-1) * 100 + 128).astype(np.uint8))
    content = encoded(scene, format, quality=92)
    rule = ResizeRule(900 // (10 * factor), "center_crop", 0.875)
    whole = preprocess(content, rule)
    monkeypatch.setattr(limits, "FULL_SIZE_PIXELS", 1200 * 900 / factor**2)
    assert read_photo(content).shape == (-(-900 // factor), 1200 // factor, 3)
    difference = np.abs(preprocess(content, rule) - whole)
    assert 0 < difference.mean() <= 1 and difference.max() <= 8


def test_photos_up_to_the_threshold_are_read_whole() -> None:
    assert limits.reduction(4000, 4000) == 1 and limits.reduction(4001, 4000) == 2


def test_reduced_reading_handles_every_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    smooth = Image.linear_gradient("L").resize((80, 60))
    photo = Image.merge("RGB", (smooth, smooth.rotate(180), smooth))
    expected = np.asarray(photo.reduce(2), int)
    monkeypatch.setattr(limits, "FULL_SIZE_PIXELS", 80 * 60 / 4)
    for mode in ("RGB", "RGBA", "L", "P"):
        stored = photo.convert(mode)
        close = np.asarray(stored.convert("RGB").reduce(2), int)
        assert np.array_equal(read_photo(encoded(stored, "PNG")), close)
    deep = Image.fromarray(np.asarray(smooth).astype(np.uint16) * 257)
    assert np.abs(read_photo(encoded(deep, "PNG"))[..., 0] - expected[..., 0]).max() <= 1


def test_no_warning_filter_is_touched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warnings, "filters", tuple(warnings.filters))  # a tuple can't be changed
    monkeypatch.setattr(warnings, "catch_warnings", lambda *a, **k: pytest.fail("not safe in threads"))
    read_photo(encoded(PHOTO, "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"))


def test_damaged_exif_of_a_pillow_image_is_ignored() -> None:
    image = PHOTO.copy()
    image.info["exif"] = b"Exif\0\0II*\0\x08\0\0\0\xff"
    assert np.array_equal(read_photo(image), np.asarray(PHOTO))


def test_array_of_another_kind_is_refused() -> None:
    with pytest.raises(UserError, match="uint8"):
        read_photo(np.zeros((4, 4, 3), np.float32))
