"""Rejection of photos of anything else, measured: out-of-distribution (OOD) sources that people name."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilevit_core.data.loading import load_unlabelled
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.metrics import Evaluation, answers_to, separation
from mobilevit_core.inference.classifier import Classifier

MOST = 1000  # photos of one source, evenly over its classes' order


def rejection_by_source(
    classifier: Classifier, known: Evaluation, sources: Sequence[str]
) -> dict[str, dict[str, float | None]]:
    """How well each source's photos are told apart from those of the classes.

    Args:
        classifier: a loaded bundle.
        known: its evaluation on photos of its classes.
        sources: folders or names in tensorflow-datasets, whose photos show none of the classes.

    Returns:
        Source, a folder by its last name -> figures of `separation`, and "trained_on": how many of the
        photos the weights, or those that they started from, were trained on as whatever class; None
        where the bundle does not tell.

    Raises:
        UserError: the bundle has no rejection rule, or a source has no photos.
    """
    rule = classifier.bundle.manifest.rejection
    if rule is None:
        raise UserError(f"{classifier.bundle.folder} has no rejection rule; train it again.")
    answers = known.probabilities[known.wanted]
    names = [Path(source).name if Path(source).is_dir() else source for source in sources]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise UserError(f"Two sources are called {min(twice)}. Rename one of the folders.")
    provenance, rows = classifier.bundle.provenance, {}
    for name, source in zip(names, sources, strict=True):
        photos = load_unlabelled([source]).splits["train"]
        evenly = np.linspace(0, len(photos) - 1, min(len(photos), MOST)).astype(int)
        photos = [photos[index] for index in evenly]
        (others,) = answers_to(photos, [classifier], f"Reading {source}").values()
        seen = provenance.among(photos)["trained_on"] if provenance else None
        rows[name] = {**separation(rule, answers, others), "trained_on": seen}
    return rows
