"""The classifier that a training begins with."""

import numpy as np

from mobilevit_core.training.first_classifier import bounded, mirror_images
from mobilevit_core.training.linear_probe import fit

LABELS = np.arange(60) % 2


def fitted(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return fit(features, LABELS, np.arange(60), 5, 0, False)[:2]


def test_the_first_classifier_of_a_fixed_camera_is_not_too_steep() -> None:
    random = np.random.default_rng(0)
    features = random.uniform(0.5, 2, 64) + 0.01 * random.normal(size=(60, 64))
    features[:, 0] += 0.1 * LABELS  # all that differs between the classes
    shaken = features + 0.3 * random.normal(size=features.shape)  # what augmentation does to them

    def loss(kernel: np.ndarray, bias: np.ndarray) -> float:
        logits, rows = shaken @ kernel + bias, np.arange(60)
        return float(np.mean(np.logaddexp(0, logits[rows, 1 - LABELS] - logits[rows, LABELS])))

    kernel, bias = fitted(features)
    gentle = bounded(kernel, bias, features)
    assert loss(kernel, bias) > 5 > 2 > loss(*gentle)
    assert ((features @ gentle[0] + gentle[1]).argmax(axis=1) == LABELS).mean() > 0.9


def test_what_is_less_steep_gives_the_same_best_answers() -> None:
    random = np.random.default_rng(1)
    features = 100 * random.normal(size=(60, 8))  # far from the origin, and the classes apart by their biases
    kernel, bias = random.normal(size=(8, 5)), 200 * random.normal(size=5)
    gentle = bounded(kernel, bias, features)
    assert np.abs(gentle[0]).max() < np.abs(kernel).max() / 2
    assert np.array_equal(
        (features @ gentle[0] + gentle[1]).argmax(axis=1), (features @ kernel + bias).argmax(axis=1)
    )


def test_an_ordinary_first_classifier_stays_as_it_is() -> None:
    features = np.random.default_rng(0).normal(size=(60, 8)) + LABELS[:, None]
    kernel, bias = fitted(features)
    assert np.array_equal(bounded(kernel, bias, features)[0], kernel)


def test_classes_that_are_mirror_images_are_found() -> None:
    labels = np.arange(30) % 3
    taken_for = np.array([1, 0, 2])[labels]  # 0 and 1 for each other, 2 for itself
    assert mirror_images(np.eye(3)[taken_for], labels) == [(0, 1)]
    assert mirror_images(np.eye(3)[labels], labels) == []
    assert mirror_images(np.eye(3)[np.zeros(30, int)], labels) == []  # all for one: no mirror images
