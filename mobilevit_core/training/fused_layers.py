"""Layers that compute what Keras's own compute, from few large operations instead of many small ones.

A step on a processor spends much of its time between the matrix products: normalizations, activations
and dropout written as ten passes over memory each. Here they are single kernels, or short chains that
XLA compiles into one loop (XLA as a whole is slower than TensorFlow on processors; for elementwise
chains it is faster). Names, weights and their order are those of the layers that they stand for.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers


def _one_loop(*ranks: int, seeded: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compiles an elementwise chain, perhaps with a reduction, into one loop over memory.

    Traced once for float tensors of these ranks, and a seed of two int32 where it is `seeded`, of any size;
    compiled once for each size that occurs. Without AutoGraph: there is no control flow to convert, and the
    search for it took a quarter of a first step's time.
    """
    signature = [tf.TensorSpec([None] * rank, tf.float32) for rank in ranks]
    signature += [tf.TensorSpec([2], tf.int32)] * seeded
    return lambda function: tf.function(
        function, input_signature=signature, jit_compile=True, autograph=False
    )


def _rows(x: tf.Tensor) -> tf.Tensor:
    """The last axis and all others as one: (rows, channels)."""
    return tf.reshape(x, (-1, x.shape[-1]))


def _unrows(rows: tf.Tensor, like: tf.Tensor) -> tf.Tensor:
    """The reverse of `_rows` for a tensor of these leading axes; the last axis is that of the rows."""
    inner = [*like.shape[1:-1], rows.shape[-1]]
    if None not in inner:
        return tf.reshape(rows, (-1, *inner))
    return tf.reshape(rows, tf.concat([tf.shape(like)[:-1], inner[-1:]], 0))


def _fits(inputs: tf.Tensor) -> bool:
    """Whether the fused layers may handle a tensor: float32, at least a matrix, channels known."""
    return inputs.dtype == tf.float32 and len(inputs.shape) >= 2 and inputs.shape[-1] is not None


# --- activations ---------------------------------------------------------------------------------------


@_one_loop(2, 2)
def _silu_gradient(x: tf.Tensor, upstream: tf.Tensor) -> tf.Tensor:
    gate = tf.sigmoid(x)
    return upstream * (gate + x * gate * (1 - gate))


@tf.custom_gradient
def _silu(x: tf.Tensor) -> tuple[tf.Tensor, Any]:
    def gradient(upstream: tf.Tensor) -> tf.Tensor:
        return tf.reshape(_silu_gradient(_rows(x), _rows(upstream)), tf.shape(x))

    return x * tf.sigmoid(x), gradient


