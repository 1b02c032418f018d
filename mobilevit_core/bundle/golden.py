"""Golden inputs: drawn images with the answers that a bundle's files gave when they were made.

Whoever runs one of the files elsewhere (another processor, a phone, a browser) can draw the same images and
compare. An image is a number: `drawn` is whole-number arithmetic, the same in every language;
`demo/device/engine.js` has it in JavaScript.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from mobilevit_core.bundle.manifest_fields import Label, Text
from mobilevit_core.bundle.rejection import Share

DRAWING = "discs"  # what `drawn` draws; another drawing gets another name
MOST_IMAGES = 16
CANDIDATES = 32  # images out of which the golden ones are chosen
CHOSEN = 3
TOP = 10  # classes whose probabilities are kept, of each image
DECIMALS = 6
# Ten times what was seen between processors and WebAssembly (0.0035, dynamic int8); WebGPU may use 16 bits.
TOLERANCE = 0.02


def drawn(seed: int, size: int) -> np.ndarray:
    """A disc around a smaller disc on a plain ground, with a fine texture over all of it.

    Args:
        seed: of the twelve numbers from 0 to 255 that give colours, place and width.
        size: side in pixels.

    Returns:
        float32 (size, size, 3), RGB 0..255, whole numbers.
    """
    numbers, state = [], seed + 1
    for _ in range(12):
        state = (state * 75 + 74) % 65537
        numbers.append(state % 256)
    ground, outer, inner = np.reshape(numbers[:9], (3, 3))
    column, row, across = (size * (128 + number) // 512 for number in numbers[9:])
    y, x = np.mgrid[:size, :size]
    apart, texture = (x - column) ** 2 + (y - row) ** 2, 2 * ((x ^ y) % 16)
    colors = np.where((4 * apart < across**2)[..., None], outer, ground)
    colors = np.where((24 * apart < across**2)[..., None], inner, colors)
    return ((colors + texture[..., None]) % 256).astype(np.float32)


Scores = Annotated[dict[Text, Share], Field(min_length=1)]


@dataclass(frozen=True, config=ConfigDict(extra="ignore"))
class Golden:
    """Golden inputs and the answers to them.

    Attributes:
        drawing: what `drawn` draws.
        seeds: one for each image.
        tolerance: largest difference of any probability at which an engine is called right.
        scores: weight format -> for each image, class name -> probability of its most probable classes.
    """

    drawing: Literal["discs"]
    seeds: Annotated[
        tuple[Annotated[int, Field(ge=0, lt=65536, strict=True)], ...],
        Field(min_length=1, max_length=MOST_IMAGES),
    ]
    tolerance: Share
    scores: dict[Label, tuple[Scores, ...]]

    @model_validator(mode="after")
    def _one_answer_for_each_image(self) -> "Golden":
        for name, answers in self.scores.items():
            if len(answers) != len(self.seeds):
                raise ValueError(f"scores of {name[:60]!r}: {len(answers)} for {len(self.seeds)} seeds")
        return self

    @classmethod
    def of(
        cls, seeds: Sequence[int], class_names: Sequence[str], answers: Mapping[str, np.ndarray]
    ) -> "Golden":
        """From what each weight format answered.

        Args:
            seeds: of the images.
            class_names: in the order of the probabilities.
            answers: weight format -> probabilities (images, classes).
        """
        scores = {
            name: tuple(
                {
                    class_names[i]: round(float(row[i]), DECIMALS)
                    for i in np.argsort(-row, kind="stable")[:TOP]
                }
                for row in rows
            )
            for name, rows in answers.items()
        }
        return cls(DRAWING, tuple(seeds), TOLERANCE, scores)

    def classes(self) -> set[str]:
        """All class names in it."""
        return {name for answers in self.scores.values() for row in answers for name in row}

    def only(self, name: str) -> "Golden":
        """The same for one weight format."""
        return replace(self, scores={name: self.scores[name]})

    def difference(self, name: str, class_names: Sequence[str], answers: np.ndarray) -> float:
        """The largest difference of any probability from the golden one; NaN where an answer is NaN.

        Args:
            name: of the weight format.
            class_names: in the order of the probabilities.
            answers: probabilities (images, classes).
        """
        place = {label: index for index, label in enumerate(class_names)}
        pairs = zip(self.scores[name], answers, strict=True)
        differences = [row[place[label]] - score for scores, row in pairs for label, score in scores.items()]
        return float(np.abs(differences).max())

    def to_json(self) -> dict[str, Any]:
        """As the manifest records it."""
        scores = {name: [dict(row) for row in answers] for name, answers in self.scores.items()}
        return asdict(self) | {"seeds": list(self.seeds), "scores": scores}


def telling(probabilities: np.ndarray) -> list[int]:
    """Which of `CANDIDATES` images are worth keeping: undecided ones, of different classes.

    A decided answer stays the same on an engine that is off; an undecided one gives it away.

    Args:
        probabilities: (images, classes); an image's seed is its place.

    Returns:
        `CHOSEN` seeds in ascending order.
    """
    order = np.argsort(probabilities.max(axis=1), kind="stable").tolist()
    labels = probabilities.argmax(axis=1)
    first = {labels[seed]: seed for seed in reversed(order)}.values()  # the least decided of each class
    preferred = sorted(order, key=lambda seed: (seed not in first, order.index(seed)))
    return sorted(preferred[:CHOSEN])
