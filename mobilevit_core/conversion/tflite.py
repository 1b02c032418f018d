"""From a Keras model to the bytes of the TFLite formats: static batch of 1, built-in operators only."""

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Set
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer import recipe as recipes
from ai_edge_quantizer.qtyping import (
    ComputePrecision,
    OpQuantizationConfig,
    QuantGranularity,
    TensorQuantizationConfig,
    TFLOperationName,
)
from ai_edge_quantizer.quantizer import Quantizer
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from mobilevit_core.bundle.tflite_file import kind_of, unpack
from mobilevit_core.bundle.weight_formats import tflite_formats
from mobilevit_core.conversion.export_form import export_form
from mobilevit_core.models.parts import FEATURES, JOINED, NORMALIZED

# What the full integer format leaves in float32: their results have too wide a range for eight bits, and
# XNNPACK has no integer kernels for most of them.
FLOAT_OPERATORS = ("INPUT", "OUTPUT", "MEAN", "SQUARED_DIFFERENCE", "RSQRT", "SOFTMAX", "BATCH_MATMUL")

# The first block of the paper's networks widens the image at its largest. Its results have the longest tails,
# and decide by small differences: in float32, half of int8's errors are gone, for little of its time.
WIDENED = r".*/stage1_mv0_(expand|depthwise_(conv|bn))_.*"

# What a hypercolumn does after its averages has integer weights alone. Side by side, averages share a scale,
# and normalization enlarges the faint ones: in full integers 46 % of crops had float32's answer, so 70 %.
AFTER_AVERAGES = rf".*/({JOINED}|{NORMALIZED}|{FEATURES})(_\d+)?/.*"
INTEGER_WEIGHTS = OpQuantizationConfig(
    weight_tensor_config=TensorQuantizationConfig(
        num_bits=8, symmetric=True, granularity=QuantGranularity.CHANNELWISE
    ),
    compute_precision=ComputePrecision.INTEGER,
)

# What enters a SiLU has a long tail downwards, which comes out as nothing: SiLU(-6) is -0.015. Without it,
# the 256 steps of int8 are up to three times as fine.
LOWEST_OF_SILU = -6.0

Settings = Callable[[tf.lite.TFLiteConverter], None]


def convert(model: keras.Model, calibration: np.ndarray | None) -> dict[str, bytes]:
    """Converts to every TFLite format of `weight_formats.FORMATS`.

    Args:
        model: a model of `create_mobilevit`.
        calibration: float32 (images, size, size, 3), RGB 0..255; what the scales of int8 are found on.
            Without it there is no int8.

    Returns:
        Name of the format -> content of its file.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "saved_model"
        _save_frozen(export_form(model), folder)
        files = {name: _by_tensorflow(folder, settings) for name, settings in TENSORFLOW.items()}
    into_silu = _into_silu(files["float32"])
    for name, (recipe, float_operators) in QUANTIZER.items():
        work = _quantizer(files["float32"], recipe, float_operators)
        if calibration is not None or not work.need_calibration:
            files[name] = _quantized(work, calibration, into_silu)
    return {name: files[name] for name in tflite_formats() if name in files}


def _float16(converter: tf.lite.TFLiteConverter) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]


def _dynamic_int8(converter: tf.lite.TFLiteConverter) -> None:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]


# Format -> settings of TensorFlow's converter, or recipe of ai-edge-quantizer and what it leaves in float32.
TENSORFLOW: dict[str, Settings] = {
    "float32": lambda converter: None,
    "float16": _float16,
    "dynamic_int8": _dynamic_int8,
}
QUANTIZER: dict[str, tuple[str, tuple[str, ...]]] = {
    "int8_weights": ("weight_only_wi8_afp32", ()),
    "int8": ("static_wi8_ai8", FLOAT_OPERATORS),
}


def _save_frozen(model: keras.Model, folder: Path) -> None:
    """A SavedModel for the converter alone: batch of 1, all weights constants of one graph.

    Keras's own export traces the network five times, and every conversion loads all of it twice: on the XXS
    that took four times the processor time (47 s against 12 s for three formats) for the same network.
    """
    image = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="image")
    traced = tf.function(lambda image: model(image, training=False), input_signature=[image])
    frozen = convert_variables_to_constants_v2(traced.get_concrete_function())
    module = tf.Module()
    module.serve = tf.function(
        lambda image: {"probabilities": tf.nest.flatten(frozen(image))[0]}, input_signature=[image]
    )
    options = tf.saved_model.SaveOptions(experimental_custom_gradients=False)  # nothing trains this
    tf.saved_model.save(module, str(folder), {"serving_default": module.serve}, options)


def _by_tensorflow(saved_model: Path, settings: Settings) -> bytes:
    with _without_gradient_warnings():
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        settings(converter)
        return converter.convert()


@contextlib.contextmanager
def _without_gradient_warnings() -> Iterator[None]:
    """Without TensorFlow's warnings that gradients are missing from what was saved without them."""
    logger = logging.getLogger("absl")

    def wanted(record: logging.LogRecord) -> bool:
        return "custom gradients" not in record.getMessage()

    logger.addFilter(wanted)
    try:
        yield
    finally:
        logger.removeFilter(wanted)


def _quantizer(float32: bytes, recipe: str, float_operators: tuple[str, ...]) -> Quantizer:
    work = Quantizer(float32, getattr(recipes, recipe)())
    for name in float_operators:
        work.update_quantization_recipe(
            regex=".*", operation_name=TFLOperationName(name), algorithm_key="no_quantize"
        )
    if float_operators:
        every, dense = TFLOperationName.ALL_SUPPORTED, TFLOperationName.FULLY_CONNECTED
        work.update_quantization_recipe(WIDENED, every, algorithm_key="no_quantize")
        work.update_quantization_recipe(AFTER_AVERAGES, every, algorithm_key="no_quantize")
        work.update_quantization_recipe(AFTER_AVERAGES, dense, INTEGER_WEIGHTS)
    return work


def _into_silu(float32: bytes) -> set[str]:
    """Names of the tensors that SiLU is taken of: in these networks, all that LOGISTIC reads."""
    model = unpack(float32)
    graph = model.subgraphs[0]
    return {
        graph.tensors[operator.inputs[0]].name.decode()
        for operator in graph.operators
        if kind_of(model, operator) == schema.BuiltinOperator.LOGISTIC
    }


def _quantized(work: Quantizer, calibration: np.ndarray | None, into_silu: Set[str]) -> bytes:
    """Quantizes; the quantizer's own output and warnings are hidden."""
    quiet = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with quiet[0], quiet[1], warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*experimental_preserve_all_tensors.*")
        ranges = None
        if work.need_calibration:
            # Ranges are moving averages: in the order of the classes, they would be those of the last.
            mixed = np.random.default_rng(0).permutation(calibration)
            ranges = work.calibrate({"serving_default": [{"image": image[None]} for image in mixed]})
            for name in ranges.keys() & into_silu:
                ranges[name]["min"] = np.maximum(ranges[name]["min"], LOWEST_OF_SILU)
        return bytes(work.quantize(ranges).quantized_model)
