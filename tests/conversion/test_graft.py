"""Grafted files against converted ones: the same head, the same answers."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.tflite_file import pack, unpack
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.conversion import graft as graft_module
from mobilevit_core.conversion.export import drawn_images
from mobilevit_core.conversion.graft import HEADS, Head, cut, graft, graft_keras
from mobilevit_core.conversion.packing import run
from mobilevit_core.conversion.tflite import convert
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import backbone
from tests.networks import tiny_networks

CLASSES = (2, 5, 100)
SAME = 1e-6  # largest difference of a probability where both files hold the same numbers
ROUNDED = 0.01  # by the ranges of int8, on average: one image of a random network can be off by 0.4


@pytest.fixture(scope="module")
def model(small_bundle: Bundle) -> keras.Model:
    return load_keras(small_bundle.weights("keras"))


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return drawn_images(24, 64)


@pytest.fixture(scope="module")
def trunks(model: keras.Model, images: np.ndarray) -> dict[str, bytes]:
    return {name: cut(content) for name, content in convert(model, images).items()}


@pytest.fixture(scope="module")
def head_of(trunks: dict[str, bytes], images: np.ndarray) -> Callable[[int], Head]:
    """A head for so many classes, as decided as a fitted one."""
    features = run(trunks["float32"], images)

    def make(classes: int) -> Head:
        random = np.random.default_rng(classes)
        kernel = random.normal(size=(features.shape[1], classes))
        kernel *= 3 / (features @ kernel).std()
        bias = random.normal(size=classes) - (features @ kernel).mean(axis=0)
        return Head(kernel.astype(np.float32), bias.astype(np.float32), features)

    return make


def with_classifier(model: keras.Model, head: Head) -> keras.Model:
    """The same network with a head, built by Keras."""
    dense = keras.layers.Dense(len(head.bias), name="logits")
    outputs = keras.layers.Softmax(name="probabilities")(dense(model.get_layer("logits").input))
    dense.set_weights([head.kernel, head.bias])
    return keras.Model(model.input, outputs, name=model.name)


@pytest.fixture(scope="module")
def converted_of(
    model: keras.Model, images: np.ndarray, head_of: Callable[[int], Head]
) -> Callable[[int], dict[str, bytes]]:
    """The converters' files of the network with the head for so many classes."""
    return cache(lambda classes: convert(with_classifier(model, head_of(classes)), images))


