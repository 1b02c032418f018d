import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from mobilevit_core import create_mobilevit
from mobilevit_core.errors import UserError
from mobilevit_core.models.blocks import fold, unfold
from mobilevit_core.models.parts import averaged, features, logits_model

ARCHITECTURES = ("paper", "hypercolumn", "keras_example")


@pytest.fixture(scope="module")
def networks() -> dict[str, keras.Model]:
    """All architectures at 64 px, with seven classes; no test changes them."""
    return {name: create_mobilevit(image_size=64, num_classes=7, architecture=name) for name in ARCHITECTURES}


def trainable(model: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)


@pytest.mark.parametrize(
    ("variant", "classes", "parameters", "statistics"),
    [
        ("xxs", 1000, 1_272_024, 4_112),
        ("xs", 1000, 2_317_848, 8_448),
        ("s", 1000, 5_578_632, 12_256),
        ("xxs", 5, 952_629, 4_112),
        ("xs", 5, 1_934_773, 8_448),
        ("s", 5, 4_940_837, 12_256),
    ],
)
def test_parameters_of_the_paper(variant: str, classes: int, parameters: int, statistics: int) -> None:
    model = create_mobilevit(variant, classes)
    assert trainable(model) == parameters
    assert model.count_params() - parameters == statistics


def test_parameters_of_the_keras_example() -> None:
    model = create_mobilevit(architecture="keras_example")
    assert model.count_params() == 1_307_621
    assert trainable(model) == 1_305_077


def test_a_hypercolumn_has_the_papers_network_and_its_features(networks: dict[str, keras.Model]) -> None:
    paper, model = networks["paper"], networks["hypercolumn"]
    shared = [layer.name for layer in paper.layers if layer.weights and layer.name != "logits"]
    for name in shared:
        paper.get_layer(name).set_weights(model.get_layer(name).get_weights())
    images = np.random.default_rng(4).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    pooled = [keras.Model(one.input, one.get_layer("pool").output)(images).numpy() for one in (paper, model)]
    assert np.allclose(*pooled, atol=1e-6) and pooled[0].shape == (2, 320)
    assert features(model).shape == features(paper).shape == (None, 320)
    widths = [layer.output.shape[-1] for layer in averaged(model)]
    assert widths == [24, 48, 48, 96, 64, 128, 128, 80, 320]
    added = sum(widths) * (4 + 320)  # normalization, and the linear layer
    assert model.count_params() == paper.count_params() + added


def test_unfold_groups_by_pixel_position_and_fold_inverts_it() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 10, 7)).astype(np.float32)
    tokens = np.asarray(unfold(x))
    assert tokens.shape == (8, 15, 7)
    for image, i, j in ((0, 0, 0), (0, 3, 4), (1, 5, 9), (1, 2, 7)):
        group, token = (i % 2) * 2 + j % 2, (i // 2) * 5 + j // 2
        assert np.array_equal(tokens[image * 4 + group, token], x[image, i, j])
    assert np.array_equal(np.asarray(fold(tokens, 6, 10)), x)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_sample_does_not_depend_on_the_rest_of_its_batch(
    architecture: str, networks: dict[str, keras.Model]
) -> None:
    random, model = np.random.default_rng(1), networks[architecture]
    batch = random.uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    other = batch.copy()
    other[1:] = random.uniform(0, 255, (2, 64, 64, 3))
    first, second = model(batch).numpy(), model(other).numpy()
    assert np.array_equal(first[0], second[0])
    assert not np.allclose(first[1], second[1], atol=0)


def test_probabilities_are_the_softmax_of_the_reachable_logits(networks: dict[str, keras.Model]) -> None:
    model = networks["paper"]
    image = np.random.default_rng(2).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    logits = logits_model(model)(image).numpy()
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(model(image).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_keras_file_needs_nothing_of_this_package(
    architecture: str, networks: dict[str, keras.Model], tmp_path: Path
) -> None:
    model, path = networks[architecture], tmp_path / "model.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        assert b"mobilevit_core" not in archive.read("config.json")
    loaded = keras.models.load_model(path, safe_mode=True)
    image = np.random.default_rng(3).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    assert np.array_equal(loaded(image).numpy(), model(image).numpy())


@pytest.mark.parametrize(
    ("size", "nearest"), [(100, "64 or 128"), (250, "192 or 256"), (10, "64"), (-3, "64")]
)
def test_an_impossible_image_size_names_its_neighbours(size: int, nearest: str) -> None:
    with pytest.raises(UserError, match=f"Image size {size} .*Nearest: {nearest}\\."):
        create_mobilevit(image_size=size)


def test_what_the_tables_lack_is_named() -> None:
    with pytest.raises(UserError, match="'xl'.*xxs, xs, s"):
        create_mobilevit("xl")
    with pytest.raises(UserError, match="keras_example.*'s'"):
        create_mobilevit("s", architecture="keras_example")
    with pytest.raises(UserError, match="'resnet'"):
        create_mobilevit(architecture="resnet")
    with pytest.raises(UserError, match="num_classes is 1"):
        create_mobilevit(num_classes=1)
