"""A classifier for new classes, fitted before the network under it is trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import keras
import numpy as np

from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.data.splitting import in_turns
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.inference.runtimes import answers_in_batches
from mobilevit_core.messages import note, warn
from mobilevit_core.models.parts import backbone, classifier
from mobilevit_core.training.head import distinct, folds_for, is_uneven
from mobilevit_core.training.linear_probe import fit
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.transfer import Start

MOST = 2000  # photos that are looked at
MOST_MIRRORED = 96  # of these, that are looked at mirrored, too
# Length of a class's weights times that of the features, which a training can begin with.
STEEPEST = 30.0


@dataclass(frozen=True)
class WithClassifier:
    """Starting weights whose classifier is fitted to the photos before the training begins.

    Args:
        start: the weights.
        photos: the training photos; `MOST` of them are looked at, the same number of each class.
        rule: how a photo becomes the model's input.
        mirrors: whether the training mirrors photos, which some classes do not bear.
    """

    start: Start
    photos: Sequence[LabelledPhoto]
    rule: ResizeRule
    mirrors: bool = True
    # Kernel and bias once fitted: the finished weights may take their share of the start, too.
    _fitted: list[np.ndarray] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def provenance(self) -> list[Provenance]:
        """Of the weights."""
        return self.start.provenance

    def describe(self) -> dict[str, Any]:
        """Of the weights: the fitted classifier is part of the training."""
        return self.start.describe()

    def check(self, recipe: Recipe) -> None:
        """Raises a UserError unless these are weights of the recipe's network."""
        self.start.check(recipe)

    def copy_to(self, model: keras.Model, class_names: tuple[str, ...]) -> bool:
        """Gives a fresh model the weights; their classifier if it is for these classes, else a fitted one."""
        if not self.start.copy_to(model, class_names):
            if not self._fitted:
                self._fitted.extend(self._fit(model, class_names))
            classifier(model).set_weights(self._fitted)
        return True

    def _fit(self, model: keras.Model, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        photos, _ = distinct(self.photos)
        turns = in_turns(np.array([photo.label for photo in photos]))
        photos = [photos[place] for place in islice(turns, MOST)]
        note(f"first a classifier on these weights: {len(photos)} training photos are looked at.")
        labels = np.array([photo.label for photo in photos])
        folds, groups = folds_for(class_names, labels), np.arange(len(photos))
        features = self._features(model, photos)
        kernel, bias, _ = fit(features, labels, groups, folds, 0, is_uneven(labels))
        if self.mirrors:
            turned = self._features(model, photos[:MOST_MIRRORED], mirrored=True)
            for one, other in mirror_images(turned @ kernel + bias, labels[:MOST_MIRRORED]):
                warn(
                    f"mirrored photos of {class_names[one]!r} look like {class_names[other]!r} to this "
                    "classifier, and the other way round. If left and right tell them apart: --set flip=0"
                )
        return bounded(kernel, bias, features)

    def _features(
        self, model: keras.Model, photos: Sequence[LabelledPhoto], mirrored: bool = False
    ) -> np.ndarray:
        """What the model's classifier gets, (photos, features)."""
        step = -1 if mirrored else 1
        return answers_in_batches(
            backbone(model),
            lambda photo: preprocess(photo.source, self.rule, photo.name)[:, ::step],
            photos,
        )


def bounded(kernel: np.ndarray, bias: np.ndarray, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same classifier, the same best answers, with weights that are not too large to train on from.

    Photos of one scene differ in little, and what tells them apart is magnified: the training would
    begin with a loss of 40, because augmented images differ in more.

    Args:
        kernel: (features, classes).
        bias: (classes,).
        features: that it was fitted to, (photos, features).
    """
    steepness = np.linalg.norm(kernel - kernel.mean(axis=1, keepdims=True), axis=0).max()
    share = min(1.0, STEEPEST / max(steepness * np.linalg.norm(features, axis=1).mean(), 1e-9))
    return share * kernel, share * bias


def mirror_images(logits: np.ndarray, labels: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of labels of which each is mostly taken for the other.

    Args:
        logits: of mirrored photos, (photos, classes).
        labels: of the photos as they are, (photos,).
    """
    answers, taken = logits.argmax(axis=1), {}
    for label in np.unique(labels).tolist():
        counts = np.bincount(answers[labels == label])
        if counts.max() > counts.sum() / 2:
            taken[label] = int(counts.argmax())
    return [(one, other) for one, other in taken.items() if one < other and taken.get(other) == one]
