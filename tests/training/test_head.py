"""A new classifier on the features of existing weights."""

import io
import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import cross_val_predict
from typer.testing import CliRunner

import mobilevit_core
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.cli import app
from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.metrics import evaluate
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.inference.classifier import load_classifier
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.training import head
from mobilevit_core.training.features import FeatureCache, Network, open_network
from mobilevit_core.training.head import FittedHead, fit_head
from mobilevit_core.training.transfer import StartingWeights
from tests.drawing import COLORS, draw_photo, noise_folder

NAMES = tuple(COLORS)


def pictures(per_class: int, first: int = 500) -> dict[str, list[np.ndarray]]:
    return {
        name: [np.asarray(draw_photo(color, first + 50 * k + n)) for n in range(per_class)]
        for k, (name, color) in enumerate(COLORS.items())
    }


@pytest.fixture(scope="module")
def network(shipped: Bundle) -> Network:
    """The shipped network at 64 px."""
    model = create_mobilevit(num_classes=len(shipped.manifest.class_names), image_size=64)
    start = StartingWeights(shipped)
    start.copy_to(model, shipped.manifest.class_names)
    return Network(model, ResizeRule(64), "paper", "xxs", start.describe(), tuple(start.provenance))


@pytest.fixture(scope="module")
def fitted(network: Network) -> FittedHead:
    return fit_head(pictures(8), network)


@pytest.fixture(scope="module")
def written(fitted: FittedHead, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle, refused = fitted.write_bundle(tmp_path_factory.mktemp("head") / "bundle")
    assert not refused
    return bundle


@pytest.fixture
def two_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits in less than half of the time, where any fit will do."""
    monkeypatch.setattr(head, "STRENGTHS", (1e-2, 1e-1))


def test_it_is_exported_by_the_package() -> None:
    assert mobilevit_core.fit_head is fit_head


def test_new_photographs_are_answered(fitted: FittedHead) -> None:
    assert fitted.class_names == NAMES
    unseen = pictures(10, first=900)
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
def test_the_layer_is_what_scikit_learn_fitted(network: Network, classes: int) -> None:
    """Scaling, regression and temperature in one Dense layer give the regression's own probabilities."""
    photos = dict(list(pictures(6).items())[:classes])
    cache = FeatureCache()
    fitted = fit_head(photos, network, cache=cache)
    features = cache.features(network, fitted.examples)
    labels = np.array([example.label for example in fitted.examples])
    regression = head._regression(5, fitted.seed, False).fit(features, labels)
    logits = np.log(regression.predict_proba(features)) / fitted.calibration.temperature
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    actual = np.stack([fitted.probabilities(example.source) for example in fitted.examples])
    assert np.allclose(actual, expected, atol=1e-4)
    assert fitted.strength == regression[-1].C_


def test_accuracy_is_chance_where_the_labels_mean_nothing(network: Network) -> None:
    """Every photograph is answered by a classifier that never saw it."""
    photos = [photo for members in pictures(20).values() for photo in members]
    random = np.random.default_rng(0).permutation(len(photos))
    mixed = {str(k): [photos[i] for i in random[k::2]] for k in range(2)}
    fitted = fit_head(mixed, network)
    assert 0.25 < fitted.accuracy < 0.75
    assert fitted.interval[0] < 0.5 < fitted.interval[1]


@pytest.mark.usefixtures("two_strengths")
def test_photographs_are_looked_at_once(network: Network, tmp_path: Path) -> None:
    photos = pictures(3)

    def fit() -> tuple[FittedHead, list[int]]:
        """The head, and how many photographs went through the network before and after every step."""
        steps: list[int] = []
        return fit_head(photos, network, cache=tmp_path, progress=lambda done, _: steps.append(done)), steps

    (first, steps), (second, none) = fit(), fit()  # another cache, the same folder
    assert steps == [9] and none == []
    assert np.array_equal(first.evaluation.probabilities, second.evaluation.probabilities)
    photos["red"].append(pictures(1, first=950)["red"][0])
    assert fit()[1] == [10]
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:100])  # a damaged cache is no reason to stop
    assert fit()[1] == [10]


