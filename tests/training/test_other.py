"""A class "none of these" from a folder to an answer."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.cli import app
from mobilevit_core.data.dataset import NONE_OF_THESE, OTHER_FOLDER, LabelledPhoto, PhotoDataset
from mobilevit_core.data.provenance import DIGITS, Provenance
from mobilevit_core.evaluation.metrics import Evaluation, Measured
from mobilevit_core.inference.answer import Answer
from tests.drawing import draw_folder, noise_folder
from tests.networks import float32_alone, tiny_networks


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on drawn discs in three colours, and noise as what is none of them."""
    folder = tmp_path_factory.mktemp("other")
    photos = draw_folder(folder / "photos", 20)
    noise_folder(photos, {f"{OTHER_FOLDER}/clouds": 30})
    more = noise_folder(folder / "more", {"": 20, "reds": 5}, 7)
    values = ["stages=64:2", "batch_size=8", "mix=0", "ema_decay=0.9", "warmup_epochs=0.5"]
    settings = [word for value in values for word in ("--set", value)]
    command = ["train", photos, "--recipe", "default", "--run", folder / "run", *settings]
    with tiny_networks(), float32_alone():
        result = run(*command, "--other", more, "--data-weight", f"{more}=2")
    assert result.exit_code == 0, result.output
    assert "none of these" in result.stderr and "left out of 'none of these' by name: reds" in result.stderr
    return folder


def test_the_bundle_knows_which_class_it_is(trained: Path) -> None:
    manifest = open_bundle(trained / "run" / "bundle").manifest
    assert manifest.class_names == ("blue", "green", "red", NONE_OF_THESE)
    assert (manifest.other_class, manifest.other, manifest.rejection.other) == (NONE_OF_THESE, 3, 3)
    sources = [(Path(row["data"]).name, row["other"], row["weight"]) for row in manifest.data["sources"]]
    assert sources == [("photos", False, 1.0), (OTHER_FOLDER, True, 1.0), ("more", True, 2.0)]
    figures = manifest.metrics["validation"]["formats"]["float32"]
    assert set(figures["per_class"]) == {"blue", "green", "red"}
    assert figures["photos"] == 6 and figures["other"]["photos"] == 5
    assert np.shape(figures["confusion"]) == (4, 4)


def test_prediction_says_it_in_words(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, photo = trained / "run" / "bundle", trained / "photos" / OTHER_FOLDER / "clouds" / "000.jpg"
    shown = run("predict", bundle, photo).stdout
    assert "none of these" in shown and OTHER_FOLDER not in shown.replace(str(photo), "")
    manifest = load_classifier(bundle).bundle.manifest
    assert Answer.of(np.array([0.05, 0.05, 0, 0.9]), manifest, "keras").unknown
    assert not Answer.of(np.array([0, 0, 0.9, 0.1]), manifest, "keras").unknown
    answer = json.loads(run("predict", bundle, photo, "--json").stdout)["photos"][str(photo)]
    assert answer["unknown"] or answer["predictions"][0]["label"] != NONE_OF_THESE


def test_evaluation_finds_the_same_photos_again(trained: Path) -> None:
    bundle = trained / "run" / "bundle"
    result = run("evaluate", bundle, "--format", "float32", "--json")
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert figures["provenance"] == {"trained_on": 0, "chosen_by": 0}
    assert figures["formats"]["float32"]["other"]["photos"] == 5


def test_seen_photos_of_other_things_are_counted_apart() -> None:
    photos = tuple(LabelledPhoto(str(n), label, bytes([n])) for n, label in enumerate((0, 1, 1, 1)))
    dataset = PhotoDataset(
        "cats", "folders", ("cat", NONE_OF_THESE), {"test": photos}, other_class=NONE_OF_THESE
    )
    start = Provenance(train=frozenset(photo.sha256[:DIGITS] for photo in photos[2:]))
    figures = Measured(dataset, "test", {}).figures(start)
    assert figures["provenance"] == {"trained_on": 0, "chosen_by": 0}
    assert figures["other_provenance"] == {"trained_on": 2, "chosen_by": 0}


def test_a_rejected_photo_is_a_mistake() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    answers = np.array([0, 2, 1, 2, 2, 0])
    result = Evaluation(("cat", "dog", NONE_OF_THESE), labels, np.eye(3)[answers], other=2)
    assert result.accuracy == pytest.approx(2 / 3)
    figures = result.to_json()
    assert figures["closed_set_accuracy"] == 1  # the cat that is called none of these is a cat before a dog
    assert figures["photos"] == 3 and figures["per_class"]["cat"]["recall"] == 0.5
    assert figures["other"] == {"photos": 3, "detection_rate": pytest.approx(2 / 3)}


def test_the_rule_rejects_whatever_the_network_rejects() -> None:
    confidence = np.linspace(0.4, 0.9, 400)
    known = np.stack([confidence, (1 - confidence) / 2, (1 - confidence) / 2], axis=1)
    rule = RejectionRule.fit(known, other=2)
    assert rule.false_rejection_rate == pytest.approx(0.05)
    assert rule.rejects(np.array([0.3, 0.1, 0.6])) and not rule.rejects(np.array([0.6, 0.1, 0.3]))
    assert RejectionRule(**{k: v for k, v in rule.to_json().items() if k != "score"}) == rule
    known[:80] = (0.2, 0.1, 0.7)  # the network itself rejects a fifth: the threshold adds none
    rule = RejectionRule.fit(known, other=2)
    assert rule.false_rejection_rate == pytest.approx(0.2)
    assert np.allclose(rule.score(known[:1]), 0.2)
