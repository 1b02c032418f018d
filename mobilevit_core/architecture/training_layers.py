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

DRAWS = 2**16  # dropout draws 16 random bits an element, so its rate is exact to 1/65,536
LARGE_ATTENTION = 2**20  # scores a picture from which attention runs picture by picture


def _one_loop(*ranks: int, masks: tuple[int, ...] = ()) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compiles an elementwise chain, perhaps with a reduction, into one loop over memory.

    Traced once for float tensors of these ranks and boolean ones of the ranks of `masks`, of any size;
    compiled once for each size that occurs.
    """
    signature = [tf.TensorSpec([None] * rank, tf.float32) for rank in ranks]
    signature += [tf.TensorSpec([None] * rank, tf.bool) for rank in masks]
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


def _kept(shape: tf.Tensor, rate: float, seed: tf.Tensor) -> tuple[tf.Tensor, float]:
    """Which elements dropout keeps (boolean), and by what the kept ones grow; two elements a draw."""
    dropped = round(rate * DRAWS)
    count = tf.reduce_prod(shape)
    words = tf.random.stateless_uniform(
        [(count + 1) // 2], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox"
    )
    bits = tf.reshape(tf.bitcast(words, tf.uint16), [-1])[:count]
    return tf.reshape(bits, shape) >= tf.constant(dropped, tf.uint16), DRAWS / (DRAWS - dropped)


def _next_seed(layer: layers.Layer) -> tf.Tensor:
    return tf.cast(layer.seed_generator.next(), tf.int32)


class FastDropout(layers.Dropout):
    """Dropout from 16 random bits an element instead of a 32-bit float."""

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drops and rescales in training."""
        if not training or self.rate == 0:
            return inputs
        kept, growth = _kept(tf.shape(inputs), self.rate, _next_seed(self))
        return inputs * (tf.cast(kept, inputs.dtype) * growth)


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
        kept, growth = _kept(tf.stack([tf.shape(q)[0], heads, tokens, tokens]), rate, seed)
        weights = tf.nn.softmax(tf.matmul(q * q.shape[-1] ** -0.5, k, transpose_b=True))
        return tf.matmul(weights * (tf.cast(kept, q.dtype) * growth) if rate else weights, v)
    return _attend_one_by_one(q, k, v, rate, seed)


@_one_loop(3, 0, masks=(3,))
def _dropped(weights: tf.Tensor, growth: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
    return tf.where(kept, weights * growth, 0.0)


@_one_loop(3, 3, 0, masks=(3,))
def _dropped_softmax_gradient(
    weights: tf.Tensor, upstream: tf.Tensor, growth: tf.Tensor, kept: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Gradient of the scores, and the weights after dropout once more."""
    upstream = tf.where(kept, upstream * growth, 0.0)
    gradient = weights * (upstream - tf.reduce_sum(weights * upstream, -1, keepdims=True))
    return gradient, tf.where(kept, weights * growth, 0.0)


def _attend_one_by_one(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor, rate: float, seed: tf.Tensor) -> tf.Tensor:
    heads, tokens, width = q.shape[1:]
    scale = width**-0.5

    def weights_of(q: tf.Tensor, k: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(tf.matmul(q, k, transpose_b=True))

    def forward(picture: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor]:
        index, q, k, v = picture
        kept, growth = _kept(tf.constant([heads, tokens, tokens]), rate, seed + [index + 1, 0])
        return tf.matmul(_dropped(weights_of(q, k), growth, kept), v), kept

    def backward(picture: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
        kept, q, k, v, upstream = picture
        growth = DRAWS / (DRAWS - round(rate * DRAWS))
        scores, dropped = _dropped_softmax_gradient(
            weights_of(q, k), tf.matmul(upstream, v, transpose_b=True), growth, kept
        )
        return (
            tf.matmul(scores, k),
            tf.matmul(scores, q, transpose_a=True),
            tf.matmul(dropped, upstream, transpose_a=True),
        )

    @tf.custom_gradient
    def attend(q: tf.Tensor, k: tf.Tensor, v: tf.Tensor) -> tuple[tf.Tensor, Any]:
        pictures = (tf.range(tf.shape(q)[0]), q, k, v)
        attended, kept = tf.map_fn(forward, pictures, fn_output_signature=(q.dtype, tf.bool))

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return tf.map_fn(backward, (kept, q, k, v, upstream), fn_output_signature=(q.dtype,) * 3)

        return attended, gradient

    return attend(q * scale, k, v)
