"""The end of a training: from a network, or from a run that has not ended, to a calibrated bundle."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.conversion.export import Images, converted, tensors, versions_here
from mobilevit_core.conversion.packing import write_converted
from mobilevit_core.data.dataset import NONE_OF_THESE, LabelledPhoto, PhotoDataset
from mobilevit_core.data.loading import load_described
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.calibration import HeldOut
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.inference.classifier import load_formats
from mobilevit_core.messages import note
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import classifier
from mobilevit_core.tensorflow_setup import check_tensorflow
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.run_folder import RunFolder, first_epochs
from mobilevit_core.training.state import TrainingState, tell_damaged

NAMED = 4  # missing photos in a message


def bundle_model(
    run: RunFolder,
    model: keras.Model,
    dataset: PhotoDataset,
    recipe: Recipe,
    folder: Path | None = None,
    class_names: Sequence[str] = (),
) -> tuple[Bundle, list[str]]:
    """Makes the bundle of a trained network: calibrates it on the validation split, converts, compares.

    Without validation photos the probabilities stay uncalibrated and nothing is rejected; without
    training photos there is no full int8 format.

    Args:
        run: what was claimed; tells what went into the weights.
        model: the trained model at the recipe's image size; its classifier is calibrated.
        dataset: its validation split is what temperature and threshold are fitted on and exports are
            compared on.
        recipe: of the epochs that were trained.
        folder: of the bundle, must not exist; default: the run's.
        class_names: default: the data set's.

    Returns:
        The bundle, and one sentence for every format that was refused.
    """
    record = run.record()
    manifest = Manifest(
        class_names=tuple(class_names or dataset.class_names),
        rule=recipe.rule,
        architecture=recipe.architecture,
        variant=recipe.variant,
        recipe=recipe.to_json(),
        data=record["data"],
        versions=versions_here(),
        start=record.get("start"),
        teachers=record.get("teachers"),
        other_class=dataset.other_class,
        **calibrate(model, dataset, recipe),
    )
    images = Images.of(dataset, recipe.rule) if any(dataset.splits.values()) else Images.drawn(model)
    made = converted(model, images)
    return write_converted(folder or run.bundle, made, manifest, run.history, Provenance.read(run.path))


def calibrate(model: keras.Model, dataset: PhotoDataset, recipe: Recipe) -> dict[str, Any]:
    """Folds what the validation split says into a model's classifier.

    Returns:
        The manifest's `calibration` and `rejection`; nothing without validation photos.
    """
    photos = [photo for photo in dataset.splits.get("validation", ()) if photo.label != dataset.other]
    if not photos:
        return {}
    held_out = HeldOut(
        model.predict(tensors(photos, recipe.rule), batch_size=16, verbose=0),
        np.array([photo.label for photo in photos]),
        f"{len(photos)} photos of the validation split",
        dataset.other,
        recipe.false_rejection_rate,
    )
    layer = classifier(model)
    layer.set_weights(held_out.calibration.fold(*layer.get_weights()))
    return held_out.sections()


def record_validation(bundle: Bundle, dataset: PhotoDataset) -> None:
    """Measures every weight format of a bundle on the validation split and records the figures in it."""
    measured = Measured.of(load_formats(bundle, bundle.expected), dataset, "validation")
    bundle.record_metrics("validation", measured.figures(bundle.provenance))


def finish_run(run: RunFolder, folder: Path | None = None) -> tuple[Bundle, list[str]]:
    """Makes a bundle from the newest checkpoint.

    Photos of the run that are gone or have changed since are left out: calibration, the comparison of
    the formats and the figures rest on those that remain. The run itself can still be continued.

    Args:
        run: a run folder with at least one finished epoch.
        folder: of the new bundle; by default inside the run folder, named after the number of epochs.

    Returns:
        The bundle, and one sentence for every weight format that was refused.

    Raises:
        UserError: no such run, no finished epoch, a process trains in it, or the folder exists.
    """
    check_tensorflow()
    with run.locked(new=False):
        record = run.record()
        checkpoint = run.newest_checkpoint()
        if checkpoint is None:
            raise UserError(f"{run.path} has no finished epoch yet, so there is nothing to make a bundle of.")
        tell_damaged(checkpoint, run)
        recipe = _recipe_so_far(record["recipe"], checkpoint.epoch)
        if recipe.start_share:
            note(
                f"the starting weights' share of {recipe.start_share:g} is for the end of the training and "
                "left out here."
            )
            recipe = dataclasses.replace(recipe, start_share=0)
        folder = folder or run.bundle_after(checkpoint.epoch)
        if folder.exists():
            raise UserError(f"{folder} exists already. Remove it, or name another folder with --to.")
        dataset = _remaining(record, run.recorded_photos())
        classes = len(dataset.class_names)
        model = create_mobilevit(recipe.variant, classes, recipe.image_size, recipe.architecture)
        state = TrainingState(model, recipe.stages[-1][0], recipe, 1, checkpoint)
        state.copy_kept_weights(model)
        run.write_history(state.history)
        bundle, refused = bundle_model(run, model, dataset, recipe, folder)
        if dataset.splits["validation"]:
            record_validation(bundle, dataset)
        return bundle, refused


def _recipe_so_far(values: Mapping[str, Any], epochs: int) -> Recipe:
    """The recipe with the stages that were trained."""
    known = {field.name for field in dataclasses.fields(Recipe)}
    kept = {key: value for key, value in values.items() if key in known}
    return Recipe(**{**kept, "stages": first_epochs(values["stages"], epochs)})


def _remaining(record: Mapping[str, Any], rows: Sequence[Mapping[str, str]]) -> PhotoDataset:
    """The photos of a run that are still what they were."""
    class_names, data = tuple(record["class_names"]), record["data"]
    sources: dict[str, Path | bytes] = {}
    if any(not row["file"] for row in rows):
        sources = _by_digest(data, record["recipe"])
    splits: dict[str, list[LabelledPhoto]] = {split: [] for split in data["photos"]}
    missing = []
    for row in rows:
        source = _unchanged(row) if row["file"] else sources.get(row["sha256"])
        if source is None:
            missing.append(row["name"])
        else:
            splits[row["split"]].append(LabelledPhoto(row["name"], class_names.index(row["class"]), source))
    if missing:
        names = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
        left = ", ".join(f"{len(photos)} of {split}" for split, photos in splits.items())
        note(f"{len(missing)} of {len(rows)} photos are gone or have changed ({names}); left: {left}.")
        if not splits["validation"]:
            note("without validation photos, probabilities are not calibrated and nothing is rejected.")
        if not splits["train"]:
            note("without training photos, there is no int8 format.")
    photos = {split: tuple(photos) for split, photos in splits.items()}
    other_class = NONE_OF_THESE if class_names[-1] == NONE_OF_THESE else None
    return PhotoDataset(
        data["name"], data["split_scheme"], class_names, photos, tuple(data["notes"]), other_class=other_class
    )


def _unchanged(row: Mapping[str, str]) -> Path | None:
    path = Path(row["file"])
    try:
        content = path.read_bytes()
    except OSError:
        return None
    return path if hashlib.sha256(content).hexdigest() == row["sha256"] else None


def _by_digest(data: Mapping[str, Any], recipe: Mapping[str, Any]) -> dict[str, Path | bytes]:
    """The photos of data sets that do not lie in files of their own."""
    try:
        dataset = load_described(data, recipe["split_scheme"], recipe["seed"])
    except UserError as error:
        note(f"{data['name']} can't be loaded: {error}")
        return {}
    return {photo.sha256: photo.source for photos in dataset.splits.values() for photo in photos}
