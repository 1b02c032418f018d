"""Exponential moving average (EMA) of the weights, which validation and the finished model use."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from mobilevit_core.training.devices import on_jax


def lay_flat(tensors: Sequence[Any]) -> Any:
    """All values of the tensors, one after the other: (total,)."""
    return ops.concatenate([ops.reshape(tensor, [-1]) for tensor in tensors], 0)


def assign_flat(variables: Sequence[Any], flat: Any) -> None:
    """Gives the variables the values of `lay_flat`'s result."""
    sizes = [int(np.prod(variable.shape)) for variable in variables]
    parts = ops.split(flat, np.cumsum(sizes)[:-1].tolist()) if on_jax() else tf.split(flat, sizes)
    for variable, values in zip(variables, parts, strict=True):
        variable.assign(ops.reshape(values, variable.shape))


def _as_graph(method: Callable[..., None]) -> Callable[..., None]:
    """On TensorFlow, as a graph; JAX's variables can't be assigned to in compiled functions."""
    return method if on_jax() else tf.function(method)


class EMA:
    """Exponential moving average of every weight, normalization statistics included.

    Keras's own EMA (`use_ema`) leaves the statistics out: averaged weights with the live network's
    statistics are far off while the learning rate is high.

    Args:
        model: whose weights to average.
        decay: per step; lower during the first steps, so that the start is forgotten soon.
    """

    def __init__(self, model: keras.Model, decay: float) -> None:
        self._weights = model.weights
        self.values = keras.Variable(lay_flat(self._weights), trainable=False, name="ema")
        self._decay = decay
        self._iterations = model.optimizer.iterations

    @_as_graph
    def update(self) -> None:
        """Takes in the weights after a training step."""
        step = ops.cast(self._iterations, "float32")
        share = 1 - ops.minimum(self._decay, (1 + step) / (10 + step))
        self.values.assign_add(share * (lay_flat(self._weights) - self.values))

    @_as_graph
    def swap(self) -> None:
        """Exchanges EMA and weights; a second call undoes it."""
        weights, averages = lay_flat(self._weights), ops.copy(self.values)
        assign_flat(self._weights, averages)
        self.values.assign(weights)
