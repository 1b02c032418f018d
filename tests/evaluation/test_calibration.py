"""Temperature scaling and its measure."""

import numpy as np
import pytest

from mobilevit_core.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    fold_temperature,
    reliability,
    with_temperature,
)
from mobilevit_core.models.create import create_mobilevit


def softmax(logits: np.ndarray) -> np.ndarray:
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    return raised / raised.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("sharpening", [0.5, 3.0])
def test_the_temperature_is_found_again(sharpening: float) -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(100_000, 5)) * 2
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)  # drawn with softmax(logits)
    answers = softmax(logits * sharpening)
    temperature = fit_temperature(answers, labels)
    assert temperature == pytest.approx(sharpening, rel=0.05)
    before = expected_calibration_error(answers, labels)
    after = expected_calibration_error(with_temperature(answers, temperature), labels)
    assert before > 0.1 and after < 0.01


@pytest.mark.parametrize("photos", [1, 6, 40])
def test_a_few_right_answers_do_not_make_all_answers_certain(photos: int) -> None:
    answers = np.tile([0.84, 0.08, 0.08], (photos, 1))
    temperature = fit_temperature(answers, np.zeros(photos, int))
    assert 0.3 < temperature < 1
    assert 0.84 < with_temperature(answers, temperature).max() < 0.9999
    before = with_temperature(with_temperature(answers, temperature), 1 / temperature)
    assert np.allclose(before, answers)


def test_the_error_of_known_cases() -> None:
    half_right = np.array([0, 1] * 50)
    sure = np.tile([1.0, 0.0], (100, 1))
    undecided = np.tile([0.5001, 0.4999], (100, 1))
    assert expected_calibration_error(sure, half_right) == pytest.approx(0.5)
    assert expected_calibration_error(undecided, half_right) == pytest.approx(0.0, abs=1e-3)
    (row,) = reliability(sure, half_right)
    assert (row["to"], row["confidence"], row["accuracy"], row["photos"]) == (1.0, 1.0, 0.5, 100)


def test_an_inverse_temperature_undoes_it() -> None:
    answers = softmax(np.random.default_rng(1).normal(size=(50, 4)))
    assert np.allclose(with_temperature(with_temperature(answers, 2.5), 1 / 2.5), answers, atol=1e-9)


@pytest.mark.usefixtures("tiny")
def test_the_classifier_carries_the_temperature() -> None:
    model = create_mobilevit(num_classes=3, image_size=64)
    images = np.random.default_rng(2).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    before = model.predict(images, verbose=0)
    fold_temperature(model, 0.25)
    after = model.predict(images, verbose=0)
    assert np.abs(after - before).max() > 1e-3
    assert np.allclose(after, with_temperature(before, 0.25), atol=1e-5)
