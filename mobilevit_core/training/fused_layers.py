"""Layers that compute what Keras's own compute, from few large operations instead of many small ones.

A step on a processor spends much of its time between the matrix products: normalizations, activations
and dropout written as ten passes over memory each. Here they are single kernels, or short chains that
XLA compiles into one loop (XLA as a whole is slower than TensorFlow on processors; for elementwise
chains it is faster). Names, weights and their order are those of the layers that they stand for.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from keras import layers

LARGE_ATTENTION = 2**20  # scores a picture from which attention runs picture by picture


def _one_loop(*ranks: int, seeded: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compiles an elementwise chain, perhaps with a reduction, into one loop over memory.

    Traced once for float tensors of these ranks, and a seed of two int32 where it is `seeded`, of any size;
    compiled once for each size that occurs.
    """
    signature = [tf.TensorSpec([None] * rank, tf.float32) for rank in ranks]
    signature += [tf.TensorSpec([2], tf.int32)] * seeded
    return lambda function: tf.function(function, input_signature=signature, jit_compile=True)


def _rows(x: tf.Tensor) -> tf.Tensor:
    """The last axis and all others as one: (rows, channels)."""
    return tf.reshape(x, (-1, x.shape[-1]))


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


class FusedSiLU(layers.Activation):
    """SiLU whose gradient is one loop."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """x * sigmoid(x)."""
        return _silu(inputs)


# --- products ------------------------------------------------------------------------------------------


class FusedDense(layers.Dense):
    """Dense on a matrix, with the fused SiLU where it has that activation."""

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        """The activation of inputs @ kernel + bias."""
        x = tf.nn.bias_add(tf.matmul(_rows(inputs), self.kernel), self.bias)  # never a batched product
        return tf.reshape(_activate(x, self.activation), (-1, *inputs.shape[1:-1], self.units))


class FusedConv2D(layers.Conv2D):
    """Conv2D; one of 1x1 pixels is a matrix product, which is faster forward and backward."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """The activation of the convolution."""
        kernel = tf.convert_to_tensor(self.kernel)
        if self.kernel_size == (1, 1) and self.strides == (1, 1):
            x = tf.matmul(_rows(inputs), kernel[0, 0])
            x = tf.reshape(x, (-1, *inputs.shape[1:3], self.filters))
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

        @tf.custom_gradient
        def normalize(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple[tf.Tensor, Any]:
            return (
                _layer_norm(x, gamma, beta, self.epsilon),
                lambda upstream: _layer_norm_gradient(x, gamma, upstream, self.epsilon),
            )

        weights = (tf.convert_to_tensor(weight) for weight in (self.gamma, self.beta))
        return tf.reshape(normalize(_rows(inputs), *weights), (-1, *inputs.shape[1:]))


# --- dropout and attention -----------------------------------------------------------------------------


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
        x = _dropout(_rows(inputs), tf.constant(self.rate), _next_seed(self))
        return tf.reshape(x, tf.shape(inputs))


class FlatMultiHeadAttention(layers.MultiHeadAttention):
    """Self-attention over all inner axes as plain matrix products over one flat axis of tokens.

    Keras contracts 4-D inputs axis by axis in einsum, which spends most of its time transposing.
    """

    def call(
        self, query: tf.Tensor, value: tf.Tensor, key: tf.Tensor | None = None, training: bool = False
    ) -> tf.Tensor:
        """Attends from every position to every position.

        Args:
            query: (batch, ..., d), the inner axes of known length.
            value: the same tensor.
            key: None; Keras asks for the argument's name.
            training: whether dropout acts on the attention weights.

        Returns:
            (batch, ..., d).
        """
        tokens, width = math.prod(query.shape[1:-1]), query.shape[-1]
        flat = tf.reshape(query, (-1, width))
        q, k, v = (
            self._project(flat, dense, tokens)
            for dense in (self.query_dense, self.key_dense, self.value_dense)
        )
        rate = self._dropout_layer.rate if training else 0.0
        seed = _next_seed(self._dropout_layer) if rate else tf.zeros(2, tf.int32)
        attended = _attend(q, k, v, rate, seed)  # batch, heads, tokens, key width
        attended = tf.reshape(tf.transpose(attended, (0, 2, 1, 3)), (-1, self.num_heads * self.value_dim))
        kernel = tf.reshape(self.output_dense.kernel, (-1, width))
        return tf.reshape(attended @ kernel + self.output_dense.bias, (-1, *query.shape[1:]))

    def _project(self, flat: tf.Tensor, dense: layers.Layer, tokens: int) -> tf.Tensor:
        width, heads, head_width = dense.kernel.shape
        x = tf.matmul(flat, tf.reshape(dense.kernel, (width, heads * head_width)))
        x = tf.reshape(x + tf.reshape(dense.bias, [-1]), (-1, tokens, heads, head_width))
        return tf.transpose(x, (0, 2, 1, 3))


def _attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Dropout(softmax(q k^T / sqrt(width))) v for (batch, heads, tokens, width) tensors.

    Where the scores of a whole batch would be gigabytes, it goes picture by picture and computes the
    scores again for the gradient, so that they stay in the processor's cache.
    """
    heads, tokens = q.shape[1:3]
    if heads * tokens**2 < LARGE_ATTENTION:
        weights = tf.nn.softmax(tf.matmul(q * q.shape[-1] ** -0.5, k, transpose_b=True))
        if rate:
            weights = tf.reshape(_dropout(_rows(weights), tf.constant(rate), seed), tf.shape(weights))
        return tf.matmul(weights, v)
    return _attend_one_by_one(q, k, v, tf.constant(rate), seed)


@_one_loop(2, 2, 0, seeded=True)
def _dropped_softmax_gradient(
    weights: tf.Tensor, upstream: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradient of the scores, and the weights after dropout once more."""
    grown = tf.where(_kept(weights, rate, seed), 1 / (1 - rate), 0.0)
    upstream = upstream * grown
    gradient = weights * (upstream - tf.reduce_sum(weights * upstream, -1, keepdims=True))
    return gradient, weights * grown


def _attend_one_by_one(
    q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, rate: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    heads, tokens, width = q.shape[1:]
    square = (heads, tokens, tokens)
    scale = width**-0.5

    def weights_of(q: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        return _rows(tf.nn.softmax(tf.matmul(q, k, transpose_b=True)))  # heads * tokens, tokens

    def forward(picture: tuple[tf.Tensor, ...]) -> tf.Tensor:
        index, q, k, v = picture
        dropped = _drop(weights_of(q, k), rate, seed + [index + 1, 0])
        return tf.matmul(tf.reshape(dropped, square), v)

    def backward(picture: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        index, q, k, v, upstream = picture
        scores, dropped = (
            tf.reshape(rows, square)
            for rows in _dropped_softmax_gradient(
                weights_of(q, k),
                _rows(tf.matmul(upstream, v, transpose_b=True)),
                rate,
                seed + [index + 1, 0],
            )
        )
        return (
            tf.matmul(scores, k),
            tf.matmul(scores, q, transpose_a=True),
            tf.matmul(dropped, upstream, transpose_a=True),
        )

    @tf.custom_gradient
    def attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, Any]:
        pictures = (tf.range(tf.shape(q)[0]), q, k, v)
        attended = tf.map_fn(forward, pictures, fn_output_signature=q.dtype)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tf.map_fn(backward, (*pictures, upstream), fn_output_signature=(q.dtype,) * 3)

        return attended, gradient

    return attend(q * scale, k, v)
