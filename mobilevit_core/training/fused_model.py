"""The same network made of layers that train faster, equal in number, order and shape of weights.

The plain model is what is saved and exported; `tests/training/test_fused_model.py` holds the two together
(outputs, gradients, moving statistics). A layer is replaced only where its configuration is one that the
fused layer computes equally; any other keeps Keras's own.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from mobilevit_core.training.fused_layers import (
    FastDropout,
    FusedBatchNormalization,
    FusedConv2D,
    FusedDense,
    FusedLayerNormalization,
    FusedSiLU,
)

SMALLEST_EPSILON = 1e-5  # TensorFlow's fused normalization uses no smaller one
LARGEST_RATE = 0.99  # of dropout; at 1 the scale of what is kept would be infinite


def _is_silu(config: dict[str, Any]) -> bool:
    return config["activation"] in ("silu", "swish")


def _is_plain_product(config: dict[str, Any]) -> bool:
    """Neither quantized nor with low-rank adapters."""
    return not config.get("lora_rank") and not config.get("quantization_config")


def _is_plain_convolution(config: dict[str, Any]) -> bool:
    return (
        _is_plain_product(config)
        and config["data_format"] == "channels_last"
        and config["groups"] == 1
        and tuple(config["dilation_rate"]) == (1, 1)
    )


def _is_plain_batch_norm(config: dict[str, Any]) -> bool:
    return (
        config["axis"] in (-1, 3)  # the layer checks that its inputs are of rank 4
        and config["center"]
        and config["scale"]
        and not config.get("synchronized")
        and not config.get("renorm")
        and config["epsilon"] >= SMALLEST_EPSILON
    )


def _is_plain_layer_norm(config: dict[str, Any]) -> bool:
    last = config["axis"] in (-1, [-1], (-1,))
    return last and config["center"] and config["scale"] and not config.get("rms_scaling")


def _is_plain_dropout(config: dict[str, Any]) -> bool:
    return config["noise_shape"] is None and config["rate"] <= LARGEST_RATE


# Keras's layer -> what replaces it in training, and for which configurations the two are equal.
TRAINING_LAYERS: dict[type, tuple[type, Callable[[dict[str, Any]], bool]]] = {
    layers.Activation: (FusedSiLU, _is_silu),
    layers.BatchNormalization: (FusedBatchNormalization, _is_plain_batch_norm),
    layers.Conv2D: (FusedConv2D, _is_plain_convolution),
    layers.Dense: (FusedDense, _is_plain_product),
    layers.Dropout: (FastDropout, _is_plain_dropout),
    layers.LayerNormalization: (FusedLayerNormalization, _is_plain_layer_norm),
}


def training_form(model: keras.Model) -> keras.Model:
    """Clones a model into its form for training, with the same weights.

    Args:
        model: a functional or sequential model. Layers inside of nested models and wrappers stay plain.

    Returns:
        A model with weights of its own, equal in number, order and value; `plain.set_weights(
        trained.get_weights())` brings them back.
    """
    clone = keras.models.clone_model(model, clone_function=_training_layer)
    clone.set_weights(model.get_weights())
    return clone


def _training_layer(layer: layers.Layer) -> layers.Layer:
    config = layer.get_config()
    fused, is_equal = TRAINING_LAYERS.get(type(layer), (type(layer), None))
    if is_equal and layer.dtype_policy.name == "float32" and is_equal(config):
        return fused.from_config(config)
    return type(layer).from_config(config)
