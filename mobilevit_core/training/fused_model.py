"""The same network made of layers that train faster, equal in number, order and shape of weights.

The plain model is what is saved and exported; `tests/test_training_form.py` holds the two together
(outputs, gradients, moving statistics).
"""

import keras
from keras import layers

from mobilevit_core.training.fused_layers import (
    FastDropout,
    FlatMultiHeadAttention,
    FusedBatchNormalization,
    FusedConv2D,
    FusedDense,
    FusedLayerNormalization,
    FusedSiLU,
)

# Keras's layer -> what stands for it in training; all other layers stay what they are.
TRAINING_LAYERS = {
    layers.BatchNormalization: FusedBatchNormalization,
    layers.Conv2D: FusedConv2D,
    layers.Dense: FusedDense,
    layers.Dropout: FastDropout,
    layers.LayerNormalization: FusedLayerNormalization,
    layers.MultiHeadAttention: FlatMultiHeadAttention,
}


def training_form(model: keras.Model) -> keras.Model:
    """Clones a model into its form for training, with the same weights.

    Args:
        model: a model of `create_mobilevit`, or its `logits_model`.

    Returns:
        A model with weights of its own, equal in number, order and value; `plain.set_weights(
        trained.get_weights())` brings them back.
    """
    clone = keras.models.clone_model(model, clone_function=_training_layer)
    clone.set_weights(model.get_weights())
    return clone


def _training_layer(layer: layers.Layer) -> layers.Layer:
    config = layer.get_config()
    if type(layer) is layers.Activation and config["activation"] in ("silu", "swish"):
        return FusedSiLU.from_config(config)
    return TRAINING_LAYERS.get(type(layer), type(layer)).from_config(config)
