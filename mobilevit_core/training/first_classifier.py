"""A classifier for new classes, fitted before the network under it is trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import keras
import numpy as np

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.messages import note
from mobilevit_core.models.released_weights import HEAD
from mobilevit_core.training.head import Example, distinct, folds_for, in_turns, is_uneven
from mobilevit_core.training.linear_probe import fit
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.transfer import Start

MOST = 2000  # photographs that are looked at
BATCH = 32


@dataclass(frozen=True)
class WithClassifier:
    """Starting weights whose classifier is fitted to the photographs before the training begins.

    Args:
        start: the weights.
        photos: the training photographs; `MOST` of them are looked at, the same number of each class.
        rule: how a photograph becomes the model's input.
    """

    start: Start
    photos: Sequence[LabelledPhoto]
    rule: ResizeRule
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

    def copy_to(self, model: keras.Model, class_names: tuple[str, ...]) -> None:
        """Gives a fresh model the weights; their classifier if it is for these classes, else a fitted one."""
        self.start.copy_to(model, class_names)
        if self.start.knows(class_names):
            return
        if not self._fitted:
            self._fitted.extend(self._fit(model, class_names))
        model.get_layer(HEAD).set_weights(self._fitted)

    def _fit(self, model: keras.Model, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        photos, _ = distinct(
            [Example(photo.source, photo.label, photo.sha256, photo.name) for photo in self.photos]
        )
        turns = in_turns(np.array([photo.label for photo in photos]))
        photos = [photos[place] for place in islice(turns, MOST)]
        note(f"first a classifier on these weights: {len(photos)} training photographs are looked at.")
        labels = np.array([photo.label for photo in photos])
        folds, groups = folds_for(class_names, labels), np.arange(len(photos))
        kernel, bias, _ = fit(self._features(model, photos), labels, groups, folds, 0, is_uneven(labels))
        return kernel, bias

    def _features(self, model: keras.Model, photos: Sequence[Example]) -> np.ndarray:
        """What the model's classifier gets, (photographs, features); batch by batch, to keep memory small."""
        network, size = keras.Model(model.input, model.get_layer(HEAD).input), self.rule.image_size
        images = in_order(lambda photo: preprocess(photo.source, self.rule, photo.name), photos)
        batch, features = np.zeros((BATCH, size, size, 3), np.float32), []
        for start in range(0, len(photos), BATCH):
            count = min(BATCH, len(photos) - start)  # always a full batch: another size is compiled anew
            batch[:count] = np.stack(list(islice(images, count)))
            features.append(network.predict_on_batch(batch)[:count])
        return np.concatenate(features)
