from pathlib import Path

import numpy as np

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.evaluation.robustness import (
    CROPPED,
    LETTERBOXED,
    OWN,
    SQUASHED,
    evaluate_robustness,
    framings,
)
from mobilevit_core.images.preprocessing import ResizeRule


def test_each_framing_shows_what_it_says() -> None:
    pixels = np.zeros((100, 300, 3), np.uint8)
    pixels[:, :100], pixels[:, 100:200], pixels[:, 200:] = (250, 0, 0), (0, 250, 0), (0, 0, 250)
    shown = framings(pixels, ResizeRule(64, "center_crop", 0.5))
    red, green, blue = [250, 0, 0], [0, 250, 0], [0, 0, 250]
    for name in (OWN, CROPPED):  # the green square alone
        assert np.all(shown[name][:, 4:60] == green)
    assert list(shown[SQUASHED][2, 5]) == red and list(shown[SQUASHED][60, 60]) == blue
    assert np.all(shown[LETTERBOXED][:18] == 0) and np.all(shown[LETTERBOXED][-18:] == 0)
    assert list(shown[LETTERBOXED][32, 5]) == red and list(shown[LETTERBOXED][32, 60]) == blue


def test_square_photos_are_framed_alike(small_bundle: Bundle, photo_folder: Path) -> None:
    classifier = load_classifier(small_bundle.folder)
    accuracy = evaluate_robustness(classifier, load_dataset(str(photo_folder)), "validation")["framing"]
    assert list(accuracy) == [OWN, SQUASHED, CROPPED, LETTERBOXED]
    assert all(0 <= value <= 1 for value in accuracy.values()) and accuracy[OWN] == 1
