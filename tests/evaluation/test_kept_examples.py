"""The photos that come with a bundle: held out, right answers and one wrong one."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.examples import bundle_examples
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.evaluation.examples import write_examples
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.inference.classifier import load_classifier


def test_six_held_out_photos_one_of_them_wrong(
    small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    bundle = open_bundle(shutil.copytree(small_bundle.folder, tmp_path / "bundle"))
    classifier = load_classifier(bundle)
    dataset = load_dataset(str(photo_folder))
    held_out = (*dataset.split("validation"), *dataset.split("test"))
    # One photo with the label of another class, so that the network is wrong about one.
    held_out = (*held_out[:-1], replace(held_out[-1], label=(held_out[-1].label + 1) % 3))
    dataset = replace(dataset, splits={**dataset.splits, "test": held_out})
    measured = Measured.of([classifier], dataset, "test")
    assert (measured.first.answers != measured.first.labels).any()
    write_examples(classifier, measured)
    answers, kept = [], bundle_examples(bundle)
    for path, row in kept:
        answer = classifier.predict(path)
        answers.append(answer.label == row.label and not answer.unknown)
        assert not row.trained_on
    assert 3 <= len(kept) <= 6
    assert answers.count(False) == 1 and answers.index(False) == 2
    labels = np.array([row.label for _, row in kept])[answers]
    assert len(set(labels[:3])) == 3  # one of every class before a second of any
