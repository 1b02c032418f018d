"""The same network with layers that train faster, sharing nothing but names and order of weights.

Keras 3 computes BatchNormalization from many small operations; TensorFlow has one kernel for it, forward
and backward. `training_form` swaps such layers in for training only: the plain model is what is saved
and exported, and `tests/test_training_form.py` holds the two together (outputs, gradients, statistics).
"""

from typing import Any

import keras
import tensorflow as tf
from keras import layers


class FusedBatchNormalization(layers.BatchNormalization):
    """BatchNormalization whose training step is TensorFlow's single fused kernel."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Normalizes; in training also updates the moving statistics, as the plain layer does."""
        if not (training and self.trainable):
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        # The kernel reports the unbiased variance, Keras keeps the biased one.
        count = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
        variance = variance * (count - 1) / count
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return outputs


@tf.custom_gradient
def _silu(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
    gate = tf.sigmoid(x)
    y = x * gate

    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return upstream * (gate + y * (1 - gate))

    return y, gradient


class FusedSiLU(layers.Activation):
    """SiLU that keeps its gate for the gradient instead of computing the sigmoid once more."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """x * sigmoid(x)."""
        return _silu(inputs)


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
    if type(layer) is layers.BatchNormalization:
        return FusedBatchNormalization.from_config(config)
    if type(layer) is layers.Activation and config["activation"] in ("silu", "swish"):
        return FusedSiLU.from_config(config)
    return type(layer).from_config(config)
