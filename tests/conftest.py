"""Shared by all tests: drawn photos, a small trained bundle, the shipped one, the real data set."""

import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # no test downloads the released weights

import mobilevit_core  # noqa: F401  # isort: skip  (first: it sets up TensorFlow)
import keras
import numpy as np
import pytest
from filelock import FileLock

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.images.preprocessing import preprocess
from mobilevit_core.training.recipes import Recipe, make_recipe
from tests.drawing import draw_folder
from tests.networks import float32_alone, tiny_networks

SHIPPED = Path(__file__).parents[1] / "demo" / "weights"
GET_PHOTOS = "python -c \"import tensorflow_datasets as tfds; tfds.load('tf_flowers')\""


SECONDS = "seconds/modules"  # in pytest's cache: module -> seconds in the last run
# Without a last run. A test of a training or of a page takes ten times as long as any other.
HEAVY = ("training", "demo", "evaluation", "commands", "conversion", "models", "publishing", "inference")
_seconds: dict[str, float] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Modules that take longest come first: the processes of a run share out modules, and end together."""
    known = (config.cache.get(SECONDS, None) if hasattr(config, "cache") else None) or {}

    def place(item: pytest.Item) -> tuple[float, int]:
        module = item.nodeid.partition("::")[0]
        kind = Path(module).parent.name
        return -known.get(module, 0), HEAVY.index(kind) if kind in HEAVY else len(HEAVY)

    items.sort(key=place)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Adds up the seconds of each module."""
    module = report.nodeid.partition("::")[0]
    _seconds[module] = _seconds.get(module, 0) + report.duration


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Keeps the seconds for the next run."""
    config = session.config
    if hasattr(config, "cache") and not hasattr(config, "workerinput"):
        config.cache.set(SECONDS, {**(config.cache.get(SECONDS, None) or {}), **_seconds})


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Failed tests come last, each with its command."""
    yield
    failed = [*terminalreporter.stats.get("failed", ()), *terminalreporter.stats.get("error", ())]
    for report in failed:
        terminalreporter.write_line(f"{sys.executable} -m pytest {shlex.quote(report.nodeid)}")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that all processes of one test run share: the first one makes it.

    Args:
        factory: of this process.
        name: of the folder.
        make: fills the path that it is given, which does not exist yet.
    """
    base = factory.getbasetemp()
    shared = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    shared.mkdir(exist_ok=True)
    folder, finished = shared / name, shared / f"{name}.finished"
    with FileLock(shared / f"{name}.lock"):
        if not finished.exists():
            make(folder)
            finished.touch()
    return folder


@pytest.fixture(scope="session")
def photo_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_once(tmp_path_factory, "photos", draw_folder)


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


@pytest.fixture
def tiny() -> Iterator[None]:
    """Networks that are created are tiny ones."""
    with tiny_networks():
        yield


@pytest.fixture
def one_format() -> Iterator[None]:
    """New bundles get one .tflite file, float32."""
    with float32_alone():
        yield


@pytest.fixture(scope="session")
def small_bundle(
    photo_folder: Path, small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    """A tiny network, untrained, with a fitted classifier: decided answers within seconds."""
    from mobilevit_core.models.create import create_mobilevit
    from mobilevit_core.training.finish import bundle_model
    from mobilevit_core.training.run_folder import RunFolder

    def make(folder: Path) -> None:
        dataset = load_dataset(str(photo_folder))
        keras.utils.set_random_seed(0)
        with tiny_networks():
            model = create_mobilevit(num_classes=3, image_size=64)
        _fit_classifier(model, dataset, small_recipe)
        run = RunFolder(folder.parent)
        run.claim(dataset, small_recipe.to_json(), {})
        _, refused = bundle_model(run, model, dataset, small_recipe, folder)
        assert not refused

    return open_bundle(made_once(tmp_path_factory, "bundle", make))


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
    """The real photos, where they are prepared; nothing is downloaded for a test."""
    import tensorflow_datasets as tfds

    if not (Path(tfds.builder("tf_flowers").data_dir) / "dataset_info.json").exists():
        pytest.skip(f"tf_flowers is not prepared here. To get it: {GET_PHOTOS}")
    return load_dataset("tf_flowers")
