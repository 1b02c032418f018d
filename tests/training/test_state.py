"""The optimizer of a recipe."""

import keras
import numpy as np
import pytest

from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import logits_model
from mobilevit_core.training.fused_model import training_form
from mobilevit_core.training.recipes import make_recipe
from mobilevit_core.training.state import learning_rate, make_optimizer


@pytest.mark.parametrize("architecture", ["paper", "keras_example"])
def test_kernels_alone_are_decayed(architecture: str) -> None:
    model = training_form(logits_model(create_mobilevit(image_size=64, architecture=architecture)))
    recipe = make_recipe("default", {"schedule": "constant", "learning_rate": "0.5", "weight_decay": "0.5"})
    optimizer = make_optimizer(recipe, 1)
    optimizer.build(model.trainable_variables)
    for variable in model.trainable_variables:
        variable.assign(np.ones(variable.shape, np.float32))
    optimizer.apply([np.zeros(variable.shape, np.float32) for variable in model.trainable_variables])
    for variable in model.trainable_variables:
        assert np.all(variable.numpy() == (0.75 if variable.name == "kernel" else 1.0)), variable.path


def test_the_schedule_warms_up_and_ends_at_one_hundredth() -> None:
    recipe = make_recipe("default", {"stages": "64:10", "warmup_epochs": "2", "learning_rate": "0.01"})
    rate = learning_rate(recipe, steps=5)
    rates = [float(rate(step)) for step in range(51)]
    assert rates[0] == 0 and max(rates) == rates[10] == pytest.approx(0.01)
    assert rates[50] == pytest.approx(1e-4) and rates[10:] == sorted(rates[10:], reverse=True)


def test_the_example_has_adam_at_a_constant_rate() -> None:
    recipe = make_recipe("keras-example")
    start = np.full((3, 2), 0.5, np.float32)
    steps = []
    for optimizer in (make_optimizer(recipe, 10), keras.optimizers.Adam(2e-3)):
        variable = keras.Variable(start, name="kernel")
        optimizer.build([variable])
        for number in range(3):
            optimizer.apply([np.full((3, 2), 10.0 - number, np.float32)])
        steps.append(variable.numpy())
    assert np.allclose(*steps, atol=1e-7) and not np.allclose(steps[0], start)
