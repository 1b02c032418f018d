"""Everything that changes while a stage trains: as a network to fit, and as arrays to keep."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from mobilevit_core.errors import UserError
from mobilevit_core.messages import note
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import logits_model
from mobilevit_core.training import checkpoints
from mobilevit_core.training.checkpoints import Checkpoint
from mobilevit_core.training.devices import (
    ALL,
    MACHINES,
    MirroredAdamW,
    inside,
    on_jax,
    open_strategy,
    process_number,
    synchronized,
)
from mobilevit_core.training.ema import EMA
from mobilevit_core.training.flat_adamw import FlatAdamW
from mobilevit_core.training.fused_model import training_form
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.run_folder import RunFolder

FINAL_LEARNING_RATE = 0.01  # of the highest, at the end of the cosine
BEST = "best_"  # prefix of the best epoch's weights in a checkpoint


class Objective(Protocol):
    """What a network learns: its form for it, and the loss."""

    def network(self, plain: keras.Model) -> keras.Model:
        """The network that is fitted; it has all layers of the plain one, under their names."""

    def compiled(self) -> dict[str, Any]:
        """`loss` and `metrics` of `keras.Model.compile`; one metric is called accuracy."""


@dataclass(frozen=True)
class LearnsLabels:
    """Class labels, or a mixture of labels and teachers' probabilities: (batch, classes)."""

    label_smoothing: float

    def network(self, plain: keras.Model) -> keras.Model:
        """Up to the logits."""
        return logits_model(plain)

    def compiled(self) -> dict[str, Any]:
        """Cross-entropy and accuracy."""
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=self.label_smoothing)
        return {"loss": loss, "metrics": [keras.metrics.CategoricalAccuracy(name="accuracy")]}


class TrainingState:
    """Everything that changes while one stage trains.

    Attributes:
        epoch: number of finished epochs.
        trained: the compiled network at the stage's image size, up to the logits.
        ema: of its weights, None for recipes without.
        history: a row per finished epoch.
        strategy: for several devices, None for one.

    Args:
        model: the plain model, for its starting weights.
        image_size: of the stage, pixels.
        recipe: optimizer, EMA.
        steps: of a training epoch.
        checkpoint: what to go on from; None for the model's own weights.
        learns: what is learned; labels by default.
    """

    def __init__(
        self,
        model: keras.Model,
        image_size: int,
        recipe: Recipe,
        steps: int,
        checkpoint: Checkpoint | None,
        learns: "Objective | None" = None,
    ) -> None:
        learns = learns or LearnsLabels(recipe.label_smoothing)
        self.strategy = open_strategy(recipe.devices)
        is_plain = recipe.devices == MACHINES or self.strategy is not None
        with inside(self.strategy):
            plain = create_mobilevit(recipe.variant, model.output_shape[-1], image_size, recipe.architecture)
            plain.set_weights(model.get_weights())
            logits = learns.network(plain)
            if recipe.devices == ALL and is_plain:
                logits = synchronized(logits)
            self.trained = logits if is_plain else training_form(logits)
            self.trained.compile(
                optimizer=make_optimizer(recipe, steps, flat=not is_plain),
                **learns.compiled(),
                jit_compile=on_jax(),  # under TensorFlow, XLA is several times slower on CPU
            )
            self.trained.optimizer.build(self.trained.trainable_variables)
            self.ema = EMA(self.trained, recipe.ema_decay) if recipe.ema_decay else None
        self._recipe = recipe
        self._best: list[np.ndarray] = []
        self.epoch, self.history = 0, []
        # Listed now: metrics add variables of their own while they run, which need not be kept.
        self._variables = [*self.trained.variables, *self.trained.optimizer.variables]
        self._variables += [self.ema.values] if self.ema else []
        if checkpoint:
            self._restore(checkpoint)

    def _restore(self, checkpoint: Checkpoint) -> None:
        best = sorted(name for name in checkpoint.arrays if name.startswith(BEST))
        expected = {_name(number): tuple(v.shape) for number, v in enumerate(self._variables)}
        found = {name: value.shape for name, value in checkpoint.arrays.items() if name not in best}
        if found != expected:
            raise UserError(
                "The checkpoint belongs to another network or to another version of this project. Start a "
                "new run in another folder with --run."
            )
        for number, variable in enumerate(self._variables):
            array = checkpoint.arrays[_name(number)]
            variable.assign(array.astype(variable.dtype))  # counters of another backend have other types
        self._best = [checkpoint.arrays[name] for name in best]
        self.epoch, self.history = checkpoint.epoch, [dict(row) for row in checkpoint.history]

    def checkpoint(self) -> Checkpoint:
        """The state as arrays."""
        arrays = {_name(number): variable.numpy() for number, variable in enumerate(self._variables)}
        arrays |= {f"{BEST}{number:05}": weight for number, weight in enumerate(self._best)}
        return Checkpoint(self.epoch, arrays, self.history)

    def finish_epoch(self, row: Mapping[str, Any], run: RunFolder) -> None:
        """Takes in an epoch's row; the first process writes checkpoint and history, in this order."""
        if self._recipe.keep == "best":
            before = [earlier["val_accuracy"] for earlier in self.history]
            if not before or row["val_accuracy"] > max(before):
                with self.kept_weights():
                    self._best = self.trained.get_weights()
        self.epoch += 1
        self.history.append(dict(row))
        if process_number() == 0:
            checkpoints.save(run.checkpoints, self.checkpoint())
            run.write_history(self.history)

    @contextmanager
    def kept_weights(self) -> Iterator[None]:
        """Inside, the network has the weights that validation and the finished model use."""
        if self.ema:
            self.ema.swap()
        try:
            yield
        finally:
            if self.ema:
                self.ema.swap()

    def copy_kept_weights(self, model: keras.Model) -> None:
        """Gives the plain model the weights that the recipe keeps."""
        if self._recipe.keep == "best":
            model.set_weights(self._best)
            return
        with self.kept_weights():
            if len(self.trained.weights) == len(model.weights):
                model.set_weights(self.trained.get_weights())
                return
            for layer in model.layers:  # the trained network has layers of its own, too
                if layer.weights:
                    layer.set_weights(self.trained.get_layer(layer.name).get_weights())


