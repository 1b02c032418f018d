"""Averaged weights."""

import keras

from mobilevit_core.training.ema import Averages


def test_averages_follow_and_swap() -> None:
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile("sgd", "mse")
    averages = Averages(model, decay=0.5)
    model.optimizer.iterations.assign(1000)
    model.layers[0].kernel.assign([[8.0]])
    averages.update()
    averages.update()
    averages.swap()
    assert model.layers[0].kernel.numpy()[0, 0] == 6.0
    averages.swap()
    assert model.layers[0].kernel.numpy()[0, 0] == 8.0
