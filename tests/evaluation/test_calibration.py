"""Temperature scaling and its measure."""

import numpy as np
import pytest

from mobilevit_core.bundle.rejection import FALSE_REJECTION_RATE
from mobilevit_core.evaluation.calibration import (
    Calibration,
    expected_calibration_error,
    fit_temperature,
    reliability,
    with_temperature,
)
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import classifier


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
@pytest.mark.parametrize("shift", [None, 1.5])
def test_the_classifier_carries_it(shift: float | None) -> None:
    calibration = Calibration(0.25, shift, 2)
    model = create_mobilevit(num_classes=3, image_size=64)
    images = np.random.default_rng(2).uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    before = model.predict(images, verbose=0)
    layer = classifier(model)
    layer.set_weights(calibration.fold(*layer.get_weights()))
    after = model.predict(images, verbose=0)
    assert np.abs(after - before).max() > 1e-3
    assert np.allclose(after, calibration.apply(before), atol=1e-5)


@pytest.mark.parametrize("share", [0.02, FALSE_REJECTION_RATE])
def test_none_of_these_is_named_for_the_stated_share_of_the_known(share: float) -> None:
    random = np.random.default_rng(3)
    logits = random.normal(size=(2000, 3)) + 3 * np.eye(3)[np.repeat([0, 1], 1000)]
    logits[:, 2] += 2  # the network says "none of these" too often
    labels = np.repeat([0, 1], 1000)
    fitted_on, others = np.arange(0, 2000, 2), np.arange(1, 2000, 2)
    answers = softmax(logits)
    calibration = Calibration.fit(answers[fitted_on], labels[fitted_on], 2, share)
    assert (answers[others].argmax(axis=1) == 2).mean() > 0.2
    named = (calibration.apply(answers)[others].argmax(axis=1) == 2).mean()
    assert named == pytest.approx(share, abs=0.01)
    assert Calibration.fit(answers[fitted_on], labels[fitted_on]).shift is None


def test_photos_of_anything_else_do_not_make_answers_surer() -> None:
    random = np.random.default_rng(4)
    logits = random.normal(size=(2000, 3)) * 2
    labels = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    known = labels != 2
    alone = Calibration.fit(softmax(logits[known]), labels[known], 2)
    sure = np.concatenate([softmax(logits[known]), np.tile([0.001, 0.001, 0.998], (2000, 1))])
    both = Calibration.fit(sure, np.concatenate([labels[known], np.full(2000, 2)]), 2)
    assert both == alone
