"""Trains by a recipe: stages of rising resolution, checkpoints, one bundle at the end.

The same call with the same run folder continues after the last finished epoch. A new stage is the same
thing: a network for another image size that continues from the state of the one before.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import keras

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import Stopped, UserError
from mobilevit_core.messages import note
from mobilevit_core.models.create import check_variant, create_mobilevit
from mobilevit_core.training.callbacks import callbacks_of
from mobilevit_core.training.devices import (
    check_backend,
    check_devices,
    inside,
    on_jax,
    own_part,
    process_number,
)
from mobilevit_core.training.distillation import Teachers
from mobilevit_core.training.finish import bundle_model, record_validation
from mobilevit_core.training.input_pipeline import (
    CACHE_MARGIN,
    PhotoCache,
    steps_per_epoch,
    training_batches,
    validation_batches,
)
from mobilevit_core.training.interruption import ending_clearly
from mobilevit_core.training.own_classes import NetworkTeachers, train_on_crops
from mobilevit_core.training.progress import EstimateTime
from mobilevit_core.training.recipes import AT_THE_END, Recipe
from mobilevit_core.training.run_folder import RunFolder, sizes_by_epoch
from mobilevit_core.training.sampling import Sampling
from mobilevit_core.training.state import TrainingState, learning_rate, tell_damaged
from mobilevit_core.training.transfer import Start

# Bytes on the disk per weight of the network: three checkpoints (two are kept while the next is written) of
# weights, two moments and EMA; a bundle and the conversions that it is made from.
BYTES_PER_WEIGHT = 3 * 16 + 32
SPARE_BYTES = 20 * 2**20


def train_bundle(
    dataset: PhotoDataset,
    recipe: Recipe,
    run: RunFolder,
    start: Start | None = None,
    teachers: Teachers | NetworkTeachers | None = None,
) -> tuple[Bundle, list[str]]:
    """Trains to the end, makes the bundle and records its accuracy on the validation split.

    A run that has its bundle already is left as it is. With more epochs than before in the recipe's stages,
    it is continued; with other values `AT_THE_END`, the bundle is made again. The bundle before is kept under
    another name.

    Args:
        dataset: must have a train and a validation split.
        recipe: all values of the run.
        run: its folder; made if it is missing.
        start: weights to start from; fresh ones by default.
        teachers: models of the same classes, or networks that saw more, which give the recipe's
            `distillation_weight` share of the targets.

    Returns:
        The bundle, and one sentence for every weight format that was refused.

    Raises:
        UserError: the folder holds another run or is in use, a split of the data is missing, or the disk is
            full.
        Stopped: Ctrl-C or SIGTERM; the run folder keeps the last finished epoch. Also, on several machines,
            the end of the training: the bundle is made in a process of its own, on TensorFlow.
    """
    check_devices(recipe.devices, bool(teachers))
    check_variant(recipe.architecture, recipe.variant)
    if start:
        start.check(recipe)
    origin = {
        "start": start.describe() if start else None,
        "teachers": teachers.describe() if teachers else None,
    }
    before = [*(start.provenance if start else []), *(teachers.provenance if teachers else [])]
    if on_jax():
        with held(run, dataset, recipe, origin, before):
            train(dataset, recipe, run, start, teachers)
        raise Stopped(
            "The training is finished. The bundle is made on TensorFlow, by one process: the same command "
            f"without KERAS_BACKEND=jax, or python -m mobilevit_core finish {run.path}",
            0,
        )
    with held(run, dataset, recipe, origin, before):
        refused: list[str] = []
        bundle = _finished_bundle(run, recipe)
        if bundle is None:
            if isinstance(teachers, NetworkTeachers):
                model = train_on_crops(dataset, recipe, run, start, teachers)
                if start and recipe.start_share:
                    _mix_start_in(model, start, dataset.class_names, recipe.start_share)
            else:
                model = train(dataset, recipe, run, start, teachers)
            _put_other_bundle_aside(run)
            bundle, refused = bundle_model(run, model, dataset, recipe)
        if "validation" not in bundle.manifest.metrics:  # new, or stopped just before this line
            record_validation(bundle, dataset)
    return bundle, refused


@contextmanager
def held(
    run: RunFolder,
    dataset: PhotoDataset,
    recipe: Recipe,
    origin: Mapping[str, Any],
    before: Sequence[Provenance],
) -> Iterator[None]:
    """The run folder, locked and claimed by the first process that trains; others only read it."""
    is_first = process_number() == 0
    with run.locked() if is_first else nullcontext(), ending_clearly(run, recipe.epochs):
        if is_first:
            run.claim(dataset, recipe.to_json(), origin, before)
        yield


def _finished_bundle(run: RunFolder, recipe: Recipe) -> Bundle | None:
    """The run's bundle, if it is that of all epochs of the recipe, made with the same values `AT_THE_END`."""
    if not run.bundle.exists():
        return None
    bundle, wanted = open_bundle(run.bundle), recipe.to_json()
    made = {**Recipe().to_json(), **bundle.manifest.recipe}  # a value that is newer had its default
    return bundle if all(made[key] == wanted[key] for key in ("stages", *AT_THE_END)) else None


def _put_other_bundle_aside(run: RunFolder) -> None:
    if run.bundle.exists():
        epochs = sum(epochs for _, epochs in open_bundle(run.bundle).manifest.recipe["stages"])
        note(f"the bundle of the first {epochs} epochs is now {run.put_bundle_aside(epochs)}.")


