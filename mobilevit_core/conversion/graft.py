"""A new classifier on a converted network, without converting anything again.

The contract between trunk and head, the same for every program that grafts, in whatever language:

Trunk. A .tflite file from `image` to `features`: one of a bundle's formats without its classifier. A bundle
ships trunks as `trunk_FORMAT.tflite` and states their digests in the manifest's `trunk`; of any other bundle
they are what `cut` leaves of its own files. Their features are what a head is fitted on: those of the float32
trunk, for all formats.

Cut. From the output backwards: SOFTMAX, then in int8 a DEQUANTIZE, then FULLY_CONNECTED with the DEQUANTIZE
of its weights where there are any, then in int8 a QUANTIZE. What that reads are the features, float32
(1, features) in every format. Tensors and buffers that nothing uses any more go, and so does the metadata.

Graft. The reverse, appended to the trunk's graph; no tensor of the trunk changes.

float32        FULLY_CONNECTED of features, kernel (classes, features), bias (classes,)
float16        the same; kernel and bias in float16, each behind a DEQUANTIZE
dynamic_int8   kernel in int8, bias in float32; FULLY_CONNECTED version 12, asymmetricQuantizeInputs;
               as float32 where the kernel has under 1,024 numbers
int8_weights   kernel in int8 behind a DEQUANTIZE, bias in float32
int8           QUANTIZE, FULLY_CONNECTED with kernel in int8 and bias in int32, DEQUANTIZE

Behind each of them SOFTMAX with beta 1 gives `probabilities`, the only output of graph and signature.

Scales. A kernel in int8 is symmetric with a scale for each class, largest absolute weight / 127. The int8
format has three more: of the features and of the logits, asymmetric over the range of the photos that
the head is made of with zero in it, and of the bias, the features' scale times each class's. The scales
inside the trunk stay those that it was converted with.

Afterwards `bundle/tflite_metadata.py` describes the file, and puts labels and manifest behind it, as for any
other file; the golden inputs in it are answered by the finished files.

Identity. A head belongs to its trunk's weights, whatever the format: the digest of their model.keras, which
the manifest of what is made of them records as `start.weights_sha256`.
"""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobilevit_core.bundle.tflite_file import builtin, kind_of, pack, unpack
from mobilevit_core.bundle.tflite_metadata import METADATA, OUTPUT
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.calibration import softmax
from mobilevit_core.models.parts import CLASSIFIER

FEATURES = "features"
FULLY_CONNECTED, SOFTMAX = schema.BuiltinOperator.FULLY_CONNECTED, schema.BuiltinOperator.SOFTMAX
QUANTIZE, DEQUANTIZE = schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE
PER_CHANNEL_HYBRID = 12  # version of FULLY_CONNECTED: float32 features, int8 weights, a scale for each class
TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.float16): schema.TensorType.FLOAT16,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
}
SMALL_MATRIX = 1024  # numbers, under which the converter leaves a matrix in float32 in dynamic_int8
KERAS_CONFIG, KERAS_WEIGHTS = "config.json", "model.weights.h5"


@dataclass(frozen=True)
class Head:
    """A classifier on features.

    Attributes:
        kernel: float32 (features, classes).
        bias: float32 (classes,).
        features: of the photos that it was made of, float32 (photos, features): what int8 finds its
            scales on.
    """

    kernel: np.ndarray
    bias: np.ndarray
    features: np.ndarray

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Float64 (photos, classes)."""
        return features.astype(np.float64) @ self.kernel + self.bias

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """What the network says about photos with these features: float32 (photos, classes)."""
        return softmax(self.logits(features)).astype(np.float32)


def cut(content: bytes) -> bytes:
    """The trunk of a bundle's .tflite file.

    Raises:
        UserError: the file does not end in a classifier.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    tensor, removed = graph.outputs[0], []
    for kind in (SOFTMAX, DEQUANTIZE, FULLY_CONNECTED, QUANTIZE):
        operator = makers.get(tensor)
        if operator is None or kind_of(model, operator) != kind:
            continue
        removed += [operator, *(makers[index] for index in operator.inputs[1:] if index in makers)]
        tensor = operator.inputs[0]
    if [kind_of(model, operator) for operator in removed].count(FULLY_CONNECTED) != 1:
        raise UserError("This .tflite file does not end in a classifier, so it has no trunk.")
    graph.operators = [operator for operator in graph.operators if operator not in removed]
    model.metadata = [entry for entry in model.metadata or [] if entry.name != METADATA]
    _end_in(model, tensor, FEATURES)
    _leave_out_unused(model)
    return pack(model)


def graft(trunk: bytes, format: str, head: Head) -> bytes:
    """A trunk with a classifier: a .tflite file without metadata.

    Args:
        trunk: of the format.
        format: a key of `HEADS`.
        head: its number of features must be the trunk's.
    """
    graph = _Graph(unpack(trunk))
    logits = HEADS[format](graph, graph.model.subgraphs[0].outputs[0], head)
    probabilities = graph.activation(OUTPUT, len(head.bias))
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    graph.append(SOFTMAX, [logits], probabilities, options)
    _end_in(graph.model, probabilities, OUTPUT)
    return pack(graph.model)


