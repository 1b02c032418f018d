"""Accuracy of a bundle's weights on one split of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mobilevit_core.bundle.private_paths import last_name
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.class_names import spelling_key
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.calibration import expected_calibration_error
from mobilevit_core.inference.classifier import Classifier
from mobilevit_core.messages import warn

NORMAL = 1.959963984540054  # deviations of a normal distribution around 95 %


@dataclass(frozen=True)
class Evaluation:
    """What the weights did with some labelled photos.

    Attributes:
        class_names: in the order of the columns below.
        labels: int (photos,).
        probabilities: float (photos, classes).
        other: index of the class "none of these", None without one. Accuracy and the figures per class are
            about the photos of the other classes: one of those that is rejected is a mistake, and
            photos of anything else count for themselves (the OOD detection rate).
    """

    class_names: tuple[str, ...]
    labels: np.ndarray
    probabilities: np.ndarray
    other: int | None = None

    @property
    def wanted(self) -> np.ndarray:
        """Which photos show one of the classes: boolean (photos,)."""
        return np.ones(len(self.labels), bool) if self.other is None else self.labels != self.other

    @property
    def answers(self) -> np.ndarray:
        """Index of the most probable class: int (photos,)."""
        return self.probabilities.argmax(axis=1)

    @property
    def accuracy(self) -> float:
        """Share of right answers among the photos that show one of the classes."""
        return float((self.answers == self.labels)[self.wanted].mean())

    @property
    def closed_set_accuracy(self) -> float:
        """The same where one of the classes must be named, "none of these" left aside.

        It is what a network without that class is measured by.
        """
        if self.other is None:
            return self.accuracy
        known = self.probabilities[self.wanted].copy()
        known[:, self.other] = -1
        return float((known.argmax(axis=1) == self.labels[self.wanted]).mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        right = (self.answers == self.labels)[self.wanted]
        count, share = len(right), right.mean()
        middle, spread = share + NORMAL**2 / 2 / count, share * (1 - share) + NORMAL**2 / 4 / count
        low, high = (
            (middle + sign * NORMAL * np.sqrt(spread / count)) / (1 + NORMAL**2 / count) for sign in (-1, 1)
        )
        return max(float(low), 0.0), min(float(high), 1.0)

    def to_json(self) -> dict[str, Any]:
        """All figures: accuracy, interval, calibration, per class, confusion matrix (rows: true classes)."""
        confusion = np.zeros((len(self.class_names), len(self.class_names)), int)
        np.add.at(confusion, (self.labels, self.answers), 1)
        among_wanted = confusion if self.other is None else np.delete(confusion, self.other, axis=0)
        names = [name for label, name in enumerate(self.class_names) if label != self.other]
        right, count = confusion.diagonal()[: len(names)], among_wanted.sum(axis=1)
        precision = right / np.maximum(among_wanted.sum(axis=0)[: len(names)], 1)
        recall = right / np.maximum(count, 1)
        return {
            "photos": int(self.wanted.sum()),
            "accuracy": self.accuracy,
            "interval_95": list(self.interval),
            "closed_set_accuracy": self.closed_set_accuracy,
            "expected_calibration_error": expected_calibration_error(self.probabilities, self.labels),
            "per_class": {
                name: {"precision": float(p), "recall": float(r), "photos": int(n)}
                for name, p, r, n in zip(names, precision, recall, count, strict=True)
            },
            "confusion": confusion.tolist(),
            **self._other_figures(),
        }

    def _other_figures(self) -> dict[str, Any]:
        """The OOD detection rate, where there are photos of anything else."""
        others = self.answers[~self.wanted]
        if not len(others):
            return {}
        return {"other": {"photos": len(others), "detection_rate": float((others == self.other).mean())}}


def answers_to(
    photos: Sequence[LabelledPhoto], classifiers: Sequence[Classifier], title: str = "Classifying photos"
) -> dict[str, np.ndarray]:
    """What weight formats of one bundle say to photos, each decoded once: format -> (photos, classes)."""
    rows: dict[str, list[np.ndarray]] = {classifier.format: [] for classifier in classifiers}
    for tensor in in_order(lambda photo: classifiers[0].tensor(photo.source, photo.name), photos, title):
        for classifier in classifiers:
            rows[classifier.format].append(classifier.runtime.probabilities(tensor))
    return {name: np.stack(answers) for name, answers in rows.items()}


def labels_for(dataset: PhotoDataset, class_names: tuple[str, ...]) -> dict[int, int]:
    """Translates a data set's labels into a bundle's, by the names of the classes.

    Raises:
        UserError: the data set has a class that the bundle does not know.
    """
    places = {spelling_key(name): place for place, name in enumerate(class_names)}
    places |= {name: place for place, name in enumerate(class_names)}
    found = [places.get(name, places.get(spelling_key(name))) for name in dataset.class_names]
    unknown = sorted(name for name, place in zip(dataset.class_names, found, strict=True) if place is None)
    if unknown:
        raise UserError(
            f"{dataset.name} has classes that the bundle does not know: {', '.join(unknown)}. "
            f"It knows: {', '.join(class_names)}."
        )
    return dict(enumerate(found))


@dataclass(frozen=True)
class Measured:
    """What weight formats of one bundle did with the same photos: what figures, report and examples show.

    Attributes:
        dataset: has the photos.
        split: that they are of.
        evaluations: format -> what it did, in the order of the photos.
    """

    dataset: PhotoDataset
    split: str
    evaluations: Mapping[str, Evaluation]

    @classmethod
    def of(cls, classifiers: Sequence[Classifier], dataset: PhotoDataset, split: str) -> "Measured":
        """Asks each weight format about every photo of a split, each decoded once.

        Args:
            classifiers: of one bundle, as `load_formats` loads them.
            dataset: with the same classes by name, in any order.
            split: "train", "validation", "test" or "all".

        Raises:
            UserError: other classes, or no such split.
        """
        manifest = classifiers[0].bundle.manifest
        translate, photos = labels_for(dataset, manifest.class_names), dataset.split(split)
        labels = np.array([translate[photo.label] for photo in photos])
        evaluations = {
            name: Evaluation(manifest.class_names, labels, answers, manifest.other)
            for name, answers in answers_to(photos, classifiers).items()
        }
        return cls(dataset, split, evaluations)

    @cached_property
    def photos(self) -> tuple[LabelledPhoto, ...]:
        """In the order of the evaluations' labels."""
        return self.dataset.split(self.split)

    @property
    def first(self) -> Evaluation:
        """That of the first weight format, which stands for the weights."""
        return next(iter(self.evaluations.values()))

    def figures(self, provenance: Provenance | None) -> dict[str, Any]:
        """What `bundle.json` records.

        With it goes how many of the photos the bundle had seen; photos of anything else are counted apart,
        because weights that the training started from may have learned them as classes of their own.

        Args:
            provenance: the photos that the weights have seen, if that is known.
        """
        classes = [photo for photo in self.photos if photo.label != self.dataset.other]
        others = [photo for photo in self.photos if photo.label == self.dataset.other]
        return {
            "data": last_name(self.dataset.name),  # a report is passed on
            "split_scheme": self.dataset.split_scheme,
            "split": self.split,
            "provenance": provenance.among(classes) if provenance else None,
            **({"other_provenance": provenance.among(others)} if provenance and others else {}),
            "formats": {name: evaluation.to_json() for name, evaluation in self.evaluations.items()},
        }


