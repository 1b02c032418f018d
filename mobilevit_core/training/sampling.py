"""How often each photo is drawn: weights of sources, balance of classes, share of "none of these"."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.training.recipes import Recipe, balances


@dataclass(frozen=True)
class Sampling:
    """What an epoch draws.

    Attributes:
        expected: how often each training photo is drawn per epoch on average, float64 (photos,);
            None for exactly once each.
        strata: int (photos,); each stratum, one class of one source, has its expected number in every epoch.
        other: boolean (photos,), which photos show none of the classes; they are spread evenly over the
            epoch, so that every batch has its share.
        epoch_photos: photos per epoch.
    """

    expected: np.ndarray | None
    strata: np.ndarray
    other: np.ndarray
    epoch_photos: int

    @classmethod
    def uniform(cls, count: int) -> "Sampling":
        """Every photo once per epoch."""
        return cls(None, np.zeros(count, int), np.zeros(count, bool), count)

    @classmethod
    def of(cls, dataset: PhotoDataset, recipe: Recipe) -> "Sampling":
        """As the data set's sources and the recipe's `balance`, `other_share` and `epoch_photos` say.

        An epoch has as many photos of the classes as the training split, and others on top.
        """
        photos, other = dataset.splits["train"], dataset.other
        labels = np.array([photo.label for photo in photos])
        wanted = np.ones(len(photos), bool) if other is None else labels != other
        balanced = balances(dataset, recipe)
        weights = _source_weights(photos, dataset)
        if other is None and not balanced and not recipe.epoch_photos and len(set(weights[wanted])) == 1:
            return cls.uniform(len(photos))
        share = recipe.other_share if other is not None else 0.0
        count = recipe.epoch_photos or round(wanted.sum() / (1 - share))
        of_classes = round(count * (1 - share)) if recipe.epoch_photos else int(wanted.sum())
        expected = np.zeros(len(photos))
        groups = labels[wanted] if balanced else np.zeros(wanted.sum(), int)
        expected[wanted] = _shares(weights[wanted], groups) * of_classes
        if share:
            expected[~wanted] = _other_shares(photos, ~wanted, weights) * (count - of_classes)
        return cls(expected, _strata(photos), ~wanted, count)

    def draw(self, seed: tf.Tensor) -> tf.Tensor:
        """The photos of one epoch in the order of their batches.

        Args:
            seed: int32 (2,).

        Returns:
            int32 (epoch_photos,): indices. Each photo comes as often as expected, up or down to a whole
            number.
        """
        count = len(self.strata)
        if self.expected is None:
            return tf.random.experimental.stateless_shuffle(tf.range(count), seed)
        seeds = tf.random.split(seed, 3)
        order = tf.random.experimental.stateless_shuffle(tf.range(count), seeds[0])
        strata = tf.constant(self.strata, tf.int32)
        order = tf.gather(order, tf.argsort(tf.gather(strata, order), stable=True))
        # Systematic sampling: marks at a distance of 1 on a line where each photo has its length.
        ends = tf.cumsum(tf.gather(tf.constant(self.expected), order))
        ends = ends * (self.epoch_photos / ends[-1])
        offset = tf.random.stateless_uniform((), seeds[1], dtype=tf.float64)
        marks = tf.cast(tf.floor(ends + offset), tf.int32)
        times = marks - tf.concat([[0], marks[:-1]], axis=0)
        return self._spread(tf.repeat(order, times), seeds[2])

    def _spread(self, drawn: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """Shuffles what was drawn, "none of these" and the classes each spread evenly over the epoch."""
        drawn = tf.random.experimental.stateless_shuffle(drawn, seed)
        of_other = tf.gather(tf.constant(self.other), drawn)
        place = tf.zeros(tf.shape(drawn), tf.float64)
        for which in (of_other, tf.logical_not(of_other)):
            inside = tf.cast(which, tf.float64)
            place += inside * (tf.cumsum(inside) - 0.5) / tf.maximum(tf.reduce_sum(inside), 1)
        return tf.gather(drawn, tf.argsort(place, stable=True))


def _strata(photos: Sequence[LabelledPhoto]) -> np.ndarray:
    """Class and source of each photo as one number, by class first."""
    pairs = sorted({(photo.label, photo.origin) for photo in photos})
    numbers = {pair: number for number, pair in enumerate(pairs)}
    return np.array([numbers[photo.label, photo.origin] for photo in photos])


def _source_weights(photos: Sequence[LabelledPhoto], dataset: PhotoDataset) -> np.ndarray:
    weights = {source.data: source.weight for source in dataset.sources}
    return np.array([weights.get(photo.origin, 1.0) for photo in photos])


def _shares(weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Shares that add up to 1: every group the same, inside of it by weight."""
    _, numbers = np.unique(groups, return_inverse=True)
    totals = np.bincount(numbers, weights)
    return weights / totals[numbers] / len(totals)


def _other_shares(photos: Sequence[LabelledPhoto], chosen: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Shares that add up to 1: every source by its weight, its photos alike."""
    _, numbers = np.unique(
        [p.origin for p, yes in zip(photos, chosen, strict=True) if yes], return_inverse=True
    )
    sizes = np.bincount(numbers)
    shares = weights[chosen] / sizes[numbers]
    return shares / shares.sum()
