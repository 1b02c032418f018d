"""Pictures of something else: when an answer should be "none of these".

The score is the highest probability, because every runtime gives it, other people's too. For a model of
this size trained from nothing on tf_flowers, the energy and the highest logit separated photographs of 93
other kinds of flowers no better (AUROC 0.740, 0.749 and 0.747).

A network may have learned "none of these" as its last class. Then a picture for which that class is the most
probable is rejected, too, and the score is the highest probability of the other classes.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

FALSE_ALARMS = 0.05  # share of photographs of known classes that may be called unknown


@dataclass(frozen=True)
class UnknownRule:
    """When a picture is called none of the known classes.

    Attributes:
        threshold: a highest probability under it means none of them.
        false_alarms: share of the validation photographs under it.
        photos: how many validation photographs it was fitted on.
        other: index of the class "none of these", None where the network has none.
    """

    threshold: float
    false_alarms: float
    photos: int
    other: int | None = None

    @classmethod
    def fit(cls, probabilities: np.ndarray, other: int | None = None) -> "UnknownRule":
        """The rule that calls `FALSE_ALARMS` of these photographs of known classes unknown.

        Where the network itself calls more of them "none of these", the threshold adds none.

        Args:
            probabilities: calibrated, of photographs that were not trained on, (photos, classes).
            other: index of the class "none of these"; none of these photographs is of it.
        """
        rule = cls(0.0, 0.0, len(probabilities), other)
        scores = np.where(rule.is_unknown(probabilities), 0.0, rule.score(probabilities))
        rule = replace(rule, threshold=float(np.quantile(scores, FALSE_ALARMS)))
        return replace(rule, false_alarms=float(rule.is_unknown(probabilities).mean()))

    def is_unknown(self, probabilities: np.ndarray) -> np.ndarray:
        """Whether each picture is called unknown: boolean (photos,), or one for (classes,)."""
        low = self.score(probabilities) < self.threshold
        return low if self.other is None else low | (probabilities.argmax(axis=-1) == self.other)

    def score(self, probabilities: np.ndarray) -> np.ndarray:
        """How well known a picture looks: the highest probability of a known class, (photos,)."""
        if self.other is None:
            return probabilities.max(axis=-1)
        return np.delete(probabilities, self.other, axis=-1).max(axis=-1)

    def to_json(self) -> dict[str, Any]:
        """As `bundle.json` records it."""
        values = {key: value for key, value in asdict(self).items() if value is not None}
        return {"score": "highest probability", **values}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "UnknownRule":
        """The reverse of `to_json`."""
        other = value.get("other")
        return cls(
            float(value["threshold"]),
            float(value["false_alarms"]),
            int(value["photos"]),
            None if other is None else int(other),
        )
