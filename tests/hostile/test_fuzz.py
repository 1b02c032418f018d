"""A short fuzzing run, and properties of the photo path for any input."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mobilevit_core.errors import UserError
from mobilevit_core.images.limits import FULL_SIZE_PIXELS, MAX_PIXELS, reduction
from mobilevit_core.images.orientation import read_orientation
from mobilevit_core.images.photo_file import SHOWN_CHARACTERS, shown_name
from mobilevit_core.images.preprocessing import ResizeRule, crop_box, preprocess, shrink
from mobilevit_core.images.reading import read_photo
from mobilevit_core.inference.cam import overlay
from tests.hostile import raw
from tests.hostile.corpus import UNTURNED
from tests.hostile.fuzz import fuzz, seeds

BOXES = [b"\0\0\0\x10ftyp" + brand + b"\0\0\0\0" for brand in (b"heic", b"avif")]
sides = st.integers(1, 60)
rules = st.builds(
    ResizeRule,
    image_size=st.integers(1, 48),
    mode=st.sampled_from(["squash", "center_crop"]),
    crop_fraction=st.floats(0.01, 1),
)
calm = settings(deadline=None, max_examples=60, derandomize=True, database=None)


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("seed", range(4))
def test_changed_files_are_answered_or_refused(seed: int) -> None:
    outcomes = {"answered": 0, "refused": 0}
    for outcome, finding in fuzz(1000, seed, seeds()):
        assert finding is None, finding
        outcomes[outcome] += 1
    assert min(outcomes.values()) > 100  # the changes are neither harmless nor hopeless


@calm
@given(
    st.binary(max_size=300),
    st.sampled_from([b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"RIFF....WEBP", *BOXES]),
)
def test_any_bytes_are_refused_with_their_name(content: bytes, start: bytes) -> None:
    with pytest.raises(UserError, match="any.jpg"):
        read_photo(start + content, "any.jpg")


@calm
@given(sides, sides, st.integers(1, 8), st.booleans())
def test_any_size_and_orientation_is_read_upright(width: int, height: int, turn: int, webp: bool) -> None:
    pixels = picture(width, height)
    stored = Image.fromarray(np.ascontiguousarray(UNTURNED[turn](pixels)))
    file = io.BytesIO()
    options = {"lossless": True, "exact": True} if webp else {}
    stored.save(file, "WEBP" if webp else "PNG", exif=raw.exif(turn)[6:], **options)
    if max(width, height) <= 100 * min(width, height):
        assert np.array_equal(read_photo(file.getvalue()), pixels)


@calm
@given(st.binary(max_size=200), st.binary(max_size=80))
def test_any_metadata_give_an_orientation(exif: bytes, xmp: bytes) -> None:
    for start in (b"", b"Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"):
        assert read_orientation(start + exif, xmp) in range(1, 9)


@calm
@given(sides, sides, rules)
def test_any_rule_gives_its_square(width: int, height: int, rule: ResizeRule) -> None:
    tensor = preprocess(picture(width, height), rule)
    assert tensor.shape == (rule.image_size, rule.image_size, 3) and tensor.dtype == np.float32
    assert tensor.min() >= 0 and tensor.max() <= 255 and np.array_equal(tensor, tensor.round())
    left, top, right, bottom = crop_box(width, height, rule)
    assert 0 <= left < right <= width and 0 <= top < bottom <= height
    assert rule.mode == "squash" or right - left == pytest.approx(bottom - top)


@calm
@given(st.integers(1, 255), sides, sides, rules)
def test_one_colour_stays_itself(shade: int, width: int, height: int, rule: ResizeRule) -> None:
    assert (preprocess(np.full((height, width, 3), shade, np.uint8), rule) == shade).all()


@calm
@given(st.integers(1, 400), st.integers(1, 400), st.integers(1, 50), st.integers(50, 90))
def test_shrinking_keeps_to_both_limits(width: int, height: int, shorter: int, longer: int) -> None:
    shrunk = shrink(picture(width, height), shorter, longer)
    assert 1 <= min(shrunk.shape[:2]) <= max(shorter, 1) or shrunk.shape[:2] == (height, width)
    assert max(shrunk.shape[:2]) <= longer


@calm
@given(sides, sides, rules, st.integers(1, 8))
def test_any_picture_takes_a_map(width: int, height: int, rule: ResizeRule, cells: int) -> None:
    heat = np.linspace(0, 1, cells * cells, dtype=np.float32).reshape(cells, cells)
    assert overlay(picture(width, height), heat, rule).size == (width, height)


@calm
@given(st.integers(1, 32_000), st.integers(1, 32_000))
def test_large_pictures_are_reduced_as_little_as_possible(width: int, height: int) -> None:
    factor = reduction(width, height)
    assert factor in (1, 2, 4, 8)
    if width * height <= MAX_PIXELS:
        assert width * height <= FULL_SIZE_PIXELS * factor**2
        assert factor == 1 or width * height > FULL_SIZE_PIXELS * (factor / 2) ** 2


@calm
@given(st.text(max_size=400))
def test_any_name_can_be_shown(name: str) -> None:
    shown = shown_name(name)
    assert shown.isprintable() and len(shown) <= SHOWN_CHARACTERS
    shown.encode()
