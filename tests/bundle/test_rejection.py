"""The rule for "none of these"."""

import numpy as np
import pytest

from mobilevit_core.bundle.rejection import RejectionRule


def test_the_threshold_calls_one_in_twenty_known_photos_unknown() -> None:
    confidence = np.linspace(0.5, 1.0, 400)
    answers = np.stack([confidence, 1 - confidence], axis=1)
    rule = RejectionRule.fit(answers)
    assert rule.false_rejection_rate == pytest.approx(0.05)
    assert rule.rejects(answers).sum() == 20
    assert RejectionRule.fit(answers, rate=0.02).rejects(answers).sum() == 8
    assert rule.rejects(np.array([0.51, 0.49])) and not rule.rejects(np.array([0.6, 0.4]))
    with pytest.raises(ValueError, match="finite number"):
        RejectionRule(float("nan"), 0.05, 367)


@pytest.mark.parametrize("photos", [4, 10, 25, 100])
def test_few_photos_do_not_reject_more_than_promised(photos: int) -> None:
    random, rates = np.random.default_rng(0), []
    for _ in range(2000):  # answers of two classes, most of them sure
        first = 0.5 + random.beta(3, 1, photos + 200) / 2
        answers = np.stack([first, 1 - first], axis=1)
        rule = RejectionRule.fit(answers[:photos])
        rates.append(rule.rejects(answers[photos:]).mean())
    assert np.mean(rates) <= 0.055
    if photos >= 25:  # enough to aim at the promise itself
        assert np.mean(rates) >= 0.04
