"""What a run's model answered to photos that it was not trained on, one row each, and what changed."""

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.files import csv_bytes, from_cell, write_bytes

FILE, CHANGES = "answers.csv", "changes.csv"
COLUMNS = ("split", "photograph", "class", "answer", "probability", "sha256")
CHANGE_COLUMNS = ("change", "photograph", "class", "before", "after", "sha256")
GAINED, LOST = "gained", "lost"


def write_answers(folder: Path, measured: Measured) -> None:
    """Writes `answers.csv` into a run folder.

    Args:
        folder: of the run.
        measured: on photos that the weights were not fitted to.
    """
    evaluation = measured.first
    names = evaluation.class_names
    rows = [
        {
            "split": measured.split,
            "photograph": photo.name,
            "class": names[label],
            "answer": names[answer],
            "probability": f"{probabilities.max():.6f}",
            "sha256": photo.sha256,
        }
        for photo, label, answer, probabilities in zip(
            measured.photos, evaluation.labels, evaluation.answers, evaluation.probabilities, strict=True
        )
    ]
    write_bytes(folder / FILE, csv_bytes(rows, COLUMNS))


def read_answers(folder: Path) -> dict[str, str]:
    """Digest -> answer, of a run; empty where it has none."""
    path = folder / FILE
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
        return {row["sha256"]: from_cell(row["answer"]) for row in csv.DictReader(file)}


@dataclass(frozen=True)
class Changes:
    """Gains and regressions of a run against the one before, on the same photos.

    Attributes:
        compared: photos that both answered without having been trained on them.
        right_before: how many of them the bundle before answered rightly.
        right_after: how many the new one does.
        rows: the photos where only one of them is right: change ("gained" or "lost"), photo, class,
            before, after, sha256.
    """

    compared: int
    right_before: int
    right_after: int
    rows: tuple[dict[str, str], ...]

    def count(self, change: str) -> int:
        """How many photos were "gained" or "lost"."""
        return sum(row["change"] == change for row in self.rows)

    def sentence(self) -> str:
        """The summary."""
        if not self.compared:
            return "No photo can be compared: the bundle before was trained on all of them."
        return (
            f"Compared with the bundle before, on {self.compared} photos that neither was trained on: "
            f"{self.right_after} right, {self.right_before} before; {self.count(GAINED)} gained, "
            f"{self.count(LOST)} lost"
        )

    def write(self, folder: Path) -> Path:
        """Writes `changes.csv` into a run folder: gained and lost photos."""
        write_bytes(folder / CHANGES, csv_bytes(self.rows, CHANGE_COLUMNS))
        return folder / CHANGES


def compare(
    photos: Sequence[LabelledPhoto],
    class_names: Sequence[str],
    after: Mapping[str, str],
    before: Mapping[str, str],
    ask: Callable[[LabelledPhoto], str | None],
) -> Changes:
    """Compares a new model's answers with those of the bundle before.

    Args:
        photos: that the new run was measured on.
        class_names: in the order of their labels.
        after: digest -> answer of the new run.
        before: digest -> recorded answer of the run before.
        ask: the answer of the bundle before to a photo that is not recorded; None where it was trained
            on it.
    """
    rows, compared = [], []
    for photo in photos:
        answer, old = after.get(photo.sha256), before.get(photo.sha256) or ask(photo)
        if answer is None or old is None:
            continue
        name = class_names[photo.label]
        right = old == name, answer == name
        compared.append(right)
        if right[0] != right[1]:
            values = (GAINED if right[1] else LOST, photo.name, name, old, answer, photo.sha256)
            rows.append(dict(zip(CHANGE_COLUMNS, values, strict=True)))
    sums = np.array(compared, int).reshape(-1, 2).sum(axis=0)
    return Changes(len(compared), int(sums[0]), int(sums[1]), tuple(rows))