def train(
    dataset: PhotoDataset,
    recipe: Recipe,
    run: RunFolder,
    start: Start | None = None,
    teachers: Teachers | None = None,
) -> keras.Model:
    """Trains to the end of the recipe, or goes on from the newest checkpoint in the run folder.

    Args:
        dataset: must have a train and a validation split.
        recipe: all values of the run.
        run: its folder, claimed for this run.
        start: weights to start from; a checkpoint in the run folder goes before.
        teachers: models that give the recipe's `distillation_weight` share of the targets.

    Returns:
        The plain model at the recipe's image size with the weights that the recipe keeps.
    """
    keras.utils.set_random_seed(recipe.seed)
    classes = len(dataset.class_names)
    model = create_mobilevit(recipe.variant, classes, recipe.image_size, recipe.architecture)
    checkpoint = run.newest_checkpoint()
    check_backend(recipe.devices, recipe.epochs - (checkpoint.epoch if checkpoint else 0))
    if checkpoint:
        tell_damaged(checkpoint, run)
        if process_number() == 0:
            run.write_history(checkpoint.history)
    elif start:
        start.copy_to(model, dataset.class_names)
    if process_number() == 0:
        _check_space(run.path, model)
    sampling = Sampling.of(dataset, recipe)
    steps = steps_per_epoch(sampling.epoch_photos, recipe.batch_size)
    state = TrainingState(model, recipe.stages[0][0], recipe, steps, checkpoint)
    _tell_changed_schedule(state, recipe, steps)
    try:
        _Stages(dataset, recipe, run, teachers, sampling, steps).train(state, model)
    finally:
        shutil.rmtree(run.cache, ignore_errors=True)
    if start and recipe.start_share:
        _mix_start_in(model, start, dataset.class_names, recipe.start_share)
    return model


def _mix_start_in(model: keras.Model, start: Start, class_names: tuple[str, ...], share: float) -> None:
    """Moves weights towards the start's, where it has them; a class that is new to it stays as trained."""
    trained = model.get_weights()
    start.copy_to(model, class_names)
    mixed = [
        (1 - share) * ours + share * theirs for ours, theirs in zip(trained, model.get_weights(), strict=True)
    ]
    model.set_weights(mixed)


@dataclass(frozen=True)
class _Stages:
    """What all stages of a training have in common."""

    dataset: PhotoDataset
    recipe: Recipe
    run: RunFolder
    teachers: Teachers | None
    sampling: Sampling
    steps: int

    @cached_property
    def cache(self) -> PhotoCache:
        """The training photos, decoded for the first stage that is left to train."""
        largest = max(size for size, _ in self.recipe.stages)
        folder = self.run.cache / str(process_number())
        cache = PhotoCache(self.dataset.splits["train"], round(largest * CACHE_MARGIN), folder)
        print(cache.describe(), file=sys.stderr, flush=True)
        return cache

    def train(self, state: TrainingState, model: keras.Model) -> None:
        """Trains what is left of every stage, and gives the model the weights that the recipe keeps."""
        end, estimate = 0, EstimateTime(sizes_by_epoch(self.recipe.stages), self.steps)
        for image_size, epochs in self.recipe.stages:
            end += epochs
            if state.epoch >= end:
                continue
            if state.trained.input_shape[1] != image_size:
                state = TrainingState(model, image_size, self.recipe, self.steps, state.checkpoint())
            self._train_one(state, end, estimate)
        state.copy_kept_weights(model)

    def _train_one(self, state: TrainingState, end: int, estimate: EstimateTime) -> None:
        """Trains one stage up to the epoch `end`."""
        recipe, splits, classes = self.recipe, self.dataset.splits, len(self.dataset.class_names)
        size, photos = state.trained.input_shape[1], splits["train"]
        batches = training_batches(photos, self.cache, classes, size, recipe, state.epoch, self.sampling)
        if self.teachers:
            batches = self.teachers.blend(batches, size, recipe.distillation_weight)
        rule = replace(recipe.rule, image_size=size)
        validation = validation_batches(splits["validation"], classes, rule, recipe.batch_size)
        callbacks = [*callbacks_of(state, recipe, self.steps, self.run), estimate]
        try:
            with inside(state.strategy):
                state.trained.fit(
                    own_part(batches, state.strategy),
                    validation_data=own_part(validation, state.strategy),
                    initial_epoch=state.epoch,
                    epochs=end,
                    steps_per_epoch=self.steps,
                    shuffle=False,  # the data set orders itself
                    callbacks=callbacks,
                    verbose=0,
                )
        finally:
            for callback in callbacks:  # an interrupted fit() leaves the bar open
                callback.on_train_end()


def _check_space(folder: Path, model: keras.Model) -> None:
    """Refuses to start what the disk can't hold, apart from photos that don't fit into memory."""
    needed = BYTES_PER_WEIGHT * model.count_params() + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{folder} has {free / 1e6:.0f} MB of free space; checkpoints and the bundle need about "
            f"{needed / 1e6:.0f} MB. Free some, or name a folder on another disk with --run."
        )


def _tell_changed_schedule(state: TrainingState, recipe: Recipe, steps: int) -> None:
    """Says what more or fewer epochs than before do to the learning rate."""
    if not state.history or state.epoch >= recipe.epochs:
        return
    before, rate = state.history[-1]["learning_rate"], learning_rate(recipe, steps)
    now = float(rate(state.epoch * steps)) if callable(rate) else rate
    if abs(now - before) > 1e-3 * max(now, before):
        note(
            f"the run continues after epoch {state.epoch}, now to epoch {recipe.epochs}. Its learning rate "
            f"follows the schedule of {recipe.epochs} epochs: {before:.2g} before, {now:.2g} now."
        )
