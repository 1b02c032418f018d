"""Trains a small network on one logical processor and on two, with the same photos, and prints both.

python -m tests.training.two_devices
"""

import dataclasses
import json
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from mobilevit_core.training import state
from mobilevit_core.training.callbacks import UpdateEMA
from mobilevit_core.training.devices import inside
from mobilevit_core.training.recipes import Recipe

RECIPE = Recipe(image_size=64, stages=((64, 3),), batch_size=8, warmup_epochs=0.5, ema_decay=0.9, mix=0)


def network(variant: str, classes: int, image_size: int, architecture: str) -> keras.Model:
    """What the real network is made of, but dropout, whose random numbers differ from device to device."""
    image = layers.Input((image_size, image_size, 3), name="image")
    x = layers.Conv2D(8, 3, 4, use_bias=False, name="conv")(layers.Rescaling(1 / 255)(image))
    x = layers.Activation("silu")(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.DepthwiseConv2D(3, 2, use_bias=False)(x)
    x = layers.GlobalAveragePooling2D()(layers.BatchNormalization(momentum=0.9)(x))
    return keras.Model(image, layers.Softmax()(layers.Dense(classes, name="logits")(x)))


def train(devices: str) -> dict[str, object]:
    """Losses of every epoch, and the weights that the recipe keeps."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (32, 64, 64, 3)).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)[random.integers(0, 3, 32)]
    images[np.arange(32), :, :, labels.argmax(axis=1)] += 60  # something to learn
    model = network("xxs", 3, 64, "paper")
    recipe = dataclasses.replace(RECIPE, devices=devices)
    trained = state.TrainingState(model, 64, recipe, 4, None)
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(recipe.batch_size)
    ema = [UpdateEMA(trained.ema)]
    with inside(trained.strategy):
        history = trained.trained.fit(
            batches, validation_data=batches, epochs=3, shuffle=False, callbacks=ema, verbose=0
        )
    before = trained.checkpoint()
    again = state.TrainingState(network("xxs", 3, 64, "paper"), 64, recipe, 4, before)
    same = all(
        np.array_equal(before.arrays[name], value) for name, value in again.checkpoint().arrays.items()
    )
    trained.copy_kept_weights(model)
    strategy = trained.trained.distribute_strategy
    return {
        "replicas": strategy.num_replicas_in_sync if strategy else 1,
        "loss": history.history["loss"],
        "val_loss": history.history["val_loss"],
        "weights": np.concatenate([weight.ravel() for weight in model.get_weights()]).tolist(),
        "checkpoint is restored": same,
    }


def main() -> None:
    """Prints both as JSON."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    state.create_mobilevit = network
    print(json.dumps({devices: train(devices) for devices in ("one", "all")}))


if __name__ == "__main__":
    main()
