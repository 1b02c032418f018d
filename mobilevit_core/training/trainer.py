"""Trains by a recipe: stages of rising resolution, checkpoints, one bundle at the end.

The same call with the same run folder goes on after the last finished epoch. A new stage is the same
thing: a network for another image size that continues from the checkpoint.
"""

import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import keras
import tensorflow as tf

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.provenance import Seen
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.metrics import evaluate_runtimes, figures_of
from mobilevit_core.files import replacing
from mobilevit_core.models.create import check_variant, create_mobilevit, logits_model
from mobilevit_core.training.distillation import Teachers
from mobilevit_core.training.ema import Averages, AverageWeights
from mobilevit_core.training.finalize import bundle_model
from mobilevit_core.training.flat_adamw import FlatAdamW
from mobilevit_core.training.fused_model import training_form
from mobilevit_core.training.input_pipeline import (
    CACHE_MARGIN,
    PhotoCache,
    steps_per_epoch,
    training_batches,
    validation_batches,
)
from mobilevit_core.training.progress import TrainingProgress
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.run_folder import RunFolder
from mobilevit_core.training.transfer import Start

FINAL_LEARNING_RATE = 0.01  # of the highest, at the end of the cosine


def train_bundle(
    dataset: PhotoDataset,
    recipe: Recipe,
    run: RunFolder,
    start: Start | None = None,
    teachers: Teachers | None = None,
) -> tuple[Bundle, list[str]]:
    """Trains to the end, makes the bundle and records its accuracy on the validation part.

    A run that has its bundle already is left as it is.

    Args:
        dataset: must have a train and a validation part.
        recipe: all values of the run.
        run: its folder; made if it is missing.
        start: weights to start from; fresh ones by default.
        teachers: models that give the recipe's `teaching` share of the targets.

    Returns:
        The bundle, and one sentence for every weight format that was refused.

    Raises:
        UserError: the folder holds another run, or a part of the data is missing.
    """
    check_variant(recipe.architecture, recipe.variant)
    dataset.part("train"), dataset.part("validation")
    if start:
        start.check(recipe)
    provenance = start.describe() if start else None
    learned_from = teachers.describe() if teachers else None
    origin = {"start": provenance, "teachers": learned_from}
    run.claim({"data": dataset.describe(), "recipe": recipe.to_json(), **origin})
    if run.bundle.exists():
        bundle, refused = open_bundle(run.bundle), []
    else:
        model = train(dataset, recipe, run, start, teachers)
        before = [*(start.seen if start else []), *(teachers.seen if teachers else [])]
        seen = Seen.by_training(dataset, before)
        bundle, refused = bundle_model(run.bundle, model, dataset, recipe, seen, origin, run.history)
    if "validation" not in bundle.manifest.metrics:  # new, or stopped just before this line
        evaluations = evaluate_runtimes(bundle, dataset, "validation", bundle.expected)
        bundle.record_metrics("validation", figures_of(evaluations, dataset, "validation", bundle.seen))
    shutil.rmtree(run.cache, ignore_errors=True)
    return bundle, refused


def train(
    dataset: PhotoDataset,
    recipe: Recipe,
    run: RunFolder,
    start: Start | None = None,
    teachers: Teachers | None = None,
) -> keras.Model:
    """Trains to the end of the recipe, or goes on from where the run folder's last checkpoint is.

    Args:
        dataset: must have a train and a validation part.
        recipe: all values of the run.
        run: its folder, claimed for this run.
        start: weights to start from; a checkpoint in the run folder goes before.
        teachers: models that give the recipe's `teaching` share of the targets.

    Returns:
        The plain model at the recipe's image size with the weights that the recipe keeps.
    """
    photos, validation = dataset.part("train"), dataset.part("validation")
    classes = len(dataset.class_names)
    keras.utils.set_random_seed(recipe.seed)
    model = create_mobilevit(recipe.variant, classes, recipe.image_size, recipe.architecture)
    if start:
        start.copy_to(model, dataset.class_names)
    steps = steps_per_epoch(len(photos), recipe.batch_size)
    state, cache, end = None, None, 0
    for image_size, epochs in recipe.stages:
        end += epochs
        state = TrainingState(model, image_size, recipe, steps, run)
        if state.epoch >= end:
            continue
        if cache is None:
            largest = max(size for size, _ in recipe.stages)
            cache = PhotoCache(photos, round(largest * CACHE_MARGIN), run.cache)
        run.forget_after(state.epoch)
        rule = replace(recipe.rule, image_size=image_size)
        batches = training_batches(photos, cache, classes, image_size, recipe, state.epoch)
        if teachers:
            batches = teachers.blend(batches, image_size, recipe.teaching)
        callbacks = _callbacks(state, recipe, steps, run)
        try:
            state.trained.fit(
                batches,
                validation_data=validation_batches(validation, classes, rule, recipe.batch_size),
                initial_epoch=state.epoch,
                epochs=end,
                steps_per_epoch=steps,
                shuffle=False,  # the data set orders itself
                callbacks=callbacks,
                verbose=0,
            )
        finally:
            for callback in callbacks:  # an interrupted fit() leaves the history and the bar open
                callback.on_train_end()
    state.copy_kept_weights(model)
    return model


