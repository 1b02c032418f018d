import io

import numpy as np
import pytest
from PIL import Image

from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.evaluation.colors import accuracy_by_color, color_of
from mobilevit_core.evaluation.metrics import Evaluation


def photo(middle: tuple[int, int, int], label: int = 0) -> LabelledPhoto:
    """A square of one colour in the middle of leaves."""
    image = Image.new("RGB", (90, 90), (40, 140, 40))
    image.paste(middle, (25, 25, 65, 65))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return LabelledPhoto(f"{middle}.png", label, buffer.getvalue())


@pytest.mark.parametrize(
    ("middle", "color"),
    [
        ((250, 220, 30), "yellow"),
        ((200, 10, 20), "red"),
        ((250, 130, 10), "orange"),
        ((240, 120, 190), "pink"),
        ((120, 40, 200), "purple"),
        ((30, 60, 220), "blue"),
        ((250, 250, 250), "white or grey"),
        ((40, 140, 40), "green or dark"),
        ((5, 5, 5), "green or dark"),
    ],
)
def test_the_colour_of_the_middle_is_told(middle: tuple[int, int, int], color: str) -> None:
    assert color_of(photo(middle)) == color


def test_mistakes_are_counted_by_class_and_colour() -> None:
    yellow, red = (250, 220, 30), (200, 10, 20)
    photos = [photo(yellow), photo(yellow), photo(red), photo(yellow, 1)]
    answers = np.eye(2)[[0, 1, 0, 1]]
    evaluation = Evaluation(("tulip", "dandelion"), np.array([0, 0, 0, 1]), answers)
    assert accuracy_by_color(evaluation, photos) == [
        {"class": "tulip", "color": "red", "photos": 1, "mistakes": 0, "taken_for": []},
        {"class": "tulip", "color": "yellow", "photos": 2, "mistakes": 1, "taken_for": ["dandelion"]},
        {"class": "dandelion", "color": "yellow", "photos": 1, "mistakes": 0, "taken_for": []},
    ]
