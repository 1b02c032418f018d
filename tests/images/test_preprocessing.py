import numpy as np
import pytest
from PIL import Image

from mobilevit_core.errors import UserError
from mobilevit_core.images.preprocessing import ResizeRule, preprocess, shrink
from tests.drawing import draw_photo


@pytest.mark.parametrize("size", [(91, 67), (67, 91), (64, 64), (13, 500)])
def test_squash_is_pillows_resize_of_the_whole(size: tuple[int, int]) -> None:
    photo = draw_photo((9, 200, 30), seed=2, size=size)
    tensor = preprocess(photo, ResizeRule(64))
    expected = np.asarray(photo.resize((64, 64), Image.Resampling.BILINEAR))
    assert tensor.dtype == np.float32 and np.array_equal(tensor, expected)


@pytest.mark.parametrize(("fraction", "box"), [(1.0, (50, 0, 150, 100)), (0.5, (75, 25, 125, 75))])
def test_center_crop_takes_the_middle(fraction: float, box: tuple[int, int, int, int]) -> None:
    photo = draw_photo((9, 200, 30), seed=3, size=(200, 100))
    tensor = preprocess(photo, ResizeRule(64, "center_crop", fraction))
    middle = photo.crop(box).resize((64, 64), Image.Resampling.BILINEAR)
    # At the crop's border Pillow's filter looks a pixel beyond it; inside, the two are the same.
    assert np.array_equal(tensor[2:-2, 2:-2], np.asarray(middle)[2:-2, 2:-2])


def test_shrink_keeps_the_aspect_and_small_photos() -> None:
    pixels = np.asarray(draw_photo((9, 200, 30), seed=4, size=(300, 150)))
    assert shrink(pixels, 100).shape == (100, 200, 3)
    assert shrink(pixels, 150) is pixels


def test_unknown_mode_and_impossible_fraction_are_named() -> None:
    with pytest.raises(UserError, match="stretch"):
        ResizeRule(64, "stretch")
    with pytest.raises(UserError, match="crop_fraction"):
        ResizeRule(64, "center_crop", 1.5)
