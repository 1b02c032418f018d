"""Exponential moving average (EMA) of the weights, which validation and the finished model use."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf


def lay_flat(tensors: Sequence[Any]) -> tf.Tensor:
    """All values of the tensors, one after the other: (total,)."""
    return tf.concat([tf.reshape(tensor, [-1]) for tensor in tensors], 0)


def assign_flat(variables: Sequence[Any], flat: tf.Tensor) -> None:
    """Gives the variables the values of `lay_flat`'s result."""
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    for variable, values in zip(variables, tf.split(flat, sizes), strict=True):
        variable.assign(tf.reshape(values, variable.shape))


class EMA:
    """Exponential moving average of every weight, normalization statistics included.

    Keras's own EMA (`use_ema`) leaves the statistics out: averaged weights with the live network's
    statistics are far off while the learning rate is high.

    Args:
        model: whose weights to average.
        decay: per step; lower during the first steps, so that the start is forgotten soon.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self._weights = [weight.value for weight in model.weights]
        self.values = tf.Variable(lay_flat(self._weights))
        self._decay = decay
        self._iterations = model.optimizer.iterations

    @tf.function
    def update(self) -> None:
        """Takes in the weights after a training step."""
        step = tf.cast(self._iterations.value, tf.float32)
        share = 1 - tf.minimum(self._decay, (1 + step) / (10 + step))
        self.values.assign_add(share * (lay_flat(self._weights) - self.values))

    @tf.function
    def swap(self) -> None:
        """Exchanges EMA and weights; a second call undoes it."""
        weights, averages = lay_flat(self._weights), tf.identity(self.values)
        with tf.control_dependencies([weights, averages]):
            assign_flat(self._weights, averages)
            self.values.assign(weights)
