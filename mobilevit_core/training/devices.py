"""Several accelerators: the plain network under a strategy of TensorFlow or Keras.

Those of one machine by `tf.distribute.MirroredStrategy`, those of several machines by
`keras.distribution.DataParallel`, which needs Keras's JAX backend. Each device takes its part of every batch;
gradients and the statistics of normalization are joined, so the training is that of one device apart from
rounding and, under MirroredStrategy, the random numbers of dropout. The fused layers and the flat optimizer
are not used here: they are proven on one device only.
"""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import keras
import tensorflow as tf

from mobilevit_core.errors import UserError
from mobilevit_core.messages import note
from mobilevit_core.tensorflow_setup import check_tensorflow

ONE, ALL, MACHINES = "one", "all", "machines"
PLACE = "KERAS_DISTRIBUTION_"  # how Keras's variables about a process's place among several begin

Strategy = tf.distribute.Strategy | keras.distribution.DataParallel


def on_jax() -> bool:
    """Whether Keras runs on JAX (`KERAS_BACKEND=jax`)."""
    return keras.backend.backend() == "jax"


def join_machines() -> None:
    """Connects this process with those of the other machines, before anything is computed.

    Keras reads from the environment where they are. Without that, or on TensorFlow, the process stays alone.
    """
    if not on_jax():
        return
    import jax

    tf.config.set_visible_devices([], "GPU")  # TensorFlow augments photos, on the processor
    if any(name.startswith(PLACE) for name in os.environ) and not jax.distributed.is_initialized():
        keras.distribution.initialize()


def process_number() -> int:
    """Of this process among those that train together, from 0. Number 0 alone writes the run folder."""
    if not on_jax():
        return 0
    import jax

    return jax.process_index()


def check_devices(devices: str, has_teachers: bool) -> None:
    """Raises a UserError unless Keras's backend can train so, before anything is read or written.

    Args:
        devices: of the recipe.
        has_teachers: whether there are teachers. Networks on JAX can't answer inside of tf.data.
    """
    if on_jax() and devices != MACHINES:
        raise UserError(
            "KERAS_BACKEND=jax trains with --devices machines only. Unset KERAS_BACKEND, or add the option."
        )
    if devices == MACHINES and has_teachers:
        raise UserError("--devices machines takes no --teacher. Leave one of them out.")
    if not on_jax():
        check_tensorflow()


def check_backend(devices: str, epochs_left: int) -> None:
    """Raises a UserError unless Keras's backend can train the rest of a run.

    Args:
        devices: of the recipe.
        epochs_left: of the run; with none left, nothing is trained and either backend will do.
    """
    if devices == MACHINES and not on_jax() and epochs_left:
        raise UserError(
            f"--devices machines needs KERAS_BACKEND=jax, and {epochs_left} epochs are left. Set it "
            "(once: pip install '.[machines]'), or make a bundle of the epochs that are done: "
            "python -m mobilevit_core finish RUN"
        )


def open_strategy(devices: str) -> Strategy | None:
    """The strategy for a recipe's `devices`.

    Args:
        devices: "one", "all" for all accelerators of this machine (without any, its logical processors), or
            "machines" for those of all machines that `join_machines` connected.

    Returns:
        None for one device, also where there is only one, and for several machines on TensorFlow.
    """
    if devices == ONE:
        return None
    if devices == MACHINES:
        return keras.distribution.DataParallel(auto_shard_dataset=False) if on_jax() else None
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if len(found) < 2:
        note(f"devices=all: this machine has one device only ({found[0].name}), so it is used alone.")
        return None
    return tf.distribute.MirroredStrategy([device.name for device in found])


def inside(strategy: Strategy | None) -> AbstractContextManager[object]:
    """Where models and optimizers for a strategy are made and trained."""
    return strategy.scope() if strategy else nullcontext()


def own_part(batches: tf.data.Dataset, strategy: Strategy | None) -> tf.data.Dataset:
    """This process's part of every batch; all of it but on several machines.

    A batch that the devices can't share evenly is filled up with its own first images.

    Args:
        batches: images (batch, size, size, 3) and labels (batch, classes), the same in all processes.
        strategy: of the training.
    """
    if not isinstance(strategy, keras.distribution.DataParallel):
        return batches
    devices, process = strategy.num_model_replicas, strategy.data_shard_id
    own_devices = devices // strategy.num_processes

    def part(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        size = tf.shape(images)[0]
        count = (size + devices - 1) // devices * own_devices
        chosen = tf.range(process * count, (process + 1) * count) % size
        return tf.gather(images, chosen), tf.gather(labels, chosen)

    return batches.map(part).prefetch(2)


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
