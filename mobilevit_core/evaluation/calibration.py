"""Probabilities that mean what they say: temperature scaling, and how far off they are."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mobilevit_core.bundle.rejection import FALSE_REJECTION_RATE, SMALLEST, RejectionRule

BINS = 15
TEMPERATURES = (0.25, 4.0)  # what the fit may choose from
GOLDEN, PRECISION = (5**0.5 - 1) / 2, 1e-5  # of log T
# Standard deviation of log T before any photo is seen: on a few photos, all of them answered
# right, the likelihood alone would make every answer certain.
PRIOR = 0.5


@dataclass(frozen=True)
class Calibration:
    """What is folded into a classifier, so that every program that runs it gives the same answers.

    First the logit of "none of these" is shifted until that class is named for no more of the known than
    the rejection rule allows. Then all logits are divided by the temperature, which changes no answer. Only
    photos of the known classes decide it: held-out photos of anything else come from the sources that were
    trained on, so they are told apart more surely than anything that people will show.

    Attributes:
        temperature: over 1 where the network is too sure.
        shift: what is taken off the logit of "none of these"; None where there is no such class.
        other: index of that class.
    """

    temperature: float
    shift: float | None = None
    other: int | None = None

    @classmethod
    def fit(
        cls,
        probabilities: np.ndarray,
        labels: np.ndarray,
        other: int | None = None,
        false_rejection_rate: float = FALSE_REJECTION_RATE,
    ) -> "Calibration":
        """Fits both.

        Args:
            probabilities: of the uncalibrated network, (photos, classes).
            labels: int (photos,), of photos that were not trained on.
            other: index of the class "none of these", None where there is none.
            false_rejection_rate: share of the known that may be named "none of these".
        """
        known = labels != other
        shift = None
        if other is not None and known.any():
            shift = RejectionRule.fit_shift(probabilities[known], other, false_rejection_rate)
            probabilities, labels = with_shift(probabilities[known], other, shift), labels[known]
        return cls(fit_temperature(probabilities, labels), shift, other)

    def apply(self, probabilities: np.ndarray) -> np.ndarray:
        """The calibrated network's probabilities, from the uncalibrated one's: (photos, classes)."""
        if self.shift is not None:
            probabilities = with_shift(probabilities, self.other, self.shift)
        return with_temperature(probabilities, self.temperature)

    def fold(self, kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The calibrated classifier's kernel (features, classes) and bias (classes,)."""
        bias = bias.copy()
        if self.shift is not None:
            bias[self.other] -= self.shift
        return kernel / self.temperature, bias / self.temperature


@dataclass(frozen=True)
class HeldOut:
    """Answers to photos that the weights were not fitted to: what calibration and rejection rest on.

    Attributes:
        before: probabilities of the uncalibrated network, (photos, classes).
        labels: int (photos,).
        photos: which of the known classes they are, for people.
        other: index of the class "none of these", None where there is none.
        false_rejection_rate: share of the known that may be rejected.
    """

    before: np.ndarray
    labels: np.ndarray
    photos: str
    other: int | None = None
    false_rejection_rate: float = FALSE_REJECTION_RATE

    @cached_property
    def calibration(self) -> Calibration:
        """Fitted on them."""
        return Calibration.fit(self.before, self.labels, self.other, self.false_rejection_rate)

    @cached_property
    def after(self) -> np.ndarray:
        """Calibrated probabilities, (photos, classes)."""
        return self.calibration.apply(self.before)

    def sections(self) -> dict[str, Any]:
        """The manifest's `calibration` and `rejection`."""
        known, fitted = self.labels != self.other, self.calibration
        after, labels = self.after[known], self.labels[known]
        before = with_temperature(after, 1 / fitted.temperature)
        return {
            "calibration": {
                "temperature": fitted.temperature,
                **({} if fitted.shift is None else {"none_of_these_shift": fitted.shift}),
                "fitted_on": self.photos,
                "expected_calibration_error": {
                    "before": expected_calibration_error(before, labels),
                    "after": expected_calibration_error(after, labels),
                },
            },
            "rejection": RejectionRule.fit(after, self.other, self.false_rejection_rate),
        }


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The temperature by which logits must be divided for the lowest cross-entropy.

    A weak prior keeps it near 1 where the photos are too few to tell.

    Args:
        probabilities: of the uncalibrated network, (photos, classes).
        labels: int (photos,), of photos that were not trained on.

    Returns:
        The temperature; over 1 where the network is too sure. Source: Guo et al. 2017, section 4.2.
    """

    def loss(log_temperature: float) -> float:
        scaled = with_temperature(probabilities, float(np.exp(log_temperature)))
        likelihood = np.log(np.maximum(scaled[np.arange(len(labels)), labels], SMALLEST)).sum()
        return (log_temperature / PRIOR) ** 2 / 2 - float(likelihood)

    low, high = np.log(TEMPERATURES)
    while high - low > PRECISION:  # golden sections: the loss has one valley
        step = GOLDEN * (high - low)
        if loss(high - step) < loss(low + step):
            high = low + step
        else:
            low = high - step
    return float(np.exp((low + high) / 2))


def with_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """What the softmax would have given for logits divided by the temperature: (photos, classes).

    The inverse of a temperature undoes it.
    """
    return softmax(np.log(np.maximum(probabilities.astype(np.float64), SMALLEST)) / temperature)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities, over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def with_shift(probabilities: np.ndarray, index: int, shift: float) -> np.ndarray:
    """What the softmax would have given with so much taken off one class's logit: (photos, classes)."""
    shifted = probabilities.astype(np.float64)
    shifted[:, index] *= np.exp(-shift)
    return shifted / shifted.sum(axis=1, keepdims=True)


def reliability(probabilities: np.ndarray, labels: np.ndarray) -> list[dict[str, float]]:
    """Confidence against accuracy in bins of equal width.

    Args:
        probabilities: (photos, classes).
        labels: int (photos,).

    Returns:
        For each bin that is not empty: lower and upper limit, mean confidence, accuracy, photos.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    numbers = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        {
            "from": number / BINS,
            "to": (number + 1) / BINS,
            "confidence": float(confidence[numbers == number].mean()),
            "accuracy": float(right[numbers == number].mean()),
            "photos": int((numbers == number).sum()),
        }
        for number in sorted(set(numbers.tolist()))
    ]


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance between confidence and accuracy over the bins, weighted by their photos.

    Source: Naeini et al. 2015; 15 bins of equal width as in Guo et al. 2017. On a few hundred
    photos chance alone gives one to three hundredths.
    """
    bins = reliability(probabilities, labels)
    return sum(row["photos"] * abs(row["confidence"] - row["accuracy"]) for row in bins) / len(labels)
