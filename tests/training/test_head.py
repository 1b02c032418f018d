"""A new classifier on the features of existing weights."""

import io
import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import mobilevit_core
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.weight_formats import tflite_formats
from mobilevit_core.cli import app
from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.calibration import softmax
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.inference.classifier import load_classifier
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.training import head, linear_probe
from mobilevit_core.training.features import Trunk, open_trunk
from mobilevit_core.training.first_classifier import WithClassifier
from mobilevit_core.training.head import FittedHead, fit_head
from mobilevit_core.training.transfer import StartingWeights
from tests.drawing import COLORS, draw_photo, noise_folder

NAMES = tuple(COLORS)


def images(per_class: int, first: int = 500) -> dict[str, list[np.ndarray]]:
    return {
        name: [np.asarray(draw_photo(color, first + 50 * k + n)) for n in range(per_class)]
        for k, (name, color) in enumerate(COLORS.items())
    }


@pytest.fixture(scope="module")
def trunk(shipped: Bundle) -> Trunk:
    return open_trunk(shipped)


@pytest.fixture(scope="module")
def fitted(trunk: Trunk) -> FittedHead:
    return fit_head(images(8), trunk)


@pytest.fixture(scope="module")
def written(fitted: FittedHead, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle, refused = fitted.write_bundle(tmp_path_factory.mktemp("head") / "bundle")
    assert not refused
    return bundle


def test_it_is_exported_by_the_package() -> None:
    assert mobilevit_core.fit_head is fit_head


def test_new_photos_are_answered(fitted: FittedHead) -> None:
    assert fitted.class_names == NAMES
    unseen = images(10, first=900)
    right = [
        fitted.class_names[fitted.probabilities(photo).argmax()] == name
        for name, photos in unseen.items()
        for photo in photos
    ]
    assert np.mean(right) >= 0.9
    low, high = fitted.interval
    assert low < fitted.accuracy <= high
    assert fitted.evaluation.probabilities.shape == (24, 3)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_bundle_answers_as_the_discriminant_does(trunk: Trunk, classes: int) -> None:
    """Standardizing, discriminant, scale and temperature in one layer give their own probabilities."""
    fitted = fit_head(dict(list(images(6).items())[:classes]), trunk)
    values = fitted.head.features.astype(np.float64)
    labels = np.repeat(range(classes), 6)
    deviation = np.maximum(values.std(axis=0), values.std(axis=0).mean() / linear_probe.FLATTEST)
    standard = (values - values.mean(axis=0)) / deviation
    means = np.stack([standard[labels == label].mean(axis=0) for label in range(classes)])
    apart = standard - means[labels]
    covariance = apart.T @ apart / len(apart)
    ball = np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
    shrunk = (1 - fitted.strength) * covariance + fitted.strength * ball
    directions = np.linalg.solve(shrunk, means.T)
    logits = standard @ directions - (means.T * directions).sum(axis=0) / 2
    kernel = fitted.head.kernel * deviation[:, None]
    scale = (kernel * directions).sum() / (directions**2).sum()
    assert scale * fitted.held_out.calibration.temperature == pytest.approx(
        min(linear_probe.SCALES, key=lambda one: abs(one - scale * fitted.held_out.calibration.temperature)),
        rel=1e-3,
    )
    expected = softmax(scale * logits)
    assert np.allclose(fitted.head.probabilities(fitted.head.features), expected, atol=1e-4)
    assert np.allclose(fitted.probabilities(fitted.photos[0].source), expected[0], atol=1e-4)


def test_accuracy_is_chance_where_the_labels_mean_nothing(trunk: Trunk) -> None:
    """Every photo is answered by a classifier that never saw it."""
    photos = [photo for members in images(20).values() for photo in members]
    random = np.random.default_rng(0).permutation(len(photos))
    mixed = {str(k): [photos[i] for i in random[k::2]] for k in range(2)}
    fitted = fit_head(mixed, trunk)
    assert 0.25 < fitted.accuracy < 0.75
    assert fitted.interval[0] < 0.5 < fitted.interval[1]


def test_every_photo_is_read_once(trunk: Trunk, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(head, "preprocess", lambda *given: read.append(given) or preprocess(*given))
    fit_head(images(3), trunk)
    assert len(read) == 9


def test_copies_stay_in_one_fold(trunk: Trunk, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    photos = {name: [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(6)] for name in NAMES}
    twice = {name: own + [np.maximum(one, 2) for one in own] for name, own in photos.items()}
    given = []
    left_out = head.left_out
    monkeypatch.setattr(head, "left_out", lambda *values: given.append(values) or left_out(*values))
    assert len(fit_head(twice, trunk).photos) == 36
    ((_, labels, groups, folds, seed, _),) = given
    parts = linear_probe.folds_of(labels, groups, folds, seed)
    assert folds == head.FOLDS and set(parts) == set(range(folds))
    for fold in range(folds):
        answered = np.flatnonzero(parts == fold).tolist()
        assert {n + 6 if n % 12 < 6 else n - 6 for n in answered} == set(answered)
        assert set(labels[parts != fold]) == {0, 1, 2}


def test_folds_are_even() -> None:
    labels = np.repeat([0, 1, 2], [20, 21, 5])
    parts = linear_probe.folds_of(labels, np.arange(46), 5, seed=1)
    counts = [np.bincount(parts[labels == label], minlength=5) for label in range(3)]
    assert [(row.min(), row.max()) for row in counts] == [(4, 4), (4, 5), (1, 1)]


def test_a_class_of_one_image_is_told(trunk: Trunk) -> None:
    rng = np.random.default_rng(0)
    one, *others = (rng.integers(0, 250, (64, 64, 3), np.uint8) for _ in range(5))
    photos = {"a": [one + n for n in range(4)], "b": others}
    (note,) = fit_head(photos, trunk).data["notes"]
    assert note.startswith("nearly all photos of 'a' show the same scene")


def test_a_photo_counts_once(trunk: Trunk) -> None:
    photos = images(4)
    photos["red"] += photos["red"]
    assert len(fit_head(photos, trunk).photos) == 12
    photos["blue"].append(photos["red"][0])  # a contradiction: neither is used
    fitted = fit_head(photos, trunk)
    assert len(fitted.photos) == 11
    (note,) = fitted.data["notes"]
    assert note.startswith("photo 5 of 'blue' and photo 1 of 'red' are the same photo in two")


def test_files_bytes_and_images_are_taken(trunk: Trunk, tmp_path: Path) -> None:
    photos: dict[str, list] = images(3)
    path = tmp_path / "a.png"
    Image.fromarray(photos["red"][0]).save(path)
    photos["red"] = [path, path.with_name("b.png"), Image.fromarray(photos["red"][2])]
    Image.fromarray(images(3)["red"][1]).save(photos["red"][1])
    Image.fromarray(photos["blue"][0]).save(tmp_path / "blue.png")
    photos["blue"][0] = (tmp_path / "blue.png").read_bytes()
    with pytest.raises(UserError, match="b2.png"):
        fit_head({**photos, "red": [*photos["red"], tmp_path / "b2.png"]}, trunk)
    assert fit_head(photos, trunk).class_names == NAMES


def test_what_is_too_little_is_told(trunk: Trunk) -> None:
    photos = images(3)
    with pytest.raises(UserError, match="Class 'red' has 2 different photos"):
        fit_head({**photos, "red": photos["red"][:2]}, trunk)
    with pytest.raises(UserError, match="1 class names"):
        fit_head({"red": photos["red"]}, trunk)
    with pytest.raises(UserError, match="photo 1 of 'red'"):
        fit_head({**photos, "red": [b"no photo", *photos["red"]]}, trunk)
    with pytest.raises(UserError, match="no bundle folder"):
        fit_head(photos, "nowhere")


@pytest.mark.usefixtures("tiny", "one_format")
def test_a_folder_with_splits_is_evaluated_again(small_bundle: Bundle, tmp_path: Path) -> None:
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        noise_folder(tmp_path / "photos" / split, {"red": count, "blue": count}, seed=count + len(split))
    run = ["train", "--recipe", "head", str(tmp_path / "photos"), "--run", str(tmp_path / "run")]
    result = CliRunner().invoke(app, [*run, "--weights", str(small_bundle.folder)])
    assert result.exit_code == 0, result.output
    bundle = open_bundle(tmp_path / "run" / "bundle")
    assert bundle.manifest.recipe["split_scheme"] == "folders"
    assert mobilevit_core.evaluate(bundle, format="keras").figures["split"] == "test"
    report = json.loads((tmp_path / "run" / "bundle" / "report" / "report.json").read_text())
    assert (report["robustness"]["split"], report["robustness"]["photos"]) == ("test", 8)


def test_a_bundle_is_opened_with_its_rule_and_history(trunk: Trunk, shipped: Bundle) -> None:
    assert trunk.rule == shipped.manifest.rule
    assert trunk.origin["data"] == shipped.manifest.data
    image = preprocess(images(1)["red"][0], trunk.rule)
    model = keras.models.load_model(shipped.weights("keras"), compile=False)
    expected = keras.Model(model.input, model.get_layer("logits").input)(image[None]).numpy()
    assert np.allclose(trunk.features(image), expected, atol=1e-4)


def test_weights_without_files_are_converted_once(
    small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Keras weights alone, and released ones, come out of the cache the second time."""
    monkeypatch.setenv("MOBILEVIT_CACHE", str(tmp_path / "cache"))
    alone = shutil.copytree(small_bundle.folder, tmp_path / "alone")
    for path in alone.glob("*.tflite"):
        path.unlink()
    photos = images(3)["red"]
    first = open_trunk(alone, photos=photos)
    assert "are converted once" in capsys.readouterr().err and set(first.files) == set(tflite_formats())
    monkeypatch.setattr("mobilevit_core.conversion.export.convert", None)
    again = open_trunk(alone, photos=photos)
    assert again.files == first.files and again.keras == first.keras
    assert capsys.readouterr().err == ""
    image = preprocess(photos[0], first.rule)
    assert np.allclose(first.features(image), open_trunk(small_bundle).features(image), atol=1e-5)


def test_the_bundle_answers_like_the_model(written: Bundle, fitted: FittedHead, shipped: Bundle) -> None:
    manifest = open_bundle(written.folder).manifest
    assert manifest.formats == shipped.manifest.formats
    assert manifest.start["data"] == shipped.manifest.data
    assert manifest.metrics["cross-validation"]["formats"]["float32"]["accuracy"] == fitted.accuracy
    assert manifest.rejection.photos == 24
    photo = images(1, first=990)["green"][0]
    answer = load_classifier(written.folder, "float32").probabilities(photo)
    assert np.allclose(answer, fitted.probabilities(photo), atol=1e-6)
    by_keras = load_classifier(written.folder, "keras").probabilities(photo)
    assert np.allclose(by_keras, answer, atol=1e-4)
    assert len(written.provenance.train) == 24 + len(shipped.provenance.train)


@pytest.mark.usefixtures("tiny", "one_format")
def test_the_command_line_trains_a_head(photo_folder: Path, small_bundle: Bundle, tmp_path: Path) -> None:
    run = ["train", "--recipe", "head", str(photo_folder), "--run", str(tmp_path / "run")]
    run += ["--weights", str(small_bundle.folder), "--set", "split_scheme=default"]
    result = CliRunner().invoke(app, run)
    assert result.exit_code == 0, result.output
    assert "by cross-validation on 27 photos" in result.stdout
    bundle = open_bundle(tmp_path / "run" / "bundle")
    dataset = load_dataset(str(photo_folder))
    assert bundle.provenance.among(dataset.split("test")) == {"trained_on": 0, "chosen_by": 0}
    assert Measured.of([load_classifier(bundle.folder)], dataset, "test").first.accuracy == 1
    again = CliRunner().invoke(app, run)
    assert again.exit_code == 0 and again.stdout == result.stdout
    for extra, message in (
        (["--teacher", str(small_bundle.folder)], "takes no --teacher"),
        (["--set", "batch_size=3"], "no value 'batch_size'"),
    ):
        refused = CliRunner().invoke(app, [*run, *extra])
        assert refused.exit_code == 2
        assert message in refused.output


def test_a_classifier_is_fitted_before_the_network_is_trained(shipped: Bundle) -> None:
    """The model that a training starts from answers new classes, and keeps a classifier of the same ones."""
    photos = [
        LabelledPhoto(f"{name}/{number}", label, png(photo))
        for label, (name, members) in enumerate(images(8).items())
        for number, photo in enumerate(members)
    ]
    start = WithClassifier(StartingWeights(shipped), photos, ResizeRule(64))
    assert start.describe() == StartingWeights(shipped).describe()
    model = create_mobilevit(num_classes=3, image_size=64)
    start.copy_to(model, NAMES)
    stack = np.stack([photo for members in images(10, first=900).values() for photo in members])
    inputs = np.stack([preprocess(image, ResizeRule(64)) for image in stack])
    answers = model.predict(inputs, verbose=0).argmax(axis=1)
    assert np.mean(answers == np.repeat(range(3), 10)) >= 0.9
    again = create_mobilevit(num_classes=3, image_size=64)
    start.copy_to(again, NAMES)  # as for the start's share in the finished weights
    assert all(map(np.array_equal, again.get_weights(), model.get_weights()))
    same = create_mobilevit(num_classes=len(shipped.manifest.class_names), image_size=64)
    start.copy_to(same, shipped.manifest.class_names)
    expected = keras.models.load_model(shipped.weights("keras"), compile=False).get_layer("logits")
    assert np.array_equal(same.get_layer("logits").kernel, expected.kernel)


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_class_with_few_photos_counts_as_much_as_the_others() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [240, 12])
    values = random.normal(size=(252, 4)) + 1.2 * labels[:, None]
    assert head.is_uneven(labels) and not head.is_uneven(np.repeat([0, 1], [36, 12]))
    found = {}
    for balanced in (False, True):
        kernel, bias, _ = linear_probe.fit(values, labels, np.arange(252), 5, 0, balanced)
        found[balanced] = ((values @ kernel + bias).argmax(axis=1)[labels == 1] == 1).mean()
    assert found[False] < 0.5 < 0.75 <= found[True]