def graft_keras(content: bytes, head: Head) -> bytes:
    """The same for a bundle's model.keras, as Keras writes it: configuration and HDF5 in a zip."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members[KERAS_CONFIG])
    (layer,) = (layer for layer in config["config"]["layers"] if layer["name"] == CLASSIFIER)
    _set_classes(config, len(head.bias))
    layer["config"]["units"] = len(head.bias)
    members[KERAS_CONFIG] = json.dumps(config).encode()
    members[KERAS_WEIGHTS] = _with_weights(members[KERAS_WEIGHTS], head)
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, member in members.items():
            archive.writestr(zipfile.ZipInfo(name), member)  # a fixed date: the same head makes the same file
    return written.getvalue()


class _Graph:
    """A model that tensors and operators are appended to."""

    def __init__(self, model: schema.ModelT) -> None:
        self.model = model
        self._graph = model.subgraphs[0]

    def constant(self, name: str, values: np.ndarray, scales: np.ndarray | None = None) -> int:
        """Adds weights, with a scale for each row if they are quantized; the tensor's index."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        quantization = None if scales is None else _quantization(scales, np.zeros(len(scales), int))
        return self._tensor(name, values.shape, values.dtype, len(self.model.buffers) - 1, quantization)

    def activation(self, name: str, width: int, span: tuple[float, int] | None = None) -> int:
        """Adds a tensor (1, width), float32 or int8 with scale and zero point; its index."""
        quantization = _quantization(*np.reshape(span, (2, 1))) if span else None
        return self._tensor(name, (1, width), np.int8 if span else np.float32, 0, quantization)

    def append(
        self, kind: int, inputs: Sequence[int], output: int, options: Any = None, version: int = 1
    ) -> int:
        """Adds an operator behind all others; its output."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(kind, version)
        operator.inputs, operator.outputs = np.array(inputs, np.int32), np.array([output], np.int32)
        if options:  # its class tells the type: SoftmaxOptionsT
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self._graph.operators.append(operator)
        return output

    def dequantized(self, name: str, values: np.ndarray, scales: np.ndarray | None = None) -> int:
        """Adds weights that are stored in fewer bits and computed with in float32; the latter's index."""
        output = self._tensor(f"{name}_float32", values.shape, np.float32, 0, None)
        return self.append(DEQUANTIZE, [self.constant(name, values, scales)], output)

    def dense(self, inputs: Sequence[int], output: int, hybrid: bool = False) -> int:
        """Adds a fully connected layer; its output."""
        options = schema.FullyConnectedOptionsT()
        options.asymmetricQuantizeInputs = hybrid
        return self.append(FULLY_CONNECTED, inputs, output, options, PER_CHANNEL_HYBRID if hybrid else 1)

    def _code(self, kind: int, version: int) -> int:
        codes = self.model.operatorCodes
        for index, code in enumerate(codes):
            if (builtin(code), code.version) == (kind, version):
                return index
        code = schema.OperatorCodeT()
        code.builtinCode, code.version = kind, version
        code.deprecatedBuiltinCode = min(kind, 127)  # where older runtimes look
        codes.append(code)
        return len(codes) - 1

    def _tensor(self, name: str, shape: Sequence[int], dtype: Any, buffer: int, quantization: Any) -> int:
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type = name, np.array(shape, np.int32), TYPES[np.dtype(dtype)]
        tensor.buffer, tensor.quantization, tensor.hasRank = buffer, quantization, True
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1


def _float32(graph: _Graph, features: int, head: Head) -> int:
    kernel, bias = graph.constant("kernel", head.kernel.T), graph.constant("bias", head.bias)
    return graph.dense([features, kernel, bias], graph.activation("logits", len(head.bias)))


def _float16(graph: _Graph, features: int, head: Head) -> int:
    kernel = graph.dequantized("kernel", head.kernel.T.astype(np.float16))
    bias = graph.dequantized("bias", head.bias.astype(np.float16))
    return graph.dense([features, kernel, bias], graph.activation("logits", len(head.bias)))


def _dynamic_int8(graph: _Graph, features: int, head: Head) -> int:
    if head.kernel.size < SMALL_MATRIX:
        return _float32(graph, features, head)
    kernel, bias = graph.constant("kernel", *_rounded(head)), graph.constant("bias", head.bias)
    return graph.dense([features, kernel, bias], graph.activation("logits", len(head.bias)), hybrid=True)


def _int8_weights(graph: _Graph, features: int, head: Head) -> int:
    kernel, bias = graph.dequantized("kernel", *_rounded(head)), graph.constant("bias", head.bias)
    return graph.dense([features, kernel, bias], graph.activation("logits", len(head.bias)))


