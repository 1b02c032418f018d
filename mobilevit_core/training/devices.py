"""Several accelerators of one machine: the plain network under `tf.distribute.MirroredStrategy`.

Each device takes its part of every batch; gradients and the statistics of normalization are joined, so the
training is that of one device apart from rounding and the random numbers of dropout. The fused layers and the
flat optimizer are not used here: they are proven on one device only.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

from mobilevit_core.messages import note

ONE, ALL = "one", "all"


def open_strategy(devices: str) -> tf.distribute.Strategy | None:
    """The strategy for a recipe's `devices`.

    Args:
        devices: "one", or "all" for all accelerators of this machine (without any, its logical processors).

    Returns:
        None for one device, also where there is only one.
    """
    if devices == ONE:
        return None
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < 2:
        note(f"devices=all: this machine has one device only ({found[0].name}), so it is used alone.")
        return None
    return tf.distribute.MirroredStrategy([device.name for device in found])


def inside(strategy: tf.distribute.Strategy | None) -> AbstractContextManager[object]:
    """Where models and optimizers for a strategy are made."""
    return strategy.scope() if strategy else nullcontext()


def synchronized(model: keras.Model) -> keras.Model:
    """A copy of a network whose normalization layers take the statistics of the whole batch.

    Args:
        model: a network of Keras's own layers.

    Returns:
        The same network with the same weights, in the same order.
    """

    def copied(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if isinstance(layer, keras.layers.BatchNormalization):
            config["synchronized"] = True
        return layer.__class__.from_config(config)

    copy = keras.models.clone_model(model, clone_function=copied)
    copy.set_weights(model.get_weights())
    return copy


class MirroredAdamW(keras.optimizers.AdamW):
    """Keras's AdamW, clipping the gradient of the whole batch.

    Keras's own `global_clipnorm` clips each device's part of the gradient before the parts are added.

    Args:
        learning_rate: a number or a schedule.
        weight_decay: per step, times the learning rate.
        clip_norm: highest global norm of the gradient, 0 for no limit.
    """

    def __init__(self, learning_rate: Any, weight_decay: float, clip_norm: float) -> None:
        super().__init__(learning_rate, weight_decay=weight_decay)
        self._clip_norm = clip_norm

    def apply(self, grads: Sequence[tf.Tensor], trainable_variables: Any = None) -> None:
        """One step with this device's part of the gradient."""
        devices = tf.distribute.get_replica_context()
        if self._clip_norm and devices:
            total = devices.all_reduce(tf.distribute.ReduceOp.SUM, list(grads))
            clipped, _ = tf.clip_by_global_norm(total, self._clip_norm)
            grads = [gradient / devices.num_replicas_in_sync for gradient in clipped]  # Keras adds them up
        super().apply(grads, trainable_variables)
