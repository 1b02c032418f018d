"""Where int8 puts its 256 steps."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mobilevit_core.bundle.tflite_file import kind_of, unpack
from mobilevit_core.conversion import tflite
from mobilevit_core.conversion.tflite import LOWEST_OF_SILU
from mobilevit_core.models.create import create_mobilevit
from tests.networks import tiny_networks


@pytest.fixture(scope="module")
def wide() -> keras.Model:
    """A network with long tails on both sides of its first SiLU."""
    keras.utils.set_random_seed(0)
    with tiny_networks():
        model = create_mobilevit(num_classes=3, image_size=64)
    layer = model.get_layer("stem_bn")
    layer.gamma.assign(layer.gamma * 40)
    return model


@pytest.fixture
def int8(monkeypatch: pytest.MonkeyPatch) -> Callable[[keras.Model, np.ndarray], bytes]:
    """Converts to int8 alone, and to the float32 that it is made of."""
    for formats, name in ((tflite.TENSORFLOW, "float32"), (tflite.QUANTIZER, "int8")):
        for other in set(formats) - {name}:
            monkeypatch.delitem(formats, other)
    return lambda model, images: tflite.convert(model, images)["int8"]


def spans_into_silu(content: bytes) -> np.ndarray:
    """(SiLUs in int8, 2): the lowest and the highest number that each of them can be given."""
    model = unpack(content)
    graph = model.subgraphs[0]
    found = [
        graph.tensors[operator.inputs[0]].quantization
        for operator in graph.operators
        if kind_of(model, operator) == schema.BuiltinOperator.LOGISTIC
    ]
    rounded = [one for one in found if one.scale is not None]  # the others are left in float32
    return np.array([(np.array([-128, 127]) - one.zeroPoint[0]) * one.scale[0] for one in rounded])


def test_int8_spends_no_steps_on_what_silu_makes_nothing_of(
    wide: keras.Model, int8: Callable[[keras.Model, np.ndarray], bytes]
) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (12, 64, 64, 3)).astype(np.float32)
    spans = spans_into_silu(int8(wide, images))
    assert spans[0, 1] > 12  # its tail upwards is kept
    assert spans[:, 0].min() > LOWEST_OF_SILU - 0.2  # of rounding to whole steps


def test_int8_is_scaled_for_all_images_not_for_the_last(
    wide: keras.Model, int8: Callable[[keras.Model, np.ndarray], bytes]
) -> None:
    random = np.random.default_rng(0)
    dark, bright = random.uniform(0, 10, (30, 64, 64, 3)), random.uniform(0, 255, (30, 64, 64, 3))
    spans = [
        spans_into_silu(int8(wide, np.concatenate(order).astype(np.float32)))[0, 1]
        for order in ([dark, bright], [bright, dark])
    ]
    assert 0.6 < spans[0] / spans[1] < 1.6
