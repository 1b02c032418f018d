"""The rule for "none of these"."""

import numpy as np
import pytest

from mobilevit_core.bundle.rejection import RejectionRule


def test_the_threshold_calls_one_in_twenty_known_photographs_unknown() -> None:
    confidence = np.linspace(0.5, 1.0, 400)
    answers = np.stack([confidence, 1 - confidence], axis=1)
    rule = RejectionRule.fit(answers)
    assert rule.false_alarms == pytest.approx(0.05)
    assert rule.rejects(answers).sum() == 20
    assert rule.rejects(np.array([0.51, 0.49])) and not rule.rejects(np.array([0.6, 0.4]))
    assert RejectionRule.from_json(rule.to_json()) == rule