def warn_of_provenance(figures: Mapping[str, Any]) -> None:
    """Says so where the bundle has seen photos that it is evaluated on."""
    provenance, split = figures["provenance"], figures["split"]
    if provenance is None:
        text = "the bundle does not say which photos it was trained on; these may be among them."
    elif provenance["trained_on"] and split != "train":
        trained_on = provenance["trained_on"]
        text = f"{trained_on} of these photos were trained on; the accuracy looks better than it is."
    elif provenance["chosen_by"] and split not in ("train", "validation"):
        chosen_by = provenance["chosen_by"]
        text = f"{chosen_by} of these photos were used to choose something (temperature, epoch)."
    else:
        text = None
    if text:
        warn(text)
    for source, row in figures.get("rejection", {}).items():
        if row["trained_on"]:
            warn(
                f"{source}: {row['trained_on']} of {row['photos']} photos were trained on, as "
                "whatever class, so the detection rate may look better than it is."
            )


def separation(rule: RejectionRule, known: np.ndarray, unknown: np.ndarray) -> dict[str, float]:
    """How well the score tells photos of known classes from others.

    Args:
        rule: the bundle's.
        known: probabilities for photos of the classes, (photos, classes).
        unknown: probabilities for photos of anything else, (photos, classes).

    Returns:
        auroc: probability that a known photo scores over an unknown one, 0.5 for no separation;
        detection_rate: share of unknown photos that the rule rejects; false_rejection_rate: the same of known
        ones; tpr_at_5_percent_fpr: the share of unknown ones under the score that 5 % of the known are under,
        whatever the rule's threshold; photos: number of unknown ones.
    """
    others = np.sort(rule.score(unknown))
    under = [np.searchsorted(others, rule.score(known), side) for side in ("left", "right")]
    return {
        "auroc": float(np.mean(under) / len(others)),  # a tie counts half
        "detection_rate": float(rule.rejects(unknown).mean()),
        "tpr_at_5_percent_fpr": float(np.mean(rule.score(unknown) < np.quantile(rule.score(known), 0.05))),
        "false_rejection_rate": float(rule.rejects(known).mean()),
        "photos": len(unknown),
    }


def unknown_classes(classifier: Classifier, dataset: PhotoDataset, split: str) -> dict[str, dict[str, float]]:
    """How well photos of classes that the bundle does not know are told apart from those it knows.

    Args:
        classifier: a loaded bundle with a rule for unknown photos.
        dataset: has classes that the bundle knows and others, by name.
        split: "train", "validation" or "test".

    Returns:
        Unknown class -> figures of `separation`.

    Raises:
        UserError: the bundle has no such rule, or the data set has no class of one of the two kinds.
    """
    names, rule = classifier.bundle.manifest.class_names, classifier.bundle.manifest.rejection
    if not rule:
        raise UserError(f"{classifier.bundle.folder} has no rule for unknown photos; train it again.")
    photos = dataset.split(split)
    (probabilities,) = answers_to(photos, [classifier]).values()
    labels = np.array([photo.label for photo in photos])
    answers = {
        name: probabilities[labels == label]
        for label, name in enumerate(dataset.class_names)
        if label in labels
    }
    names = tuple(name for name in names if name != classifier.bundle.manifest.other_class)
    known = [rows for name, rows in answers.items() if name in names]
    unknown = {name: rows for name, rows in answers.items() if name not in names}
    if not known or not unknown:
        raise UserError(
            f"{dataset.name} has {'only' if known else 'no'} classes that the bundle knows "
            f"({', '.join(names)}); give a data set with known and unknown ones. A bundle that knows fewer "
            "comes from: python -m mobilevit_core train --without CLASS"
        )
    return {name: separation(rule, np.concatenate(known), rows) for name, rows in unknown.items()}