def test_every_photograph_is_read_once(network: Network) -> None:
    read = []
    counting = replace(network, read=lambda *given: read.append(given) or preprocess(*given))
    fit_head(pictures(3), counting)
    assert len(read) == 9


@pytest.mark.usefixtures("two_strengths")
def test_copies_stay_in_one_fold(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    photos = {name: [rng.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(6)] for name in NAMES}
    twice = {name: own + [np.maximum(one, 2) for one in own] for name, own in photos.items()}
    divisions = []

    def watched(*given: object, cv: list[tuple[np.ndarray, np.ndarray]], **options: object) -> np.ndarray:
        divisions.extend(cv)
        return cross_val_predict(*given, cv=cv, **options)

    monkeypatch.setattr(head, "cross_val_predict", watched)
    assert len(fit_head(twice, network).examples) == 36
    assert len(divisions) == head.FOLDS
    for fitted_on, answered in divisions:
        assert {n + 6 if n % 12 < 6 else n - 6 for n in answered.tolist()} == set(answered.tolist())
        assert {n // 12 for n in fitted_on.tolist()} == {0, 1, 2}


@pytest.mark.usefixtures("two_strengths")
def test_a_class_of_one_picture_is_told(network: Network) -> None:
    rng = np.random.default_rng(0)
    one, *others = (rng.integers(0, 250, (64, 64, 3), np.uint8) for _ in range(5))
    photos = {"a": [one + n for n in range(4)], "b": others}
    (note,) = fit_head(photos, network).data["notes"]
    assert note.startswith("nearly all photographs of 'a' are the same picture")


@pytest.mark.usefixtures("two_strengths")
def test_a_photograph_counts_once(network: Network) -> None:
    photos = pictures(4)
    photos["red"] += photos["red"]
    assert len(fit_head(photos, network).examples) == 12
    photos["blue"].append(photos["red"][0])  # a contradiction: neither is used
    fitted = fit_head(photos, network)
    assert len(fitted.examples) == 11
    (note,) = fitted.data["notes"]
    assert note.startswith("photograph 5 of 'blue' and photograph 1 of 'red' are the same photograph in two")


@pytest.mark.usefixtures("two_strengths")
def test_files_bytes_and_images_are_taken(network: Network, tmp_path: Path) -> None:
    photos: dict[str, list] = pictures(3)
    path = tmp_path / "a.png"
    Image.fromarray(photos["red"][0]).save(path)
    photos["red"] = [path, path.with_name("b.png"), Image.fromarray(photos["red"][2])]
    Image.fromarray(pictures(3)["red"][1]).save(photos["red"][1])
    Image.fromarray(photos["blue"][0]).save(tmp_path / "blue.png")
    photos["blue"][0] = (tmp_path / "blue.png").read_bytes()
    with pytest.raises(UserError, match="b2.png"):
        fit_head({**photos, "red": [*photos["red"], tmp_path / "b2.png"]}, network)
    assert fit_head(photos, network).class_names == NAMES


def test_what_is_too_little_is_told(network: Network) -> None:
    photos = pictures(3)
    with pytest.raises(UserError, match="Class 'red' has 2 different photographs"):
        fit_head({**photos, "red": photos["red"][:2]}, network)
    with pytest.raises(UserError, match="1 class names"):
        fit_head({"red": photos["red"]}, network)
    with pytest.raises(UserError, match="photograph 1 of 'red'"):
        fit_head({**photos, "red": [b"no photograph", *photos["red"]]}, network)
    with pytest.raises(UserError, match="no bundle folder"):
        fit_head(photos, "nowhere")


def test_the_network_stays_as_it_is(shipped: Bundle, network: Network, fitted: FittedHead) -> None:
    before = keras.models.load_model(shipped.weights("keras"), compile=False).get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(before, network.model.get_weights(), strict=True))
    assert fitted.model.get_layer("logits") is not network.model.get_layer("logits")


@pytest.mark.usefixtures("tiny", "one_format", "two_strengths")
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


def test_a_bundle_is_opened_with_its_rule_and_history(shipped: Bundle) -> None:
    opened = open_network(shipped.folder)
    assert opened.rule == shipped.manifest.rule
    assert opened.origin["data"] == shipped.manifest.data
    assert opened.features.output_shape == (None, 320)


def test_the_bundle_answers_like_the_model(written: Bundle, fitted: FittedHead, shipped: Bundle) -> None:
    manifest = open_bundle(written.folder).manifest
    assert manifest.formats == shipped.manifest.formats
    assert manifest.start["data"] == shipped.manifest.data
    assert manifest.metrics["cross-validation"]["formats"]["keras"]["accuracy"] == fitted.accuracy
    assert manifest.rejection.photos == 24
    photo = pictures(1, first=990)["green"][0]
    answer = load_classifier(written.folder, "float32").probabilities(photo)
    assert np.allclose(answer, fitted.probabilities(photo), atol=1e-4)
    assert len(written.provenance.train) == 24 + len(shipped.provenance.train)


@pytest.mark.usefixtures("tiny", "one_format")
def test_the_command_line_trains_a_head(photo_folder: Path, small_bundle: Bundle, tmp_path: Path) -> None:
    run = ["train", "--recipe", "head", str(photo_folder), "--run", str(tmp_path / "run")]
    run += ["--weights", str(small_bundle.folder), "--set", "split_scheme=default"]
    result = CliRunner().invoke(app, run)
    assert result.exit_code == 0, result.output
    assert "by cross-validation on 27 photographs" in result.stdout
    bundle = open_bundle(tmp_path / "run" / "bundle")
    dataset = load_dataset(str(photo_folder))
    assert bundle.provenance.among(dataset.split("test")) == {"trained_on": 0, "chosen_by": 0}
    assert evaluate(load_classifier(bundle.folder), dataset, "test").accuracy == 1
    again = CliRunner().invoke(app, run)
    assert again.exit_code == 0 and again.stdout == result.stdout
    for extra, message in (
        (["--teacher", str(small_bundle.folder)], "takes no --teacher"),
        (["--set", "batch_size=3"], "no value 'batch_size'"),
    ):
        refused = CliRunner().invoke(app, [*run, *extra])
        assert refused.exit_code == 2
        assert message in refused.output


def test_a_classifier_is_fitted_before_the_network_is_trained(
    network: Network, shipped: Bundle, tmp_path: Path
) -> None:
    """The model that a training starts from answers new classes, and keeps a classifier of the same ones."""
    photos = [
        LabelledPhoto(f"{name}/{number}", label, png(photo))
        for label, (name, members) in enumerate(pictures(8).items())
        for number, photo in enumerate(members)
    ]
    start = head.WithHead(StartingWeights(shipped), photos, network.rule)
    assert start.describe() == StartingWeights(shipped).describe()
    model = create_mobilevit(num_classes=3, image_size=64)
    start.copy_to(model, NAMES)
    images = np.stack([photo for members in pictures(10, first=900).values() for photo in members])
    inputs = np.stack([preprocess(image, network.rule) for image in images])
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


def test_a_class_with_few_photographs_counts_as_much_as_the_others() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1], [240, 12])
    features = random.normal(size=(252, 4)) + 1.2 * labels[:, None]
    assert head._uneven(labels) and not head._uneven(np.repeat([0, 1], [36, 12]))
    found = {
        balanced: (
            head._regression(5, 0, balanced).fit(features, labels).predict(features)[labels == 1] == 1
        ).mean()
        for balanced in (False, True)
    }
    assert found[False] < 0.5 < 0.75 <= found[True]