class TrainingState:
    """Everything that changes while one stage trains, and its checkpoints.

    Args:
        model: the plain model, for its starting weights.
        image_size: of the stage, pixels.
        recipe: optimizer, averages.
        steps: a training epoch.
        run: where the checkpoints are; the newest is restored.
    """

    def __init__(
        self, model: keras.Model, image_size: int, recipe: Recipe, steps: int, run: RunFolder
    ) -> None:
        classes = model.output_shape[-1]
        plain = create_mobilevit(recipe.variant, classes, image_size, recipe.architecture)
        plain.set_weights(model.get_weights())
        self.recipe, self.run = recipe, run
        self.trained = training_form(logits_model(plain))
        self.trained.compile(
            optimizer=_optimizer(recipe, steps, self.trained),
            loss=keras.losses.CategoricalCrossentropy(
                from_logits=True, label_smoothing=recipe.label_smoothing
            ),
            metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
            jit_compile=False,  # XLA is several times slower on CPU
        )
        self.averages = Averages(self.trained, recipe.average_decay) if recipe.average_decay else None
        self._epoch = tf.Variable(0, dtype=tf.int64)
        variables = [*self.trained.variables, *self.trained.optimizer.variables]
        self._checkpoint = tf.train.Checkpoint(
            variables=[variable.value for variable in variables],
            averages=[self.averages.values] if self.averages else [],
            epoch=self._epoch,
        )
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(run.checkpoints), max_to_keep=2)
        if self._manager.latest_checkpoint:
            self._checkpoint.restore(self._manager.latest_checkpoint).assert_consumed()

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return int(self._epoch)

    def save(self, epoch: int) -> None:
        """Writes a checkpoint after so many finished epochs."""
        self._epoch.assign(epoch)
        self._manager.save(checkpoint_number=epoch)

    @contextmanager
    def kept_weights(self) -> Iterator[None]:
        """Inside, the network has the weights that validation and the finished model use."""
        if self.averages:
            self.averages.swap()
        try:
            yield
        finally:
            if self.averages:
                self.averages.swap()

    def copy_kept_weights(self, model: keras.Model) -> None:
        """Gives the plain model the weights that the recipe keeps."""
        if self.recipe.keep == "best":
            self.trained.load_weights(self.run.best_weights)
            model.set_weights(self.trained.get_weights())
            return
        with self.kept_weights():
            model.set_weights(self.trained.get_weights())


class SaveState(keras.callbacks.Callback):
    """Checkpoint after every epoch, and the best epoch's weights for recipes that keep them."""

    def __init__(self, state: TrainingState) -> None:
        super().__init__()
        self._state = state

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Writes the best weights first, so that no checkpoint can be newer than they are."""
        if not math.isfinite(logs["loss"] + logs["val_loss"]):
            raise UserError(
                f"The loss of epoch {epoch + 1} is {logs['loss']}, on the validation part "
                f"{logs['val_loss']}: training has come apart. The run folder keeps its last good "
                "checkpoint; try a new run with a lower rate, for example "
                f"--set learning_rate={self._state.recipe.learning_rate / 4:g}."
            )
        if self._state.recipe.keep == "best":
            before = [float(row["val_accuracy"]) for row in self._state.run.rows()][:epoch]
            if not before or logs["val_accuracy"] > max(before):
                with self._state.kept_weights(), replacing(self._state.run.best_weights) as beside:
                    self.model.save_weights(beside)
        self._state.save(epoch + 1)


def _callbacks(
    state: TrainingState, recipe: Recipe, steps: int, run: RunFolder
) -> list[keras.callbacks.Callback]:
    averaging = [AverageWeights(state.averages)] if state.averages else []
    return [
        *averaging,
        keras.callbacks.TerminateOnNaN(),
        AddEpochFacts(),
        # The row first: a row without a checkpoint is dropped on resume, a lost row would be lost for good.
        keras.callbacks.CSVLogger(run.history, append=True),
        SaveState(state),
        TrainingProgress(recipe.epochs, steps),
    ]


class AddEpochFacts(keras.callbacks.Callback):
    """Adds the image size, learning rate and seconds of the epoch to what the history records."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keras hands the same dictionary on to the callbacks after this one."""
        logs["image_size"] = self.model.input_shape[1]
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["seconds"] = round(time.perf_counter() - self._start, 1)


def _optimizer(recipe: Recipe, steps: int, model: keras.Model) -> keras.optimizers.Optimizer:
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        warmup = round(recipe.warmup_epochs * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            0.0 if warmup else rate,
            max(recipe.epochs * steps - warmup, 1),
            alpha=FINAL_LEARNING_RATE,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    decay = recipe.weight_decay if recipe.optimizer == "adamw" else 0.0
    optimizer = FlatAdamW(rate, decay, recipe.clip_norm)
    optimizer.build(model.trainable_variables)
    return optimizer