def _activate(x: tf.Tensor, activation: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    return _silu(x) if activation is keras.activations.silu else activation(x)


# Each `call` below ends in the plain layer's own where the inputs are of a kind that it was not made for.


class FusedSiLU(layers.Activation):
    """SiLU whose gradient is one loop."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """x * sigmoid(x)."""
        return _silu(inputs) if _fits(inputs) else super().call(inputs)


# --- products ------------------------------------------------------------------------------------------


class FusedDense(layers.Dense):
    """Dense on a matrix, with the fused SiLU where it has that activation."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The activation of inputs @ kernel + bias."""
        if not _fits(inputs):
            return super().call(inputs, training=training)
        x = tf.matmul(_rows(inputs), self.kernel)  # never a batched product
        if self.use_bias:
            x = tf.nn.bias_add(x, self.bias)
        return _unrows(_activate(x, self.activation), inputs)


class FusedConv2D(layers.Conv2D):
    """Conv2D; one of 1x1 pixels is a matrix product, which is faster forward and backward."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The activation of the convolution."""
        if not _fits(inputs):
            return super().call(inputs)
        kernel = tf.convert_to_tensor(self.kernel)
        if self.kernel_size == (1, 1) and self.strides == (1, 1):
            x = _unrows(tf.matmul(_rows(inputs), kernel[0, 0]), inputs)
        else:
            x = tf.nn.conv2d(inputs, kernel, self.strides, self.padding.upper())
        if self.use_bias:
            x = tf.nn.bias_add(x, self.bias)
        return _activate(x, self.activation)


# --- normalization -------------------------------------------------------------------------------------


class FusedBatchNormalization(layers.BatchNormalization):
    """BatchNormalization whose training step is TensorFlow's kernel, forward and backward."""

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Normalizes; in training also updates the moving statistics, as the plain layer does."""
        if not (training and self.trainable) or mask is not None or len(inputs.shape) != 4:
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


def _standardize(x: tf.Tensor, epsilon: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    centred = x - tf.reduce_mean(x, -1, keepdims=True)
    scale = tf.math.rsqrt(tf.reduce_mean(centred * centred, -1, keepdims=True) + epsilon)
    return centred * scale, scale


@_one_loop(2, 1, 1, 0)
def _layer_norm(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: tf.Tensor) -> tf.Tensor:
    return _standardize(x, epsilon)[0] * gamma + beta


@_one_loop(2, 1, 2, 0)
def _layer_norm_gradient(
    x: tf.Tensor, gamma: tf.Tensor, upstream: tf.Tensor, epsilon: tf.Tensor
) -> tuple[tf.Tensor, ...]:
    standard, scale = _standardize(x, epsilon)
    inner = upstream * gamma
    along = tf.reduce_mean(inner * standard, -1, keepdims=True)
    return (
        scale * (inner - tf.reduce_mean(inner, -1, keepdims=True) - standard * along),
        tf.reduce_sum(upstream * standard, 0),
        tf.reduce_sum(upstream, 0),
    )


class FusedLayerNormalization(layers.LayerNormalization):
    """LayerNormalization over the last axis as one loop forward and one backward."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """Normalizes the last axis."""
        if not _fits(inputs):
            return super().call(inputs)

        @tf.custom_gradient
        def normalize(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Any]:
            return (
                _layer_norm(x, gamma, beta, self.epsilon),
                lambda upstream: _layer_norm_gradient(x, gamma, upstream, self.epsilon),
            )

        weights = (tf.convert_to_tensor(weight) for weight in (self.gamma, self.beta))
        return _unrows(normalize(_rows(inputs), *weights), inputs)


# --- dropout ---------------------------------------------------------------------------------------------


def _kept(x: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Which elements of a matrix dropout keeps: by a hash of the seed and the element's number.

    Inside a compiled loop that costs no memory, and the gradient draws the same once more. The hash is
    Wellons's lowbias32 (2018, "Prospecting for hash functions").
    """
    first, second = tf.unstack(tf.bitcast(seed, tf.uint32))
    # Seeds count upwards: mixed themselves before, else their masks would follow one another.
    key = _hash(_hash(second) + first)
    rows, columns = (tf.range(side, dtype=tf.int32) for side in tf.unstack(tf.shape(x)))
    number = tf.bitcast(rows[:, None] * tf.shape(x)[1] + columns, tf.uint32)
    bits = _hash(number * tf.constant(0x9E3779B9, tf.uint32) + key, midway=_hash(key + second))
    return bits >= tf.cast(rate * 2**32, tf.uint32)


def _hash(bits: tf.Tensor, midway: tf.Tensor | int = 0) -> tf.Tensor:
    bits = _shifted(bits, 16) * tf.constant(0x7FEB352D, tf.uint32)
    bits = _shifted(bits + tf.cast(midway, tf.uint32), 15) * tf.constant(0x846CA68B, tf.uint32)
    return _shifted(bits, 16)


def _shifted(bits: tf.Tensor, by: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(by, tf.uint32)))


@_one_loop(2, 0, seeded=True)
def _drop(x: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    return tf.where(_kept(x, rate, seed), x / (1 - rate), 0.0)


@tf.custom_gradient
def _dropout(x: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Dropout of a matrix; seeds must differ from call to call."""
    return _drop(x, rate, seed), lambda upstream: (_drop(upstream, rate, seed), None, None)


def _next_seed(layer: layers.Layer) -> tf.Tensor:
    return tf.bitcast(tf.cast(layer.seed_generator.next(), tf.uint32), tf.int32)


class FastDropout(layers.Dropout):
    """Dropout as one loop forward and one backward, without a mask in memory."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops and rescales in training."""
        if not training or self.rate == 0:
            return inputs
        if not _fits(inputs):
            return super().call(inputs, training=training)
        x = _dropout(_rows(inputs), tf.constant(self.rate), _next_seed(self))
        return tf.reshape(x, tf.shape(inputs))
