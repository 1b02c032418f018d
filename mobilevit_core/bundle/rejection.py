"""The rejection rule: when an answer should be "none of these".

The score is the highest probability, because every runtime gives it, also outside of this project. For a
model of this size trained from scratch on tf_flowers, the energy and the highest logit separated photos
of 93 other kinds of flowers no better (AUROC 0.740, 0.749 and 0.747).

A network may have learned "none of these" as its last class. Then a photo for which that class is the most
probable is rejected, too, and the score is the highest probability of the other classes.
"""

from dataclasses import asdict, replace
from typing import Annotated, Any

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

FALSE_REJECTION_RATE = 0.05  # of known classes, where a recipe sets none
SMALLEST = 1e-12  # probabilities are kept over it before a logarithm

Share = Annotated[float, Field(ge=0, le=1, strict=True, allow_inf_nan=False)]


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class RejectionRule:
    """When a photo is called none of the known classes.

    Attributes:
        threshold: a highest probability under it means none of them.
        false_rejection_rate: share of the validation photos under it.
        photos: how many validation photos it was fitted on.
        other: index of the class "none of these", None where the network has none.
    """

    threshold: Share
    false_rejection_rate: Share
    photos: Annotated[int, Field(ge=1, strict=True)]
    other: Annotated[int, Field(ge=0, strict=True)] | None = None

    @staticmethod
    def fit_shift(probabilities: np.ndarray, other: int, rate: float = FALSE_REJECTION_RATE) -> float:
        """What to take off the logit of "none of these" so that it is named for a share of the known.

        Args:
            probabilities: of photos of known classes that were not trained on, (photos, classes).
            other: index of the class "none of these".
            rate: that share.
        """
        logits = np.log(np.maximum(probabilities.astype(np.float64), SMALLEST))
        lead = logits[:, other] - np.delete(logits, other, axis=1).max(axis=1)
        place = rate * (len(lead) + 1)  # from the highest downwards, as in `fit`
        ordered = np.sort(lead)[::-1]
        return float(np.interp(place, np.arange(1, len(ordered) + 1), ordered))

    @classmethod
    def fit(
        cls,
        probabilities: np.ndarray,
        other: int | None = None,
        rate: float = FALSE_REJECTION_RATE,
    ) -> "RejectionRule":
        """The rule that is expected to reject a share of other photos of known classes.

        Where the network itself calls more of them "none of these", the threshold adds none.

        Args:
            probabilities: calibrated, of photos that were not trained on, (photos, classes).
            other: index of the class "none of these"; none of these photos is of it.
            rate: that share.
        """
        rule = cls(0.0, 0.0, len(probabilities), other)
        scores = np.where(rule.rejects(probabilities), 0.0, rule.score(probabilities))
        # A new photo's score is as likely to fall between any two neighbours among these n, so the
        # threshold stands at place rate * (n + 1) of their order, from the lowest possible score
        # upwards. The plain quantile of 25 photos would be expected to reject 8.5 %, not 5 %.
        ordered = np.array([0.0 if other is not None else 1 / probabilities.shape[1], *np.sort(scores)])
        place = rate * (len(scores) + 1)
        rule = replace(rule, threshold=min(float(np.interp(place, np.arange(len(ordered)), ordered)), 1.0))
        return replace(rule, false_rejection_rate=float(rule.rejects(probabilities).mean()))

    def rejects(self, probabilities: np.ndarray) -> np.ndarray:
        """Whether each photo is called none of the classes: boolean (photos,), or one for (classes,)."""
        low = self.score(probabilities) < self.threshold
        return low if self.other is None else low | (probabilities.argmax(axis=-1) == self.other)

    def score(self, probabilities: np.ndarray) -> np.ndarray:
        """How well known a photo looks: the highest probability of a known class, (photos,)."""
        if self.other is None:
            return probabilities.max(axis=-1)
        return np.delete(probabilities, self.other, axis=-1).max(axis=-1)

    def to_json(self) -> dict[str, Any]:
        """As the manifest records it."""
        values = {key: value for key, value in asdict(self).items() if value is not None}
        return {"score": "highest probability", **values}
