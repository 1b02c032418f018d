"""Training from a bundle's weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.dataset import NONE_OF_THESE
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.training.recipes import Recipe, make_recipe
from mobilevit_core.training.run_folder import RunFolder
from mobilevit_core.training.trainer import train, train_bundle
from mobilevit_core.training.transfer import StartingWeights
from tests.drawing import draw_folder

pytestmark = pytest.mark.usefixtures("tiny")  # as the small bundle's


def test_a_classifier_of_the_same_classes_in_another_order_is_taken_over(small_bundle: Bundle) -> None:
    turned = small_bundle.manifest.class_names[::-1]
    model = create_mobilevit(num_classes=3, image_size=64)
    StartingWeights(small_bundle).copy_to(model, turned)
    images = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    expected = load_keras(small_bundle.weights("keras")).predict(images, verbose=0)
    assert np.allclose(model.predict(images, verbose=0), expected[:, ::-1], atol=1e-5)


@pytest.mark.parametrize(("class_names", "same_head"), [(None, True), (("x", "y"), False)])
def test_all_layers_but_the_classifier_are_taken_over(
    small_bundle: Bundle, class_names: tuple[str, ...] | None, same_head: bool
) -> None:
    class_names = class_names or small_bundle.manifest.class_names
    model = create_mobilevit(num_classes=len(class_names), image_size=128)  # another size, same weights
    StartingWeights(small_bundle).copy_to(model, class_names)
    source = load_keras(small_bundle.weights("keras"))
    for layer in model.layers:
        pairs = zip(layer.get_weights(), source.get_layer(layer.name).get_weights(), strict=True)
        equal = all(a.shape == b.shape and np.array_equal(a, b) for a, b in pairs)
        assert equal == (same_head or layer.name != "logits")


def test_a_classifier_keeps_its_classes_where_another_is_added(small_bundle: Bundle) -> None:
    names = small_bundle.manifest.class_names
    model = create_mobilevit(num_classes=4, image_size=64)
    fresh = model.get_layer("logits").get_weights()
    StartingWeights(small_bundle).copy_to(model, (names[2], "extra", *names[:2]))
    source = load_keras(small_bundle.weights("keras")).get_layer("logits").get_weights()
    for given, theirs, before in zip(model.get_layer("logits").get_weights(), source, fresh, strict=True):
        assert np.array_equal(given[..., [2, 3, 0]], theirs)
        assert np.array_equal(given[..., 1], before[..., 1])


def test_which_classes_a_bundle_knows(small_bundle: Bundle) -> None:
    names, start = small_bundle.manifest.class_names, StartingWeights(small_bundle)
    assert NONE_OF_THESE not in names

    def knows(*wanted: str) -> bool:
        return start.copy_to(create_mobilevit(num_classes=len(wanted), image_size=64), wanted)

    assert knows(*names) and knows(*names[::-1]) and knows(*names, NONE_OF_THESE)
    assert not knows(*names[1:]) and not knows(*names, "another")


def test_a_hypercolumn_starts_from_a_papers_network_but_for_the_classifier(small_bundle: Bundle) -> None:
    start, names = StartingWeights(small_bundle), small_bundle.manifest.class_names
    recipe = make_recipe("distill", {"stages": "64:1"})
    assert (recipe.architecture, small_bundle.manifest.architecture) == ("hypercolumn", "paper")
    start.check(recipe)
    model = create_mobilevit(num_classes=3, image_size=64, architecture="hypercolumn")
    fresh = model.get_layer("logits").get_weights()[0]
    assert not start.copy_to(model, names)
    assert np.array_equal(model.get_layer("logits").get_weights()[0], fresh)
    source = load_keras(small_bundle.weights("keras"))
    last = [one.get_layer("last_conv").get_weights()[0] for one in (model, source)]
    assert np.array_equal(*last)
    with pytest.raises(UserError, match="holds a paper xxs, the recipe trains a keras_example xxs"):
        start.check(make_recipe("keras-example"))


def test_the_start_has_its_share_in_the_finished_weights(
    small_bundle: Bundle, small_recipe: Recipe, photo_folder: Path, tmp_path: Path
) -> None:
    dataset, start = load_dataset(str(photo_folder)), StartingWeights(small_bundle)
    recipe = replace(small_recipe, stages=((64, 1),))
    run = RunFolder(tmp_path)
    trained = train(dataset, recipe, run, start).get_weights()
    # The same run, finished already: its newest checkpoint is taken.
    mixed = train(dataset, replace(recipe, start_share=0.25), run, start).get_weights()
    theirs = load_keras(small_bundle.weights("keras")).get_weights()
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(trained, theirs, strict=True))
    for ours, own, start_weights in zip(mixed, trained, theirs, strict=True):
        assert np.allclose(ours, 0.75 * own + 0.25 * start_weights, atol=1e-6)


def test_another_network_is_refused(small_bundle: Bundle, small_recipe: Recipe) -> None:
    with pytest.raises(UserError, match="holds a paper xxs, the recipe trains a paper xs"):
        StartingWeights(small_bundle).check(replace(small_recipe, variant="xs"))


@pytest.mark.usefixtures("one_format")
def test_the_new_bundle_says_what_its_weights_have_seen(
    photo_folder: Path, small_bundle: Bundle, small_recipe: Recipe, tmp_path: Path
) -> None:
    own = draw_folder(tmp_path / "own", photos_per_class=8)
    for path in own.rglob("*.jpg"):  # other photos than the bundle's
        with Image.open(path) as image:
            image.rotate(180).save(path)
    dataset = load_dataset(str(own))
    recipe = replace(small_recipe, stages=((64, 1),))
    bundle, _ = train_bundle(dataset, recipe, RunFolder(tmp_path / "run"), StartingWeights(small_bundle))
    assert bundle.manifest.start["data"] == small_bundle.manifest.data
    assert bundle.manifest.start["start"] is None
    assert bundle.manifest.origins() == [
        "were initialized from weights trained on 24 photos of "
        f"{small_bundle.manifest.data['name']} (3 classes)"
    ]
    theirs = load_dataset(str(photo_folder))
    for photos in (dataset.split("train"), theirs.split("train")):
        assert bundle.provenance.among(photos) == {"trained_on": len(photos), "chosen_by": 0}
    assert bundle.provenance.among(theirs.split("test")) == {"trained_on": 0, "chosen_by": 0}
    assert bundle.provenance.among(dataset.split("validation")) == {"trained_on": 0, "chosen_by": 3}
    with pytest.raises(
        UserError, match="--weights: it was given when"
    ):  # the same folder without the starting weights
        train_bundle(dataset, recipe, RunFolder(tmp_path / "run"))
