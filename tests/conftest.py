"""Shared by all tests: drawn photographs, a small trained bundle, the shipped one, the real data set."""

from pathlib import Path

import mobilevit_core  # noqa: F401  # isort: skip  (first: it sets up TensorFlow)
import keras
import numpy as np
import pytest

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.images.preprocessing import preprocess
from mobilevit_core.training.recipes import Recipe, make_recipe
from tests.drawing import draw_folder

SHIPPED = Path(__file__).parents[1] / "demo" / "weights"
GET_PHOTOGRAPHS = "python -c \"import tensorflow_datasets as tfds; tfds.load('tf_flowers')\""


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("data") / "photos")


@pytest.fixture(scope="session")
def small_recipe() -> Recipe:
    overrides = {
        "image_size": "64",
        "stages": "64:2",
        "batch_size": "8",
        "warmup_epochs": "0.5",
        "mix": "0.5",
    }
    return make_recipe("default", overrides)


@pytest.fixture(scope="session")
def small_bundle(
    photo_folder: Path, small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """The shipped network with a classifier of its own: decided answers within seconds."""
    from mobilevit_core.data.provenance import Provenance
    from mobilevit_core.models.create import create_mobilevit
    from mobilevit_core.training.finalize import bundle_model
    from mobilevit_core.training.transfer import StartingWeights

    dataset = load_dataset(str(photo_folder))
    keras.utils.set_random_seed(0)
    model = create_mobilevit(num_classes=3, image_size=64)
    StartingWeights(open_bundle(SHIPPED)).copy_to(model, dataset.class_names)
    _fit_classifier(model, dataset, small_recipe)
    folder = tmp_path_factory.mktemp("made") / "bundle"
    bundle, refused = bundle_model(folder, model, dataset, small_recipe, Provenance.by_training(dataset))
    assert not refused
    return bundle


def _fit_classifier(model: keras.Model, dataset: PhotoDataset, recipe: Recipe) -> None:
    """Sets the classifier by least squares on the features of the rest of the network."""
    photos = dataset.split("train")
    images = np.stack([preprocess(photo.source, recipe.rule, photo.name) for photo in photos])
    logits = model.get_layer("logits")
    features = keras.Model(model.input, logits.input).predict(images, verbose=0)
    centre, scale = features.mean(axis=0), features.std() + 1e-6
    targets = 6 * np.eye(len(dataset.class_names))[[photo.label for photo in photos]]
    kernel = (
        np.linalg.pinv((features - centre) / scale, rcond=0.02) @ (targets - targets.mean(axis=0)) / scale
    )
    logits.kernel.assign(kernel)
    logits.bias.assign(-centre @ kernel)


@pytest.fixture(scope="session")
def shipped() -> Bundle:
    return open_bundle(SHIPPED)


@pytest.fixture(scope="session")
def tf_flowers() -> PhotoDataset:
    """The real photographs, where they are prepared; nothing is downloaded for a test."""
    import tensorflow_datasets as tfds

    if not (Path(tfds.builder("tf_flowers").data_dir) / "dataset_info.json").exists():
        pytest.skip(f"tf_flowers is not prepared here. To get it: {GET_PHOTOGRAPHS}")
    return load_dataset("tf_flowers")
