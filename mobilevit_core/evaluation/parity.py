"""How far converted weights give Keras's answers, and the floors under which an export is refused."""

from dataclasses import dataclass

import numpy as np

from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError


@dataclass(frozen=True)
class Parity:
    """How far two sets of answers to the same images agree.

    Attributes:
        top1_agreement: share of the images with the same most probable class.
        largest_difference: of any probability.
        mean_difference: of all probabilities.
        images: how many were compared.
    """

    top1_agreement: float
    largest_difference: float
    mean_difference: float
    images: int

    @classmethod
    def between(cls, first: np.ndarray, second: np.ndarray) -> "Parity":
        """Compares probabilities (images, classes)."""
        same = first.argmax(axis=1) == second.argmax(axis=1)
        differences = np.abs(first - second)
        return cls(float(same.mean()), float(differences.max()), float(differences.mean()), len(first))

    def require(self, name: str) -> None:
        """Raises a UserError that names the figures if they are under the floor of the format `name`."""
        fmt = FORMATS[name]
        differing = round((1 - self.top1_agreement) * self.images)
        # Written so that NaN, which is neither over nor under anything, is refused too.
        if not (differing <= fmt.differing(self.images) and self.largest_difference <= fmt.difference):
            raise UserError(
                f"{name} is refused: on {self.images} images {self.top1_agreement:.1%} have Keras's answer "
                f"(floor {fmt.parity:.1%}) and the largest difference of a probability is "
                f"{self.largest_difference:.2g} (limit {fmt.difference:g})."
            )
