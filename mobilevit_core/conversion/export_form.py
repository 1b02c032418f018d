"""The same network in fewer operators, equal in its answers: what is converted to TFLite.

TFLite has no layer normalization: it becomes eleven operators, most of them as large as all tokens together.
Two facts leave five, of which two are as large:

- Normalization ignores a token's mean. Whatever is added to the tokens comes from a linear layer, and if
  each of these layers writes nothing but means of zero, no mean needs to be subtracted.
- A scale and a shift in front of a linear layer are a part of its weights.

The Keras model that is trained and saved stays as it is.
"""

import re

import keras
import numpy as np
from keras import KerasTensor, layers, ops

# Layers that write into the tokens, and what normalizes them -> the layer that reads the result, as
# `models/blocks.py` names them.
WRITERS = re.compile(r".+_(project_in|attention_out|ffn_out)")
READERS = {"_attention_norm": "_attention_qkv", "_ffn_norm": "_ffn_in", "_norm": "_project_out_conv"}


class RootMeanSquare(layers.Layer):
    """Divides every token of mean zero by its standard deviation.

    Args:
        epsilon: is added to the variance.
    """

    def __init__(self, epsilon: float, **settings: object) -> None:
        super().__init__(**settings)
        self.epsilon = epsilon

    def call(self, x: KerasTensor) -> KerasTensor:
        """Tokens (tokens, d) -> tokens (tokens, d)."""
        return x * ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + self.epsilon)


def export_form(model: keras.Model) -> keras.Model:
    """Clones a model into its form for export.

    Args:
        model: of `create_mobilevit`. A network without MobileViT blocks as the paper has them is returned
            as it is.

    Returns:
        A model with weights of its own and the same answers, but for the last digits.
    """
    norms = {layer.name: layer for layer in model.layers if _reader(layer)}
    names = {layer.name for layer in model.layers}
    if not norms or not {_reader(norm) for norm in norms.values()} <= names:
        return model
    clone = keras.models.clone_model(model, clone_function=_export_layer)
    for layer in model.layers:
        if layer.name not in norms:
            clone.get_layer(layer.name).set_weights(layer.get_weights())
    for layer in clone.layers:
        if WRITERS.fullmatch(layer.name):
            layer.set_weights([_without_mean(weights) for weights in layer.get_weights()])
    for norm in norms.values():
        _take_over(clone, _reader(norm), *norm.get_weights())
    return clone


def _reader(layer: layers.Layer) -> str | None:
    """Name of the layer that reads what a layer normalizes; None where it is no normalization of ours."""
    if not isinstance(layer, layers.LayerNormalization):
        return None
    ending = next((ending for ending in READERS if layer.name.endswith(ending)), None)
    return layer.name.removesuffix(ending) + READERS[ending] if ending else None


def _export_layer(layer: layers.Layer) -> layers.Layer:
    if _reader(layer):
        return RootMeanSquare(layer.epsilon, name=layer.name)
    return type(layer).from_config(layer.get_config())


def _without_mean(weights: np.ndarray) -> np.ndarray:
    """Kernel or bias of a layer whose results have a mean of zero."""
    return weights - weights.mean(axis=-1, keepdims=True, dtype=np.float64)


def _take_over(model: keras.Model, reader: str, scale: np.ndarray, shift: np.ndarray) -> None:
    """Makes scale and shift of a normalization a part of the layer that reads its result.

    Args:
        model: is changed.
        reader: a Dense layer with bias, or a 1x1 convolution without, whose BatchNorm takes the shift.
        scale: (d,).
        shift: (d,).
    """
    layer = model.get_layer(reader)
    kernel, *bias = layer.get_weights()
    moved = shift.astype(np.float64) @ kernel.reshape(-1, kernel.shape[-1])
    layer.set_weights([kernel * scale[:, None], *(old + moved for old in bias)])
    if not bias:
        batch_norm = model.get_layer(reader.removesuffix("_conv") + "_bn")
        *others, mean, variance = batch_norm.get_weights()
        batch_norm.set_weights([*others, mean - moved, variance])
