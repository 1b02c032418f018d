"""One's own classes, learned from few labels and a network that saw more of the world.

A linear classifier on the teacher's features learns the classes from the labelled photos, and answers every
crop, also of photos without labels. The small network learns these answers, the labels, and the features.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.messages import note
from mobilevit_core.training.crops import CropPlan, CropStore, Targets
from mobilevit_core.training.input_pipeline import validation_batches
from mobilevit_core.training.pretraining import FITTED_ON, LearnsFeatures, Lessons, learn_from_crops
from mobilevit_core.training.recipes import Recipe, balances
from mobilevit_core.training.run_folder import RunFolder
from mobilevit_core.training.teacher_networks import TeacherNetwork
from mobilevit_core.training.transfer import Start

FEWEST_CROPS = 4000  # in all, where the recipe does not say how many
STRENGTH = 0.01  # of the classifier: C of scikit-learn


@dataclass(frozen=True)
class NetworkTeachers:
    """Teacher networks, and photos without labels that they are asked about, too.

    Attributes:
        networks: features side by side.
        unlabelled: photos of anything.
    """

    networks: Sequence[TeacherNetwork]
    unlabelled: tuple[LabelledPhoto, ...] = ()

    def describe(self) -> list[dict[str, Any]]:
        """For the run folder and the manifest."""
        return [{**network.describe(), "unlabelled": len(self.unlabelled)} for network in self.networks]

    def without(self, held_out: Iterable[LabelledPhoto]) -> "NetworkTeachers":
        """The same without photos that figures count: the same files among those without labels."""
        digests = {photo.sha256 for photo in held_out}
        kept = tuple(photo for photo in self.unlabelled if photo.sha256 not in digests)
        if len(kept) < len(self.unlabelled):
            note(f"{len(self.unlabelled) - len(kept)} photos without labels are held out, and left out here.")
        return replace(self, unlabelled=kept)

    @property
    def provenance(self) -> list[Provenance]:
        """The photos without labels."""
        return [Provenance.of(self.unlabelled)]


def train_on_crops(
    dataset: PhotoDataset, recipe: Recipe, run: RunFolder, start: Start | None, teachers: NetworkTeachers
) -> keras.Model:
    """Trains a network for a data set's classes with teacher networks, or goes on from the newest checkpoint.

    Args:
        dataset: its training split is learned from, its validation split gives the figures of each epoch.
        recipe: all values of the run; `distillation_weight` is the teacher's share of a label.
        run: its folder, claimed for this run.
        start: weights to start from.
        teachers: who is asked.

    Returns:
        The plain model at the recipe's image size.
    """
    keras.utils.set_random_seed(recipe.seed)
    labelled, classes = _repeated(dataset, len(teachers.unlabelled), recipe), len(dataset.class_names)
    photos = (*labelled, *teachers.unlabelled)
    crops = recipe.crops or max(len(photos), FEWEST_CROPS)
    largest = max(size for size, _ in recipe.stages)
    plan = CropPlan(largest, crops, recipe.crop_scale, recipe.seed, recipe.whole_share)
    store = CropStore(run.path / "crops", plan, photos)
    store.ask(teachers.networks)
    store.open()
    labels = np.array([photo.label for photo in labelled] + [-1] * len(teachers.unlabelled))[store.photos()]
    everything = np.arange(store.crops)
    features = store.all_features().astype(np.float32)
    answers = _answers(features, labels, classes, recipe.distillation_weight, balances(dataset, recipe))
    targets = replace(Targets.fitted(features[:FITTED_ON]), answers=answers)
    learns = LearnsFeatures(classes, store.features, answer_weight=1.0)

    def validation(size: int) -> tf.data.Dataset:
        rule = replace(recipe.rule, image_size=size)
        batches = validation_batches(dataset.splits["validation"], classes, rule, recipe.batch_size)
        # Nobody asks the teacher about these: NaN in place of its features leaves them out of the loss.
        missing = ((0, 0), (0, learns.features))
        return batches.map(lambda images, wanted: (images, tf.pad(wanted, missing, constant_values=np.nan)))

    lessons = Lessons(store, everything, targets, learns, validation)
    return learn_from_crops(lessons, classes, recipe, run, start, dataset.class_names)


def _repeated(dataset: PhotoDataset, unlabelled: int, recipe: Recipe) -> tuple[LabelledPhoto, ...]:
    """The training photos, those of the classes as often as makes them 1 - `other_share` of all crops."""
    photos = dataset.splits["train"]
    known = [photo for photo in photos if photo.label != dataset.other]
    others = len(photos) - len(known) + unlabelled
    times = round(others * (1 / recipe.other_share - 1) / len(known))
    return (*photos, *known * max(times - 1, 0))


def _answers(
    features: np.ndarray, labels: np.ndarray, classes: int, share: float, balanced: bool
) -> np.ndarray:
    """What every crop teaches: float32 (crops, classes).

    Args:
        features: the teacher's, (crops, features).
        labels: -1 for none, (crops,).
        classes: how many.
        share: of the classifier in the answer to a crop with a label.
        balanced: every class counts as much as any other.
    """
    known = labels >= 0
    classifier = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=STRENGTH, max_iter=500, class_weight="balanced" if balanced else None),
    )
    classifier.fit(features[known], labels[known])
    answers = np.zeros((len(labels), classes), np.float32)
    answers[:, classifier[-1].classes_] = classifier.predict_proba(features)
    answers[known] = share * answers[known] + (1 - share) * np.eye(classes, dtype=np.float32)[labels[known]]
    return answers
