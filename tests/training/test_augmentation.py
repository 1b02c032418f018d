"""What augmentation shows of a photo."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from mobilevit_core.training.augmentation import augment
from mobilevit_core.training.recipes import Recipe

PLAIN = Recipe(color=0, degrade=0, crop_scale=0.1)


def shown(recipe: Recipe, count: int = 60) -> np.ndarray:
    """Images (count, 32, 32, 3) of one photo: red at its left, blue at its right, green between."""
    photo = np.zeros((50, 100, 3), np.uint8)
    photo[:, :20, 0], photo[:, 20:80, 1], photo[:, 80:, 2] = 255, 255, 255
    return np.stack([augment(tf.constant(photo), 32, recipe, tf.constant([0, n])) for n in range(count)])


def has_both_edges(images: np.ndarray) -> np.ndarray:
    """Whether red and blue are in each image: boolean (count,)."""
    return (images[..., 0].max(axis=(1, 2)) > 200) & (images[..., 2].max(axis=(1, 2)) > 200)


def test_a_share_of_the_images_shows_the_whole_photo() -> None:
    assert has_both_edges(shown(PLAIN)).mean() < 0.5
    whole = shown(replace(PLAIN, whole_share=1))
    assert has_both_edges(whole).all()
    barred = (whole[:, 0] == 0).all(axis=(1, 2))  # the first row is black where there are bars
    assert barred.mean() == pytest.approx(0.5, abs=0.2)
    shown_part = whole[barred][0, 8:24].max(axis=2)  # 2 to 1, not squashed
    assert shown_part.min() > 100 and np.median(shown_part) == pytest.approx(255, abs=0.01)


@pytest.mark.parametrize(("flip", "mirrored"), [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)])
def test_images_are_mirrored_as_often_as_the_recipe_says(flip: float, mirrored: float) -> None:
    images = shown(replace(PLAIN, whole_share=1, flip=flip))
    red_is_right = images[:, 16, :8, 0].mean(axis=1) < images[:, 16, 24:, 0].mean(axis=1)
    assert red_is_right.mean() == pytest.approx(mirrored, abs=0.2 if mirrored == 0.5 else 0)
