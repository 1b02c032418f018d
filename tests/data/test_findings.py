"""What a look at a data set finds."""

from pathlib import Path

import numpy as np
from PIL import Image

from mobilevit_core.data.findings import Findings
from mobilevit_core.data.loading import load_dataset
from tests.drawing import noise_folder


def test_photos_of_one_colour_are_named(tmp_path: Path) -> None:
    folder, random = noise_folder(tmp_path, {"blue": 8, "red": 8}), np.random.default_rng(0)
    black = random.integers(0, 6, (60, 80, 3), np.uint8)
    white = np.full((60, 80, 4), (255, 255, 255, 0), np.uint8)
    blown_out = np.full((60, 80, 3), 255, np.uint8)
    blown_out[0, :20] = 200  # a reflex in a corner
    fine = random.integers(0, 255, (240, 240, 3), np.uint8)  # grey as a thumbnail
    night = black.copy()
    night[20:40, 30:50] = 90
    for number, pixels in enumerate((black, white, blown_out, fine, night)):
        Image.fromarray(pixels).save(folder / "red" / f"odd{number}.png")
    findings = Findings.of(load_dataset(str(folder)))
    assert sorted(findings.blank) == ["red/odd0.png", "red/odd1.png", "red/odd2.png"]
    (sentence,) = (text for text in findings.sentences() if "one colour" in text)
    assert sentence.startswith("3 photos of one colour") and "red/odd0.png" in sentence
