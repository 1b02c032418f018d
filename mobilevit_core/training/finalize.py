"""From a trained model to its bundle: calibration on the validation part, then export."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.provenance import Seen
from mobilevit_core.evaluation.calibration import (
    expected_calibration_error,
    fit_temperature,
    fold_temperature,
    with_temperature,
)
from mobilevit_core.export.export import Pictures, tensors, write_exported
from mobilevit_core.training.recipes import Recipe


def bundle_model(
    folder: Path,
    model: keras.Model,
    dataset: PhotoDataset,
    recipe: Recipe,
    seen: Seen,
    origin: Mapping[str, Any] | None = None,
    history: Path | None = None,
) -> tuple[Bundle, list[str]]:
    """Makes the bundle of a trained model: calibrates it on the validation part, converts, compares.

    Args:
        folder: where; must not exist.
        model: the trained model at the recipe's image size; its classifier is scaled by the temperature.
        dataset: what it was trained on; its validation part is what temperature and threshold are fitted
            on and exports are compared on.
        recipe: of the run.
        seen: the photographs that went into the weights.
        origin: `start` and `teachers` of the manifest: what other trainings went into the weights.
        history: CSV of the training, copied into the bundle.

    Returns:
        The bundle, and one sentence for every format that was refused.
    """
    rule, photos = recipe.rule, dataset.part("validation")
    images = tensors(photos, rule)
    labels = np.array([photo.label for photo in photos])
    before = model.predict(images, batch_size=16, verbose=0)
    temperature = fit_temperature(before, labels)
    fold_temperature(model, temperature)
    after = with_temperature(before, temperature)
    manifest = Manifest(
        class_names=dataset.class_names,
        rule=rule,
        architecture=recipe.architecture,
        variant=recipe.variant,
        recipe=recipe.to_json(),
        data=dataset.describe(),
        **(origin or {}),
        calibration={
            "temperature": temperature,
            "fitted_on": f"{len(photos)} photographs of the validation part",
            "expected_calibration_error": {
                "before": expected_calibration_error(before, labels),
                "after": expected_calibration_error(after, labels),
            },
        },
        rejection=RejectionRule.fit(after),
    )
    return write_exported(folder, model, manifest, Pictures.of(dataset, rule), history, seen)
