"""Accuracy by the colour of what is in the middle: does a yellow tulip stay a tulip?"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.evaluation.metrics import Evaluation
from mobilevit_core.images.reading import read_photo

SIDE = 64  # pixels of the square that the colour is read from
MIDDLE = slice(SIDE // 4, 3 * SIDE // 4)
# Upper limit of the hue in degrees -> colour; above the last it is red again.
HUES = (
    (20, "red"),
    (45, "orange"),
    (70, "yellow"),
    (170, "green"),
    (260, "blue"),
    (300, "purple"),
    (345, "pink"),
)
GREY_SATURATION, DARK_VALUE = 0.25, 0.2


def color_of(photo: LabelledPhoto) -> str:
    """The commonest colour of a photograph's middle that is not the green of leaves, in one word."""
    image = Image.fromarray(read_photo(photo.source, photo.name)).resize((SIDE, SIDE), Image.Resampling.BOX)
    middle = np.asarray(image.convert("HSV"), np.float32)[MIDDLE, MIDDLE].reshape(-1, 3)
    hue, saturation, value = middle[:, 0] * 360 / 255, middle[:, 1] / 255, middle[:, 2] / 255
    colors = np.full(len(middle), "red", dtype=object)
    for limit, name in reversed(HUES):
        colors[hue < limit] = name
    colors[saturation < GREY_SATURATION] = "white or grey"
    colors[value < DARK_VALUE] = "dark"
    names, counts = np.unique(colors[~np.isin(colors, ("green", "dark"))].astype(str), return_counts=True)
    return str(names[counts.argmax()]) if len(names) else "green or dark"


def accuracy_by_color(evaluation: Evaluation, photos: Sequence[LabelledPhoto]) -> list[dict[str, object]]:
    """Photographs, mistakes and accuracy for each class and colour.

    Args:
        evaluation: of these photographs, in this order.
        photos: of one split.

    Returns:
        One row per class and colour that occurs: class, color, photos, mistakes, and `taken_for`, what the
        mistakes were called, the commonest first.
    """
    colors = np.array(list(in_order(color_of, photos, "Looking at colours")))
    answers = evaluation.probabilities.argmax(axis=1)
    rows = []
    for label, name in enumerate(evaluation.class_names):
        for color in sorted(set(colors[evaluation.labels == label])):
            here = (evaluation.labels == label) & (colors == color)
            wrong = answers[here & (answers != label)]
            names, counts = np.unique(wrong, return_counts=True)
            order = np.argsort(-counts, kind="stable")
            rows.append(
                {
                    "class": name,
                    "color": color,
                    "photos": int(here.sum()),
                    "mistakes": len(wrong),
                    "taken_for": [evaluation.class_names[int(names[index])] for index in order],
                }
            )
    return rows
