"""From trained weights to their bundle, whichever way they were trained; a head needs no TensorFlow here."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.conversion.packing import Converted, write_converted
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.evaluation.calibration import HeldOut
from mobilevit_core.models.parts import classifier
from mobilevit_core.training.recipes import Recipe

if TYPE_CHECKING:
    import keras


def write_trained(
    folder: Path,
    converted: Converted,
    held_out: HeldOut | None,
    provenance: Provenance,
    history: Path | None = None,
    **described: Any,
) -> tuple[Bundle, list[str]]:
    """Writes the bundle of trained weights.

    Args:
        folder: where; must not exist.
        converted: the network in every format, its classifier calibrated.
        held_out: what it was calibrated on; None where it was not, and then nothing is rejected.
        provenance: the photos that went into the weights.
        history: CSV of the training, copied into the bundle.
        described: all other fields of the manifest.

    Returns:
        The bundle, and one sentence for every format that was refused.

    Raises:
        UserError: the folder exists.
    """
    manifest = Manifest(**described, **(held_out.sections() if held_out else {}))
    return write_converted(folder, converted, manifest, history, provenance)


def bundle_model(
    folder: Path,
    model: "keras.Model",
    dataset: PhotoDataset,
    recipe: Recipe,
    provenance: Provenance,
    origin: Mapping[str, Any] | None = None,
    history: Path | None = None,
    **described: Any,
) -> tuple[Bundle, list[str]]:
    """Makes the bundle of a trained network: calibrates it on the validation split, converts, compares.

    Without validation photos the probabilities stay uncalibrated and nothing is rejected; without
    training photos there is no full int8 format.

    Args:
        folder: where; must not exist.
        model: the trained model at the recipe's image size; its classifier is calibrated.
        dataset: its validation split is what temperature and threshold are fitted on and exports are
            compared on.
        recipe: of the run.
        provenance: the photos that went into the weights.
        origin: `start` and `teachers` of the manifest: what other trainings went into the weights.
        history: CSV of the training, copied into the bundle.
        described: fields of the manifest that the data set does not tell.

    Returns:
        The bundle, and one sentence for every format that was refused.
    """
    from mobilevit_core.conversion.export import Images, converted, versions_here

    held_out = calibrate(model, dataset, recipe)
    fields = {
        "class_names": dataset.class_names,
        "rule": recipe.rule,
        "architecture": recipe.architecture,
        "variant": recipe.variant,
        "recipe": recipe.to_json(),
        "data": dataset.describe(),
        "versions": versions_here(),
        "other_class": dataset.other_class,
        **(origin or {}),
        **described,
    }
    images = Images.of(dataset, recipe.rule) if any(dataset.splits.values()) else Images.drawn(model)
    return write_trained(folder, converted(model, images), held_out, provenance, history, **fields)


def calibrate(model: "keras.Model", dataset: PhotoDataset, recipe: Recipe) -> HeldOut | None:
    """Folds what the validation split says into a model's classifier; returns what it said, if anything."""
    from mobilevit_core.conversion.export import tensors

    photos = [photo for photo in dataset.splits.get("validation", ()) if photo.label != dataset.other]
    if not photos:
        return None
    before = model.predict(tensors(photos, recipe.rule), batch_size=16, verbose=0)
    held_out = HeldOut(
        before,
        np.array([photo.label for photo in photos]),
        f"{len(photos)} photos of the validation split",
        dataset.other,
        recipe.false_rejection_rate,
    )
    layer = classifier(model)
    layer.set_weights(held_out.calibration.fold(*layer.get_weights()))
    return held_out