def _int8(graph: _Graph, features: int, head: Head) -> int:
    classes, (kernel, scales) = len(head.bias), _rounded(head)
    span, logits_span = _span(head.features), _span(head.logits(head.features))
    rounded = graph.activation("features_int8", head.features.shape[1], span)
    graph.append(QUANTIZE, [features], rounded)
    steps = (span[0] * scales).astype(np.float32)
    bias = graph.constant("bias", np.rint(head.bias / steps).astype(np.int32), steps)
    inputs = [rounded, graph.constant("kernel", kernel, scales), bias]
    logits = graph.dense(inputs, graph.activation("logits_int8", classes, logits_span))
    return graph.append(DEQUANTIZE, [logits], graph.activation("logits", classes))


# Format -> what appends the logits to a trunk of it, given the features' tensor; returns theirs.
HEADS: dict[str, Callable[[_Graph, int, Head], int]] = {
    "float32": _float32,
    "float16": _float16,
    "dynamic_int8": _dynamic_int8,
    "int8_weights": _int8_weights,
    "int8": _int8,
}


def _rounded(head: Head) -> tuple[np.ndarray, np.ndarray]:
    """The kernel as int8 (classes, features), and the scale of each class."""
    scales = np.maximum(np.abs(head.kernel).max(axis=0), 1e-9).astype(np.float32) / np.float32(127)
    return np.rint(head.kernel.T / scales[:, None]).astype(np.int8), scales


def _span(values: np.ndarray) -> tuple[float, int]:
    """Scale and zero point of int8 for these values and zero."""
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    scale = max(high - low, 1e-9) / 255
    return scale, round(-128 - low / scale)


def _quantization(scales: np.ndarray, zero_points: np.ndarray) -> schema.QuantizationParametersT:
    quantization = schema.QuantizationParametersT()
    quantization.scale = np.asarray(scales, np.float32)
    quantization.zeroPoint = np.asarray(zero_points).astype(np.int64)
    return quantization


def _end_in(model: schema.ModelT, tensor: int, name: str) -> None:
    """Makes a tensor the only output, of the graph and of its signatures."""
    graph = model.subgraphs[0]
    graph.outputs, graph.tensors[tensor].name = np.array([tensor], np.int32), name
    for signature in model.signatureDefs or []:
        signature.outputs[0].name, signature.outputs[0].tensorIndex = name, tensor


def _leave_out_unused(model: schema.ModelT) -> None:
    """Removes tensors that no operator uses, and buffers that no tensor uses."""
    graph = model.subgraphs[0]
    wiring = [part for operator in graph.operators for part in (operator.inputs, operator.outputs)]
    places = _places(len(graph.tensors), np.concatenate([graph.inputs, graph.outputs, *wiring]))
    graph.tensors = [tensor for tensor, place in zip(graph.tensors, places, strict=False) if place >= 0]
    graph.inputs, graph.outputs = places[graph.inputs], places[graph.outputs]
    for operator in graph.operators:
        operator.inputs, operator.outputs = places[operator.inputs], places[operator.outputs]
    for signature in model.signatureDefs or []:
        for entry in (*signature.inputs, *signature.outputs):
            entry.tensorIndex = int(places[entry.tensorIndex])
    holders = [*graph.tensors, *model.metadata]
    places = _places(len(model.buffers), np.array([0, *(holder.buffer for holder in holders)]))
    model.buffers = [buffer for buffer, place in zip(model.buffers, places, strict=False) if place >= 0]
    for holder in holders:
        holder.buffer = int(places[holder.buffer])


def _places(count: int, used: np.ndarray) -> np.ndarray:
    """New index of each of so many things, -1 where it is not used; -1 itself (nothing) stays -1."""
    kept = np.zeros(count + 1, bool)
    kept[used] = True
    kept[-1] = False
    return np.where(kept, np.cumsum(kept) - 1, -1).astype(np.int32)


def _set_classes(config: dict[str, Any], classes: int) -> None:
    """States the classifier's new width where the layer behind it records its input."""
    for layer in config["config"]["layers"]:
        for node in layer["inbound_nodes"]:
            for argument in node["args"]:
                tensor = argument.get("config", {}) if isinstance(argument, dict) else {}
                if tensor.get("keras_history", [None])[0] == CLASSIFIER:
                    tensor["shape"] = [None, classes]


def _with_weights(content: bytes, head: Head) -> bytes:
    import h5py  # not needed by programs that only run files

    written = io.BytesIO(content)
    with h5py.File(written, "r+") as file:
        layers = file["layers"].values()
        (values,) = (layer["vars"] for layer in layers if layer["vars"].attrs.get("name") == CLASSIFIER)
        for name, new in (("0", head.kernel), ("1", head.bias)):
            del values[name]
            values[name] = new.astype(np.float32)
    return written.getvalue()