def tell_damaged(checkpoint: Checkpoint, run: RunFolder) -> None:
    """Names the checkpoints that could not be read, and the one that is used instead."""
    used = checkpoints.path_of(run.checkpoints, checkpoint.epoch)
    for phrase in checkpoint.damaged:
        note(f"the checkpoint {phrase} is damaged; {used} is used instead.")


def _name(number: int) -> str:
    return f"variable_{number:05}"


def learning_rate(recipe: Recipe, steps: int) -> Any:
    """The recipe's learning rate: a number, or a function of the step.

    Args:
        recipe: schedule and epochs.
        steps: of a training epoch.
    """
    rate = recipe.learning_rate
    if recipe.schedule != "cosine":
        return rate
    warmup = round(recipe.warmup_epochs * steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if warmup else rate,
        max(recipe.epochs * steps - warmup, 1),
        alpha=FINAL_LEARNING_RATE,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


def make_optimizer(recipe: Recipe, steps: int, flat: bool = True) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule; nothing is decayed but kernels.

    Args:
        recipe: optimizer, schedule, decay, clipping.
        steps: of a training epoch.
        flat: False for Keras's own form of it, which works on several devices.
    """
    decay = recipe.weight_decay if recipe.optimizer == "adamw" else 0.0
    rate = learning_rate(recipe, steps)
    if flat:
        return FlatAdamW(rate, decay, recipe.clip_norm)
    if on_jax():
        optimizer = keras.optimizers.AdamW(rate, decay, global_clipnorm=recipe.clip_norm or None)
    else:
        optimizer = MirroredAdamW(rate, decay, recipe.clip_norm)
    optimizer.exclude_from_weight_decay(var_names=list(FlatAdamW.NOT_DECAYED))
    return optimizer
