"""What a bundle says about one photo: one object for command line, page, API and MCP."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.inference.latency import Latency

TOP = 5  # classes that people see


@dataclass(frozen=True)
class Answer:
    """One format's answer to one photo.

    Attributes:
        class_names: in the order of the probabilities.
        probabilities: calibrated, float32 (classes,).
        unknown: the photo probably shows none of the classes, by the bundle's rejection rule.
        format: the weight format that answered.
        latency: of that format on this photo, where it was measured.
    """

    class_names: tuple[str, ...]
    probabilities: np.ndarray
    unknown: bool
    format: str
    latency: Latency | None = None

    @classmethod
    def of(
        cls, probabilities: np.ndarray, manifest: Manifest, format: str, latency: Latency | None = None
    ) -> "Answer":
        """The answer that these probabilities (classes,) are; here alone the rejection rule is applied."""
        rule = manifest.rejection
        unknown = rule is not None and bool(rule.rejects(probabilities))
        return cls(manifest.class_names, probabilities, unknown, format, latency)

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.class_names[int(self.probabilities.argmax())]

    @property
    def score(self) -> float:
        """Its probability."""
        return float(self.probabilities.max())

    def top(self, count: int = TOP) -> list[tuple[str, float]]:
        """The most probable classes as pairs of name and probability, best first."""
        order = np.argsort(-self.probabilities, kind="stable")[:count]
        return [(self.class_names[index], float(self.probabilities[index])) for index in order]

    def to_json(self, count: int = TOP) -> dict[str, Any]:
        """For programs: the answer, its best classes, the scores of all, and the latency where measured."""
        value: dict[str, Any] = {
            "label": self.label,
            "score": self.score,
            "unknown": self.unknown,
            "predictions": [{"label": label, "score": score} for label, score in self.top(count)],
            "scores": dict(zip(self.class_names, self.probabilities.tolist(), strict=True)),
            "format": self.format,
        }
        return value | ({"latency_ms": self.latency.to_json()} if self.latency else {})
