"""The form that trains and the form that is saved are the same network."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilevit_core.models.create import create_mobilevit, logits_model, training_layers
from mobilevit_core.training.fused_layers import FusedSiLU
from mobilevit_core.training.fused_model import TRAINING_LAYERS, training_form


def without_dropout(model: keras.Model) -> keras.Model:
    """Both forms draw other random numbers, so nothing is dropped while they are compared."""
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
        if isinstance(layer, keras.layers.MultiHeadAttention):
            layer._dropout_layer.rate = 0.0
    return model


@pytest.mark.parametrize(
    ("architecture", "large_attention"), [("paper", 2**20), ("keras_example", 2**20), ("keras_example", 0)]
)
def test_outputs_gradients_and_statistics_are_equal(
    architecture: str, large_attention: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training_layers, "LARGE_ATTENTION", large_attention)  # 0: picture by picture
    plain = without_dropout(logits_model(create_mobilevit(image_size=64, architecture=architecture)))
    disturb = np.random.default_rng(1)  # fresh scales of 1 and offsets of 0 would hide mistakes
    for weight in plain.trainable_weights:
        weight.assign(weight + disturb.normal(0, 0.05, weight.shape))
    fused = without_dropout(training_form(plain))
    kinds = {type(layer) for layer in fused.layers}
    swapped = {kind for kind in {type(layer) for layer in plain.layers} if kind in TRAINING_LAYERS}
    assert kinds >= {TRAINING_LAYERS[kind] for kind in swapped} | {FusedSiLU} and len(swapped) >= 5
    random = np.random.default_rng(0)
    images = random.uniform(0, 255, (4, 64, 64, 3)).astype(np.float32)
    labels = tf.one_hot([0, 1, 2, 3], 5)
    results = []
    for model in (plain, fused):
        with tf.GradientTape() as tape:
            logits = model(images, training=True)
            loss = keras.losses.categorical_crossentropy(labels, logits, from_logits=True)
        gradients = tape.gradient(loss, model.trainable_weights)
        statistics = [weight.numpy() for weight in model.non_trainable_weights]
        results.append((logits.numpy(), [g.numpy() for g in gradients], statistics, model(images).numpy()))
    for first, second in zip(results[0], results[1], strict=True):
        # Some gradients are zero but for rounding (of a bias before a normalization or of keys).
        rounding = 1e-5 * max(np.abs(a).max() for a in first)
        for a, b in zip(first, second, strict=True):
            assert np.allclose(a, b, rtol=2e-3, atol=2e-3 * np.abs(a).max() + rounding)


def test_weights_return_to_the_plain_model() -> None:
    plain = logits_model(create_mobilevit(image_size=64))
    fused = training_form(plain)
    changed = [weight + 0.01 for weight in fused.get_weights()]
    fused.set_weights(changed)
    plain.set_weights(fused.get_weights())
    image = np.random.default_rng(1).uniform(0, 255, (1, 64, 64, 3)).astype(np.float32)
    assert np.allclose(plain(image).numpy(), fused(image).numpy(), atol=1e-4)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    layer = training_layers.FastDropout(0.2)
    x = tf.ones((200, 501))
    first, second = layer(x, training=True).numpy(), layer(x, training=True).numpy()
    assert (first == 0).mean() == pytest.approx(0.2, abs=0.01)
    assert np.allclose(np.unique(first), [0.0, 1.25])
    # Independent draws: from call to call, and of neighbours in a row and in a column.
    pairs = [(first, second), (first[:, 1:], first[:, :-1]), (first[1:], first[:-1])]
    for one, other in pairs:
        assert np.corrcoef((one == 0).ravel(), (other == 0).ravel())[0, 1] == pytest.approx(0, abs=0.015)
    assert np.array_equal(layer(x, training=False), x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = layer(x, training=True)
    assert np.array_equal(tape.gradient(y, x), y)


def test_gradients_of_attention_with_dropout_are_those_of_its_values() -> None:
    random = np.random.default_rng(0)
    q, k, v, direction = (tf.constant(random.normal(size=(2, 2, 16, 8)), tf.float32) for _ in range(4))
    seed = tf.constant([3, 4])

    def value(*inputs: tf.Tensor) -> tf.Tensor:  # the same draws every time
        attended = training_layers._attend_one_by_one(*inputs, tf.constant(0.5), seed)
        return tf.reduce_sum(attended * tf.cos(attended))

    undropped = training_layers._attend_one_by_one(q, k, v, tf.constant(0.0), seed)
    dropped = training_layers._attend_one_by_one(q, k, v, tf.constant(0.5), seed)
    assert np.abs(undropped - dropped).max() > 0.1
    for index in range(3):
        inputs = [q, k, v]
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = value(*inputs)
        slope = float(tf.reduce_sum(tape.gradient(total, inputs)[index] * direction))
        ends = []
        for step in (-1e-2, 1e-2):
            inputs[index] = (q, k, v)[index] + step * direction
            ends.append(float(value(*inputs)))
        assert slope == pytest.approx((ends[1] - ends[0]) / 2e-2, rel=0.02, abs=0.02)
