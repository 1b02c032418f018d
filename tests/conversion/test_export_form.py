"""What is converted has fewer operators than what is trained, and the same answers."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mobilevit_core.conversion import tflite as conversion
from mobilevit_core.conversion.export import drawn_images
from mobilevit_core.conversion.export_form import RootMeanSquare, export_form
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import logits_model

SIZE = 64


def busy_model(architecture: str = "paper") -> keras.Model:
    """A network none of whose scales, shifts and statistics are those of a fresh one."""
    keras.utils.set_random_seed(3)
    model = create_mobilevit("xxs", 4, SIZE, architecture)
    random = np.random.default_rng(3)
    for layer in model.layers:
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.LayerNormalization | keras.layers.BatchNormalization):
            layer.set_weights([random.uniform(0.5, 1.5, one.shape) for one in weights])
        elif len(weights) == 2:
            layer.set_weights([weights[0], random.uniform(-1, 1, weights[1].shape)])
    return model


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return busy_model()


@pytest.fixture(scope="module")
def form(model: keras.Model) -> keras.Model:
    return export_form(model)


def test_answers_are_those_of_the_model(model: keras.Model, form: keras.Model) -> None:
    images = drawn_images(8, SIZE)
    expected, actual = (logits_model(one)(images).numpy() for one in (model, form))
    assert np.ptp(expected) > 0.1
    assert np.abs(expected - actual).max() < 1e-5 * np.abs(expected).max()
    assert np.abs(model(images).numpy() - form(images).numpy()).max() < 1e-5


def test_no_token_has_a_mean(form: keras.Model) -> None:
    norms = [layer for layer in form.layers if isinstance(layer, RootMeanSquare)]
    assert len(norms) == 2 * (2 + 4 + 3) + 3
    tokens = keras.Model(form.input, [norm.input for norm in norms])(drawn_images(2, SIZE))
    for one in tokens:
        assert np.abs(one.numpy().mean(axis=-1)).max() < 1e-5 * one.numpy().std()


def test_the_model_itself_stays(model: keras.Model) -> None:
    before = model.get_weights()
    export_form(model)
    assert all(np.array_equal(old, new) for old, new in zip(before, model.get_weights(), strict=True))


def test_another_network_is_left_alone() -> None:
    model = busy_model("keras_example")
    assert export_form(model) is model


def test_the_file_has_fewer_operators(model: keras.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "TENSORFLOW", {"float32": conversion.TENSORFLOW["float32"]})
    monkeypatch.setattr(conversion, "QUANTIZER", {})
    file = Interpreter(model_content=conversion.convert(model, None)["float32"])
    file.allocate_tensors()
    names = [operator["op_name"] for operator in file._get_ops_details()]
    assert "SQUARED_DIFFERENCE" not in names and "NEG" not in names
    assert names.count("RSQRT") == 21 and len(names) < 400
    images = drawn_images(4, SIZE)
    for image, expected in zip(images, model(images).numpy(), strict=True):
        file.set_tensor(file.get_input_details()[0]["index"], image[None])
        file.invoke()
        answer = file.get_tensor(file.get_output_details()[0]["index"])[0]
        assert np.abs(answer - expected).max() < 1e-4
