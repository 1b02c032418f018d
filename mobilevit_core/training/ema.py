"""Averaged weights: what validation and the finished model use while the trained ones still jump about."""

import keras
import tensorflow as tf

from mobilevit_core.training.flat_adamw import assign_flat, lay_flat


class Averages:
    """A moving average of every weight, normalization statistics included.

    Keras's own averages (`use_ema`) leave the statistics out: averaged weights with the live network's
    statistics are far off while the learning rate is high.

    Args:
        model: what to average.
        decay: a step; lower during the first steps, so that the start is forgotten soon.
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
        """Exchanges averages and weights; a second call undoes it."""
        weights, averages = lay_flat(self._weights), tf.identity(self.values)
        with tf.control_dependencies([weights, averages]):
            assign_flat(self._weights, averages)
            self.values.assign(weights)


class AverageWeights(keras.callbacks.Callback):
    """Updates the averages after every step and validates with them."""

    def __init__(self, averages: Averages) -> None:
        super().__init__()
        self._averages = averages

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Takes in the step."""
        self._averages.update()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Averages in."""
        self._averages.swap()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Averages out."""
        self._averages.swap()
