"""Pretraining: a network learns a teacher's features and answers on photos without labels.

The features say more than the labels: what the teacher can tell apart although no class names it. So they
make most of the loss, through a linear layer that is thrown away at the end; the classifier learns the
teacher's probabilities beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import FEATURES, backbone, classifier, features
from mobilevit_core.training.callbacks import callbacks_of
from mobilevit_core.training.crops import CHUNK, CropBatches, CropPlan, CropStore, Targets, at_size
from mobilevit_core.training.progress import EstimateTime
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.run_folder import RunFolder, sizes_by_epoch
from mobilevit_core.training.state import TrainingState, tell_damaged
from mobilevit_core.training.teacher_networks import TeacherNetwork
from mobilevit_core.training.transfer import Start

HELD_BACK = 2048  # crops that the validation figures come from, of at most a tenth of the photos
FITTED_ON, WHITENED_ON = 4096, 20_480  # crops: of the teacher's mean and deviation; of `whiten`
FAINTEST = 0.01  # of the mean variance: directions with less are not enlarged any further
FEATURE_WEIGHT, ANSWER_WEIGHT = 2.0, 0.1  # of the loss
TEACHER = "teacher_features"  # the layer that is thrown away
# Of a network whose teachers name nothing: it is there to start other trainings from.
UNNAMED = ("unnamed 1", "unnamed 2")


@dataclass(frozen=True)
class LearnsFeatures:
    """What is learned: see `state.LearnsLabels`.

    Attributes:
        classes: of the answers, 0 for none.
        features: of the teacher.
        answer_weight: of the answers in the loss.
    """

    classes: int
    features: int
    answer_weight: float = ANSWER_WEIGHT

    def network(self, plain: keras.Model) -> keras.Model:
        """Logits and features side by side: (batch, classes + features)."""
        seen = keras.layers.Dense(self.features, name=TEACHER)(features(plain))
        outputs = [classifier(plain).output, seen] if self.classes else [seen]
        joined = keras.layers.Concatenate(name="answers")(outputs) if self.classes else seen
        return keras.Model(plain.input, joined)

    def compiled(self) -> dict[str, Any]:
        """Loss and metrics."""
        return {"loss": self._loss, "metrics": [_Agreement(self.classes)]}

    def _loss(self, wanted: tf.Tensor, answer: tf.Tensor) -> tf.Tensor:
        missed = tf.square(wanted[:, self.classes :] - answer[:, self.classes :])
        missed = tf.reduce_mean(tf.where(tf.math.is_nan(missed), 0.0, missed), axis=1)  # NaN: not asked
        if not self.classes:
            return FEATURE_WEIGHT * missed
        crossed = tf.nn.softmax_cross_entropy_with_logits(
            wanted[:, : self.classes], answer[:, : self.classes]
        )
        return FEATURE_WEIGHT * missed + self.answer_weight * crossed


class _Agreement(keras.metrics.MeanMetricWrapper):
    """Share of the crops that student and teacher name alike; of features alone, the explained share."""

    def __init__(self, classes: int) -> None:
        def agreement(wanted: tf.Tensor, answer: tf.Tensor) -> tf.Tensor:
            if classes:
                best = tf.argmax(wanted[:, :classes], 1) == tf.argmax(answer[:, :classes], 1)
                return tf.cast(best, tf.float32)
            return 1 - tf.reduce_mean(tf.square(wanted - answer), axis=1)

        super().__init__(agreement, name="accuracy")


def pretrained_model(
    photos: Sequence[LabelledPhoto],
    teachers: Sequence[TeacherNetwork],
    recipe: Recipe,
    run: RunFolder,
    start: Start | None = None,
) -> keras.Model:
    """Teaches a network, or goes on from the newest checkpoint.

    Args:
        photos: of anything.
        teachers: features side by side, logits averaged.
        recipe: all values of the run.
        run: its folder, claimed for this run.
        start: weights to start from; a checkpoint in the run folder goes before.

    Returns:
        The plain model at the recipe's image size; its classifier has the teachers' classes.
    """
    keras.utils.set_random_seed(recipe.seed)
    largest = max(size for size, _ in recipe.stages)
    plan = CropPlan(largest, recipe.crops, recipe.crop_scale, recipe.seed, recipe.whole_share)
    store = CropStore(run.path / "crops", plan, photos)
    store.ask(teachers)
    store.open()
    known, held = _held_back(plan.order(len(photos)))
    targets = Targets.fitted(store.take(known[:FITTED_ON])[1])
    learns = LearnsFeatures(store.classes, store.features)

    def held_back(size: int) -> CropBatches:
        return CropBatches(store, held, targets, min(recipe.batch_size, len(held)), size)

    lessons = Lessons(store, known, targets, learns, held_back)
    model = learn_from_crops(lessons, store.classes or len(UNNAMED), recipe, run, start)
    if recipe.architecture == "hypercolumn":
        whiten(model, store, known[:WHITENED_ON])
    return model


def _held_back(photos: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the crops to learn from, and of those held back.

    No photo has crops in both, however many it has.

    Args:
        photos: the number of each crop's photo, (crops,): permutations of all, one after the other.
    """
    held = max(min(HELD_BACK, len(photos) // 10, len(np.unique(photos)) // 10), 1)
    hidden = np.isin(photos, photos[-held:])
    return np.flatnonzero(~hidden), np.flatnonzero(hidden)[-HELD_BACK:]


def whiten(model: keras.Model, store: CropStore, crops: np.ndarray) -> None:
    """Turns and scales a hypercolumn's features so that within classes they vary alike in all directions.

    A classifier of few photos takes that for granted until it knows better (`linear_probe.py`). Its own
    linear layers take up both, so the answers stay the same.

    Args:
        model: is changed.
        store: opened.
        crops: the numbers of those that it is measured on; the classes are the teachers' best answers.
    """
    network, size = backbone(model), model.input_shape[1]
    seen, answers = [], []
    for start in range(0, len(crops), CHUNK):
        pixels, _, logits = store.take(crops[start : start + CHUNK])
        images = np.stack([at_size(image, size) for image in pixels]).astype(np.float32)
        seen.append(network.predict(images, batch_size=64, verbose=0))
        answers.append(logits.argmax(axis=1) if store.classes else np.zeros(len(logits), int))
    found, places = np.concatenate(seen).astype(np.float64), np.concatenate(answers)
    sums, counts = np.zeros((places.max() + 1, found.shape[1])), np.bincount(places)
    np.add.at(sums, places, found)
    apart = found - (sums[places] / counts[places, None])
    variances, directions = np.linalg.eigh(apart.T @ apart / len(apart))
    scales = np.sqrt(variances + FAINTEST * variances.mean())
    mixing, (kernel, bias) = model.get_layer(FEATURES), classifier(model).get_weights()
    mixing.set_weights([mixing.get_weights()[0] @ directions / scales])
    classifier(model).set_weights([scales[:, None] * (directions.T @ kernel), bias])


@dataclass(frozen=True)
class Lessons:
    """What a network learns from stored crops.

    Attributes:
        store: opened.
        drawn: numbers of the crops that are learned from.
        targets: what they teach.
        learns: the network's form for it, and the loss.
        validation: from an image size to batches of images and targets.
    """

    store: CropStore
    drawn: np.ndarray
    targets: Targets
    learns: LearnsFeatures
    validation: Callable[[int], Any]


def learn_from_crops(
    lessons: Lessons,
    classes: int,
    recipe: Recipe,
    run: RunFolder,
    start: Start | None,
    class_names: tuple[str, ...] = (),
) -> keras.Model:
    """Trains to the end of the recipe, or goes on from the newest checkpoint in the run folder.

    Args:
        lessons: what is learned.
        classes: of the network.
        recipe: all values of the run.
        run: its folder, claimed for this run.
        start: weights to start from; a checkpoint in the run folder goes before.
        class_names: of the network, for a start that may know them.

    Returns:
        The plain model at the recipe's image size with the weights that the recipe keeps.
    """
    checkpoint = run.newest_checkpoint()
    model = create_mobilevit(recipe.variant, classes, recipe.image_size, recipe.architecture)
    if checkpoint:
        tell_damaged(checkpoint, run)
        run.write_history(checkpoint.history)
    elif start:
        start.copy_to(model, class_names)
    steps = max((recipe.epoch_photos or len(lessons.drawn)) // recipe.batch_size, 1)
    sizes = sizes_by_epoch(recipe.stages)
    state = TrainingState(model, sizes[0], recipe, steps, checkpoint, lessons.learns)
    estimate = EstimateTime(sizes, steps)
    for epoch in range(state.epoch, len(sizes)):
        if state.trained.input_shape[1] != sizes[epoch]:
            state = TrainingState(model, sizes[epoch], recipe, steps, state.checkpoint(), lessons.learns)
        _train_epoch(state, lessons, steps, recipe, run, estimate)
    state.copy_kept_weights(model)
    return model


def _train_epoch(
    state: TrainingState,
    lessons: Lessons,
    steps: int,
    recipe: Recipe,
    run: RunFolder,
    estimate: keras.callbacks.Callback,
) -> None:
    epoch, size = state.epoch, state.trained.input_shape[1]
    state.trained.fit(
        CropBatches(
            lessons.store,
            lessons.drawn,
            lessons.targets,
            recipe.batch_size,
            size,
            steps,
            (recipe.seed, epoch),
            recipe.flip,
            recipe.color,
            recipe.degrade,
        ),
        validation_data=lessons.validation(size),
        initial_epoch=epoch,
        epochs=epoch + 1,
        shuffle=False,  # the batches order themselves
        callbacks=[*callbacks_of(state, recipe, steps, run), estimate],
        verbose=0,
    )