@pytest.mark.parametrize("classes", CLASSES)
def test_grafted_files_answer_as_converted_ones(
    classes: int,
    converted_of: Callable[[int], dict[str, bytes]],
    images: np.ndarray,
    trunks: dict[str, bytes],
    head_of: Callable[[int], Head],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    head = head_of(classes)
    converted = converted_of(classes)
    assert set(converted) == set(trunks) == set(HEADS) == set(tflite_formats())
    exact = head.probabilities(head.features)
    for name, content in converted.items():
        expected, grafted = run(content, images), run(graft(trunks[name], name, head), images)
        assert grafted.shape == (len(images), classes)
        if name == "int8":
            # The converter's ranges are a moving average, the graft's hold all that was seen.
            assert np.abs(grafted - exact).mean() <= np.abs(expected - exact).mean() + ROUNDED
            with monkeypatch.context() as patch:
                spans = iter(spans_of(content))
                patch.setattr(graft_module, "_span", lambda _, spans=spans: next(spans))
                grafted = run(graft(trunks[name], name, head), images)
        assert np.abs(grafted - expected).max() <= SAME, name


def test_a_hypercolumns_trunk_gives_float32_features_in_every_format(images: np.ndarray) -> None:
    keras.utils.set_random_seed(0)
    with tiny_networks():
        model = create_mobilevit(num_classes=3, image_size=64, architecture="hypercolumn")
    expected = backbone(model).predict(images, verbose=0)
    files = convert(model, images)
    assert set(files) == set(tflite_formats())
    for name, content in files.items():
        found = run(cut(content), images)
        assert found.dtype == np.float32 and found.shape == expected.shape
        assert np.abs(found - expected).mean() < 0.1 * np.abs(expected).mean(), name
    # Averages of several maps have no common scale: int8 rounds the weights of the layer on them alone.
    graph = unpack(cut(files["int8"])).subgraphs[0]
    (dense,) = (operator for operator in graph.operators if graph.outputs[0] in operator.outputs)
    types = [graph.tensors[index].type for index in dense.inputs[:2]]
    assert types == [schema.TensorType.FLOAT32, schema.TensorType.INT8]


def spans_of(content: bytes) -> list[tuple[float, int]]:
    """Scale and zero point of the features and of the logits of a converted int8 file."""
    model = unpack(content)
    graph = model.subgraphs[0]
    codes = [max(code.builtinCode, code.deprecatedBuiltinCode) for code in model.operatorCodes]
    dense = schema.BuiltinOperator.FULLY_CONNECTED
    last = [operator for operator in graph.operators if codes[operator.opcodeIndex] == dense][-1]
    tensors = [graph.tensors[index].quantization for index in (last.inputs[0], last.outputs[0])]
    return [(float(found.scale[0]), int(found.zeroPoint[0])) for found in tensors]


@pytest.mark.parametrize("name", tflite_formats())
def test_a_head_comes_off_as_it_went_on(
    name: str, trunks: dict[str, bytes], head_of: Callable[[int], Head]
) -> None:
    """No tensor, buffer or operator of an earlier head stays behind, nor is one of the trunk lost."""
    first, second = (graft(trunks[name], name, head_of(classes)) for classes in (5, 3))
    assert graft(cut(first), name, head_of(3)) == second
    assert cut(second) == cut(first)


@pytest.mark.parametrize("name", tflite_formats())
def test_the_structure_is_the_converters(
    name: str,
    converted_of: Callable[[int], dict[str, bytes]],
    trunks: dict[str, bytes],
    head_of: Callable[[int], Head],
) -> None:
    """The classifier's operators, their versions and the types of what they read, as the converters write."""
    head = head_of(100)  # wide enough that the converter rounds it
    converted = unpack(converted_of(100)[name])
    grafted = unpack(graft(trunks[name], name, head))
    assert classifier_of(grafted) == classifier_of(converted)
    (signature,) = grafted.signatureDefs
    assert [entry.tensorIndex for entry in signature.outputs] == grafted.subgraphs[0].outputs.tolist()


def classifier_of(model: schema.ModelT) -> list[tuple[int, int, list[tuple[int, list[int]]]]]:
    """Operator, version, and the inputs' types and shapes, of the last layers from the fully connected on."""
    graph = model.subgraphs[0]
    rows = []
    for operator in graph.operators:
        code = model.operatorCodes[operator.opcodeIndex]
        kind = max(code.builtinCode, code.deprecatedBuiltinCode)
        tensors = [graph.tensors[index] for index in operator.inputs if index >= 0]
        rows.append((kind, code.version, [(tensor.type, tensor.shape.tolist()) for tensor in tensors]))
    dense = max(place for place, row in enumerate(rows) if row[0] == schema.BuiltinOperator.FULLY_CONNECTED)
    return rows[dense:]


def test_the_keras_file_is_as_keras_writes_it(
    small_bundle: Bundle,
    model: keras.Model,
    images: np.ndarray,
    head_of: Callable[[int], Head],
    tmp_path: Path,
) -> None:
    head, path = head_of(7), tmp_path / FORMATS["keras"].file
    content = small_bundle.weights("keras").read_bytes()
    path.write_bytes(graft_keras(content, head))
    grafted = keras.models.load_model(path)
    expected = with_classifier(model, head)
    assert np.array_equal(grafted.predict(images, verbose=0), expected.predict(images, verbose=0))
    assert grafted.get_config()["layers"][-2]["config"]["units"] == 7
    grafted.save(tmp_path / "again.keras")  # and Keras writes it again
    assert np.array_equal(
        keras.models.load_model(tmp_path / "again.keras").get_layer("logits").bias, head.bias
    )
    assert graft_keras(content, head) == path.read_bytes()


def test_a_file_without_a_classifier_is_refused(trunks: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match="does not end in a classifier"):
        cut(trunks["float32"])
    assert pack(unpack(trunks["int8"])) == trunks["int8"]
