"""From a trained model to its bundle: calibration on the validation split, then export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.conversion.export import Pictures, tensors, write_exported
from mobilevit_core.conversion.packing import CHECK_PHOTOS
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.evaluation.calibration import Calibration
from mobilevit_core.images.preprocessing import ResizeRule
from mobilevit_core.models.released_weights import HEAD
from mobilevit_core.training.recipes import Recipe


def bundle_model(
    folder: Path,
    model: keras.Model,
    dataset: PhotoDataset,
    recipe: Recipe,
    provenance: Provenance,
    origin: Mapping[str, Any] | None = None,
    history: Path | None = None,
    trained_on: Mapping[str, Any] | None = None,
) -> tuple[Bundle, list[str]]:
    """Makes the bundle of a trained model: calibrates it on the validation split, converts, compares.

    Without validation photographs the probabilities stay uncalibrated and nothing is rejected; without
    training photographs there is no full int8 format.

    Args:
        folder: where; must not exist.
        model: the trained model at the recipe's image size; its classifier is calibrated.
        dataset: its validation split is what temperature and threshold are fitted on and exports are
            compared on.
        recipe: of the run.
        provenance: the photographs that went into the weights.
        origin: `start` and `teachers` of the manifest: what other trainings went into the weights.
        history: CSV of the training, copied into the bundle.
        trained_on: the description of the data, where some of it is no longer there; the data set's own by
            default.

    Returns:
        The bundle, and one sentence for every format that was refused.
    """
    rule = recipe.rule
    calibrated = _calibrate(model, dataset, recipe)
    manifest = Manifest(
        class_names=dataset.class_names,
        rule=rule,
        architecture=recipe.architecture,
        variant=recipe.variant,
        recipe=recipe.to_json(),
        data=dict(trained_on or dataset.describe()),
        **(origin or {}),
        **calibrated,
        other_class=dataset.other_class,
    )
    return write_exported(folder, model, manifest, _pictures(dataset, rule, model), history, provenance)


def _calibrate(model: keras.Model, dataset: PhotoDataset, recipe: Recipe) -> dict[str, Any]:
    """Calibrates the model's classifier; returns the manifest's `calibration` and `rejection`."""
    photos, other = dataset.splits.get("validation", ()), dataset.other
    if not photos:
        return {}
    labels = np.array([photo.label for photo in photos])
    before = model.predict(tensors(photos, recipe.rule), batch_size=16, verbose=0)
    calibration = Calibration.fit(before, labels, other, recipe.false_alarms)
    fold_calibration(model, calibration)
    after, known = calibration.apply(before), labels != other
    where = f"{len(photos)} photographs of the validation split"
    return {
        "calibration": calibration.to_json(after, labels, where),
        "rejection": RejectionRule.fit(after[known], other, recipe.false_alarms),
    }


def fold_calibration(model: keras.Model, calibration: Calibration) -> None:
    """Gives the model the calibrated classifier."""
    head = model.get_layer(HEAD)
    head.set_weights(calibration.fold(*head.get_weights()))


def _pictures(dataset: PhotoDataset, rule: ResizeRule, model: keras.Model) -> Pictures:
    """What exports are compared on: photographs, as far as there are any."""
    validation, training = (dataset.splits.get(split, ()) for split in ("validation", "train"))
    if validation and training:
        return Pictures.of(dataset, rule)
    photos = [*validation, *training][:CHECK_PHOTOS]
    return Pictures(tensors(photos, rule)) if photos else Pictures.drawn(model)
