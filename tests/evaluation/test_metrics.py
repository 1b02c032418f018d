from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.metrics import Evaluation, Measured, labels_for
from mobilevit_core.images.preprocessing import preprocess
from mobilevit_core.inference import classifier as classifier_module
from mobilevit_core.inference.classifier import load_formats
from mobilevit_core.inference.latency import TURN, WARMUP, measure


def test_figures_of_a_known_case() -> None:
    labels = np.array([0] * 6 + [1] * 4)
    answers = np.array([0] * 5 + [1] + [1] * 3 + [0])
    result = Evaluation(("cat", "dog"), labels, np.eye(2)[answers])
    assert result.accuracy == 0.8
    low, high = result.interval  # Wilson, 8 of 10: (0.490, 0.943)
    assert (low, high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    figures = result.to_json()
    assert figures["confusion"] == [[5, 1], [1, 3]]
    assert figures["per_class"]["cat"] == {"precision": 5 / 6, "recall": 5 / 6, "photos": 6}
    assert figures["per_class"]["dog"]["precision"] == 0.75


def test_labels_are_matched_by_name_not_by_order(small_bundle: Bundle, photo_folder: Path) -> None:
    classifier = load_classifier(small_bundle.folder)
    dataset = load_dataset(str(photo_folder))
    result = Measured.of([classifier], dataset, "test").first
    turned = {
        "test": tuple(type(p)(p.name, 2 - p.label, p.source) for p in dataset.split("test")),
    }
    other = PhotoDataset("turned", "default", dataset.class_names[::-1], turned)
    assert np.array_equal(Measured.of([classifier], other, "test").first.labels, result.labels)
    foreign = PhotoDataset("foreign", "default", ("blue", "purple", "red"), dataset.splits)
    with pytest.raises(UserError, match="does not know: purple"):
        Measured.of([classifier], foreign, "test")


def test_a_photo_is_decoded_once_for_all_formats(
    small_bundle: Bundle, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, decoded = load_dataset(str(photo_folder)), []

    def counted(photo: object, *rest: object) -> np.ndarray:
        decoded.append(photo)
        return preprocess(photo, *rest)

    monkeypatch.setattr(classifier_module, "preprocess", counted)
    together = Measured.of(load_formats(small_bundle, ["float32", "int8"]), dataset, "test").evaluations
    assert len(decoded) == len(dataset.split("test")) == 3
    for name, result in together.items():
        alone = Measured.of([load_classifier(small_bundle.folder, name)], dataset, "test").first
        assert np.array_equal(result.probabilities, alone.probabilities)


def test_latencies_are_measured_in_turns_after_untimed_calls() -> None:
    calls: list[str] = []
    functions = {name: partial(calls.append, name) for name in "ab"}
    latencies = measure(functions, {"a": 1, "b": 2}, runs=TURN + 2, rest=0)
    full, rest = WARMUP + TURN, WARMUP + 2
    assert "".join(calls) == "a" * full + "b" * full + "a" * rest + "b" * rest
    assert latencies["b"].threads == 2 and latencies["a"].runs == TURN + 2
    assert 0 < latencies["a"].p50 <= latencies["a"].p95


def test_classes_are_found_in_another_spelling() -> None:
    data = PhotoDataset("photos", "default", ("G\u00e4nse", "t-shirt"), {})
    assert labels_for(data, ("T shirt", "Ga\u0308nse")) == {0: 1, 1: 0}
    assert labels_for(data, ("t-shirt", "T-Shirt", "G\u00e4nse")) == {0: 2, 1: 0}  # as it is, if it is there
    with pytest.raises(UserError, match="does not know: t-shirt"):
        labels_for(data, ("G\u00e4nse", "hat"))
