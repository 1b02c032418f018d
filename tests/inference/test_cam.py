from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.images.preprocessing import ResizeRule, crop_box, prepare
from mobilevit_core.inference.cam import Explainer, in_grid, overlay
from mobilevit_core.training.transfer import FLOWERS, GENERAL_FOLDER
from tests.drawing import draw_photo


@pytest.fixture(scope="module")
def explainer(shipped: Bundle) -> Explainer:
    return Explainer(shipped)


@pytest.mark.parametrize("folder", [FLOWERS, GENERAL_FOLDER], ids=["paper", "hypercolumn"])
def test_the_map_is_the_logit_spread_over_the_image(folder: Path) -> None:
    """Before the cut at zero, the map's mean is the class's logit but for a constant: nothing is left out."""
    explainer = Explainer(open_bundle(folder))
    size = explainer.bundle.manifest.rule.image_size
    image = np.random.default_rng(0).uniform(0, 255, (size, size, 3)).astype(np.float32)
    heat, label = explainer.map(image)
    assert heat.shape == (size // 32, size // 32)
    assert heat.min() >= 0 and heat.max() == pytest.approx(1)

    def spread(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        *maps, probabilities = (result.numpy()[0] for result in explainer._run(image[None]))
        features = np.concatenate([in_grid(one, size // 32) for one in maps], axis=-1)
        return (features @ explainer._kernel).mean(axis=(0, 1)), probabilities

    (logits, probabilities), (other, again) = spread(image), spread(image[::-1])
    bias = np.log(probabilities) - logits
    expected = np.exp(other + bias) / np.exp(other + bias).sum()
    assert label == probabilities.argmax()
    assert np.allclose(again, expected, atol=1e-4)


def test_what_is_cropped_away_is_dark_and_what_mattered_keeps_its_colour() -> None:
    rose = np.full((100, 200, 3), (200, 30, 70), np.uint8)
    cold = np.asarray(overlay(rose, np.zeros((2, 2), np.float32), ResizeRule(64, "center_crop")))
    assert (cold[:, 50:150] == 50).all()  # grey: half of the mean
    assert (cold[:, :50, 0] < 80).all() and (cold[:, 150:, 0] < 80).all()
    hot = np.asarray(overlay(rose, np.ones((2, 2), np.float32), ResizeRule(64)))
    assert (hot == rose).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2), (1, 20_000), (20_000, 1), (3, 250)])
def test_thin_images_take_a_map(size: tuple[int, int]) -> None:
    pixels = np.zeros((*size, 3), np.uint8)
    for rule in (ResizeRule(64), ResizeRule(64, "center_crop", 0.875), ResizeRule(64, "center_crop", 0.01)):
        assert overlay(pixels, np.ones((2, 2), np.float32), rule).size == size[::-1]


def test_the_crop_is_right_on_the_smaller_copy(explainer: Explainer) -> None:
    """The outline is drawn on the image that is shown, not on the one that was read."""
    rule = explainer.bundle.manifest.rule
    photo = Image.new("RGB", (3000, 1500), (200, 200, 200))
    image = np.asarray(explainer.explain_prepared(prepare(photo, explainer.bundle.manifest.rule))[0], int)
    assert image.shape == (480, 960, 3)
    left, _, right, _ = crop_box(3000, 1500, rule)
    dark = np.flatnonzero((image[240] < 90).all(axis=-1))
    inside = np.setdiff1d(np.arange(960), dark)
    assert abs(inside.min() - left * 960 / 3000) <= 1 and abs(inside.max() + 1 - right * 960 / 3000) <= 1


def test_a_photo_keeps_its_shape(explainer: Explainer) -> None:
    photo = prepare(draw_photo((200, 40, 40), 1, size=(300, 200)), explainer.bundle.manifest.rule)
    image, name = explainer.explain_prepared(photo)
    assert image.size == (300, 200) and name in explainer.bundle.manifest.class_names
