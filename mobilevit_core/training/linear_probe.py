"""A linear classifier on features, in closed form: linear discriminant analysis with a shrunk covariance.

All classes share one covariance of the standardized features. Few photos tell it badly, so it is drawn
towards the same variance in all directions (Friedman 1989, "Regularized Discriminant Analysis"). How far, and
how sure the answers are to be, is chosen by the log-likelihood of photos that were left out.
"""

from collections.abc import Iterator

import numpy as np

from mobilevit_core.evaluation.calibration import softmax

SHRINKAGES = (
    0.05,
    0.1,
    0.2,
    0.4,
    0.6,
    0.8,
    0.95,
)  # 1: the directions count by the distance of the means alone
SCALES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)  # of the logits; too many features make them too sure
INNER_FOLDS = 3  # for the choice, inside of the photos that a classifier is fitted on
FLATTEST = 100  # times less than the mean deviation, under which a feature counts as if it had that
SMALLEST = 1e-6  # probability, before a logarithm


def fit(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, balanced: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """Fits a classifier.

    Args:
        features: (photos, features).
        labels: int (photos,), each class at least twice in groups of its own.
        groups: int (photos,): those of one group stay in one fold.
        folds: of the cross-validation that the choice is made by.
        seed: of the folds.
        balanced: every class counts as much as any other, not every photo.

    Returns:
        Kernel (features, classes), bias (classes,), and the chosen shrinkage.
    """
    features, indices = features.astype(np.float64), np.arange(len(labels))
    logits = np.zeros((len(SHRINKAGES), len(labels), labels.max() + 1))
    parts = folds_of(labels, groups, folds, seed)
    for fold in range(folds):
        rest, out = indices[parts != fold], indices[parts == fold]
        for place, (kernel, bias) in enumerate(_solutions(features[rest], labels[rest], balanced)):
            logits[place, out] = features[out] @ kernel + bias
    weights = _weights(labels, balanced)
    losses = [
        [-np.log(np.maximum(softmax(scale * rows)[indices, labels], SMALLEST)) @ weights for scale in SCALES]
        for rows in logits
    ]
    shrinkage, scale = np.unravel_index(np.argmin(losses), np.shape(losses))
    kernel, bias = list(_solutions(features, labels, balanced))[shrinkage]
    return kernel * SCALES[scale], bias * SCALES[scale], SHRINKAGES[shrinkage]


def left_out(
    features: np.ndarray, labels: np.ndarray, groups: np.ndarray, folds: int, seed: int, balanced: bool
) -> np.ndarray:
    """Probabilities of every photo by a classifier that never saw it: (photos, classes).

    Args:
        features: see `fit`.
        labels: see `fit`.
        groups: see `fit`.
        folds: how many classifiers there are.
        seed: see `fit`.
        balanced: see `fit`.
    """
    probabilities = np.zeros((len(labels), labels.max() + 1))
    parts, inner = folds_of(labels, groups, folds, seed), min(INNER_FOLDS, max(folds - 1, 2))
    for fold in range(folds):
        rest, out = parts != fold, parts == fold
        kernel, bias, _ = fit(features[rest], labels[rest], groups[rest], inner, seed, balanced)
        probabilities[out] = softmax(features[out] @ kernel + bias)
    return probabilities


def folds_of(labels: np.ndarray, groups: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The fold of each photo, int (photos,): classes evenly, groups whole."""
    random, parts = np.random.default_rng(seed), np.zeros(len(labels), int)
    counts = np.zeros((folds, labels.max() + 1), int)
    names, sizes = np.unique(groups, return_counts=True)
    order = random.permutation(len(names))
    for name in names[order[np.argsort(-sizes[order], kind="stable")]]:  # the largest first
        members = np.flatnonzero(groups == name)
        own = np.bincount(labels[members], minlength=counts.shape[1])
        fold = min(range(folds), key=lambda fold: (counts[fold] @ own, counts[fold].sum()))
        parts[members] = fold
        counts[fold] += own
    return parts


def _weights(labels: np.ndarray, balanced: bool) -> np.ndarray:
    """How much each photo counts; together 1."""
    counts = np.bincount(labels)[labels]
    return 1 / counts / len(np.unique(labels)) if balanced else np.full(len(labels), 1 / len(labels))


def _solutions(
    features: np.ndarray, labels: np.ndarray, balanced: bool
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Kernel (features, classes) and bias (classes,) for each of `SHRINKAGES`."""
    weights, members = _weights(labels, balanced), np.eye(labels.max() + 1)[labels]
    centre = weights @ features
    deviation = np.sqrt(weights @ (features - centre) ** 2)
    # What hardly ever changes would get weights that leave no bits of int8 for the others.
    deviation = np.maximum(deviation, deviation.mean() / FLATTEST + 1e-9)
    standard = (features - centre) / deviation
    shares = weights @ members
    means = (members * weights[:, None]).T @ standard / shares[:, None]
    apart = standard - means[labels]
    variances, directions = np.linalg.eigh((apart * weights[:, None]).T @ apart)
    turned = means @ directions
    for shrinkage in SHRINKAGES:
        shrunk = (1 - shrinkage) * variances + shrinkage * variances.mean()
        kernel = directions @ (turned / shrunk).T
        bias = np.log(shares) - (means.T * kernel).sum(axis=0) / 2
        kernel = kernel / deviation[:, None]
        yield kernel, bias - centre @ kernel
