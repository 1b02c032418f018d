"""Averaged weights."""

import keras

from mobilevit_core.training.ema import EMA


def test_averages_follow_and_swap() -> None:
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    ema = EMA(model, decay=0.5)
    model.optimizer.iterations.assign(1000)
    model.layers[0].kernel.assign([[8.0]])
    ema.update()
    ema.update()
    ema.swap()
    assert model.layers[0].kernel.numpy()[0, 0] == 6.0
    ema.swap()
    assert model.layers[0].kernel.numpy()[0, 0] == 8.0
