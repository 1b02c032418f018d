"""The flat optimizer takes the steps that Keras's takes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilevit_core.training.flat_adamw import FlatAdamW

SHAPES = [(3, 4), (4,), (3, 3, 2, 5), (2, 6)]
NAMES = ["kernel", "gamma", "kernel", "bias"]  # attention has biases of rank 2


@pytest.mark.parametrize("clip_norm", [0.0, 1.0])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_steps_equal_those_of_keras(weight_decay: float, clip_norm: float) -> None:
    random = np.random.default_rng(0)
    starts = [random.normal(size=shape).astype(np.float32) for shape in SHAPES]
    schedule = keras.optimizers.schedules.CosineDecay(0.0, 20, warmup_target=0.01, warmup_steps=5)
    keras_optimizer = keras.optimizers.AdamW(
        schedule, weight_decay=weight_decay, global_clipnorm=clip_norm or None
    )
    theirs, ours = (
        [keras.Variable(start, name=name) for start, name in zip(starts, NAMES, strict=True)] for _ in "ab"
    )
    keras_optimizer.exclude_from_weight_decay(var_list=[theirs[1], theirs[3]])
    flat = FlatAdamW(schedule, weight_decay, clip_norm)
    flat.build(ours)
    for _ in range(12):
        gradients = [tf.constant(random.normal(size=shape), tf.float32) for shape in SHAPES]
        keras_optimizer.apply(gradients, theirs)
        flat.apply(gradients, ours)
    moved = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(starts, ours, strict=True))
    assert moved > 0.02
    for a, b in zip(theirs, ours, strict=True):
        assert np.allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-6)
