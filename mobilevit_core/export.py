"""Turns a trained model into a bundle's weight formats, and accepts none that answers differently."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from mobilevit_core.bundle import HISTORY, Bundle, Contract, write_bundle
from mobilevit_core.calibration import (
    expected_calibration_error,
    fit_temperature,
    fold_temperature,
    with_temperature,
)
from mobilevit_core.errors import UserError
from mobilevit_core.files import write_bytes
from mobilevit_core.formats import FORMATS, WeightFormat
from mobilevit_core.photo_dataset import PhotoDataset
from mobilevit_core.preprocessing import ResizeRule, preprocess
from mobilevit_core.recipes import Recipe
from mobilevit_core.runtimes import LiteRTRuntime, default_threads
from mobilevit_core.seen import Seen
from mobilevit_core.unknown import UnknownRule

CHECK_PHOTOS = 100  # how many photographs an export is compared on
VERSIONS_OF = ("tensorflow", "keras", "ai-edge-litert", "pillow", "numpy")


@dataclass(frozen=True)
class Agreement:
    """How far two sets of answers to the same pictures agree.

    Attributes:
        same_top1: share of the pictures with the same most probable class.
        largest_difference: of any probability.
        pictures: how many were compared.
    """

    same_top1: float
    largest_difference: float
    pictures: int

    @classmethod
    def between(cls, first: np.ndarray, second: np.ndarray) -> "Agreement":
        """Compares probabilities (pictures, classes)."""
        same = first.argmax(axis=1) == second.argmax(axis=1)
        return cls(float(same.mean()), float(np.abs(first - second).max()), len(first))

    def require(self, name: str, fmt: WeightFormat) -> None:
        """Raises a UserError that names the figure if it is under the format's floor."""
        # Written so that NaN, which is neither over nor under anything, is refused too.
        if not (self.same_top1 >= fmt.agreement and self.largest_difference <= fmt.difference):
            raise UserError(
                f"{name} is refused: on {self.pictures} pictures {self.same_top1:.1%} have Keras's answer "
                f"(floor {fmt.agreement:.1%}) and the largest difference of a probability is "
                f"{self.largest_difference:.2g} (limit {fmt.difference:g})."
            )


def save_saved_model(model: keras.Model, folder: Path, batch: int | None = None) -> None:
    """Writes a SavedModel with the signature `image` -> `probabilities`.

    Args:
        model: image float32 (batch, size, size, 3) RGB 0..255 -> probabilities.
        folder: must not exist.
        batch: fixed batch size, or None for any.
    """
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        "serving_default",
        lambda image: {"probabilities": model(image, training=False)},
        input_signature=[tf.TensorSpec((batch, *model.input_shape[1:]), tf.float32, name="image")],
    )
    archive.write_out(str(folder), verbose=False)


def export_saved_model(bundle: Bundle, folder: Path) -> None:
    """Writes a bundle's Keras weights as a SavedModel, beside its place first."""
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        save_saved_model(load_keras(bundle.weights("keras")), beside)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def to_tflite(model: keras.Model, name: str) -> bytes:
    """Converts to one of the TFLite formats: static batch of 1, built-in operators only.

    Args:
        model: a model of `create_mobilevit`.
        name: a LiteRT key of `formats.FORMATS`.
    """
    with tempfile.TemporaryDirectory() as temporary:
        save_saved_model(model, Path(temporary) / "saved_model", batch=1)
        converter = tf.lite.TFLiteConverter.from_saved_model(str(Path(temporary) / "saved_model"))
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if name == "dynamic_int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


def write_tflite(model: keras.Model, name: str, path: Path, images: np.ndarray) -> Agreement:
    """Converts, compares with Keras and only then writes.

    Args:
        model: a model of `create_mobilevit`.
        name: a LiteRT key of `formats.FORMATS`.
        path: the .tflite file.
        images: float32 (pictures, size, size, 3), RGB 0..255, to compare on.

    Raises:
        UserError: the agreement is under the format's floor; nothing is written.
    """
    content = to_tflite(model, name)
    with tempfile.TemporaryDirectory() as temporary:
        candidate = Path(temporary) / path.name
        candidate.write_bytes(content)
        runtime = LiteRTRuntime.load(candidate, default_threads())
        answers = np.stack([runtime.probabilities(image) for image in images])
    expected = model.predict(images, batch_size=16, verbose=0)
    agreement = Agreement.between(expected, answers)
    agreement.require(name, FORMATS[name])
    write_bytes(path, content)
    return agreement


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
        origin: `start` and `teachers` of the contract: what other trainings went into the weights.
        history: CSV of the training, copied into the bundle.

    Returns:
        The bundle, and one sentence for every format that was refused.
    """
    rule, photos = recipe.rule, dataset.part("validation")
    images = np.stack([preprocess(photo.source, rule, photo.name) for photo in photos])
    labels = np.array([photo.label for photo in photos])
    before = model.predict(images, batch_size=16, verbose=0)
    temperature = fit_temperature(before, labels)
    fold_temperature(model, temperature)
    after = with_temperature(before, temperature)
    contract = Contract(
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
        unknown=UnknownRule.fit(after),
    )
    checked = images[:: max(1, len(images) // CHECK_PHOTOS)][:CHECK_PHOTOS]
    return _write(folder, model, contract, checked, history, seen)


def export_again(
    bundle: Bundle, folder: Path, dataset: PhotoDataset | None = None
) -> tuple[Bundle, list[str]]:
    """Converts a bundle's Keras weights anew into a bundle of its own.

    Args:
        bundle: has model.keras.
        folder: of the new bundle; must not exist.
        dataset: its validation part is what exports are compared on; without it, drawn pictures are.

    Returns:
        The new bundle, and one sentence for every format that was refused.
    """
    rule = bundle.contract.rule
    images = _check_images(dataset, rule) if dataset else drawn_pictures(CHECK_PHOTOS, rule.image_size)
    contract = replace(bundle.contract, metrics={})  # nothing was measured on the new files
    return _write(folder, load_keras(bundle.weights("keras")), contract, images, bundle.history, bundle.seen)


def _check_images(dataset: PhotoDataset, rule: ResizeRule) -> np.ndarray:
    photos = dataset.part("validation")
    photos = photos[:: max(1, len(photos) // CHECK_PHOTOS)][:CHECK_PHOTOS]  # of all classes
    return np.stack([preprocess(photo.source, rule, photo.name) for photo in photos])


def _write(
    folder: Path,
    model: keras.Model,
    contract: Contract,
    images: np.ndarray,
    history: Path | None,
    seen: Seen | None,
) -> tuple[Bundle, list[str]]:
    refused: list[str] = []

    def fill(beside: Path) -> Contract:
        model.save(beside / FORMATS["keras"].file)
        if history and history.is_file():
            shutil.copyfile(history, beside / HISTORY)
        if seen:
            seen.write(beside)
        agreement = {}
        for name in tflite_formats():
            try:
                agreement[name] = asdict(write_tflite(model, name, beside / FORMATS[name].file, images))
            except UserError as error:
                refused.append(str(error))
        return replace(
            contract,
            formats=("keras", *agreement),
            versions={package: version(package) for package in VERSIONS_OF},
            agreement=agreement,
        )

    return write_bundle(folder, fill), refused


def load_keras(weights: Path) -> keras.Model:
    """Loads a model.keras.

    Raises:
        UserError: the file is damaged.
    """
    try:
        return keras.models.load_model(weights, compile=False)
    except Exception as error:  # Keras meets damaged files with many kinds of errors
        raise UserError(f"{weights} can't be loaded: {error}") from error


def drawn_pictures(count: int, size: int) -> np.ndarray:
    """Smooth random colour fields: float32 (count, size, size, 3), RGB 0..255, the same every time."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 6, 6, 3))
    return tf.image.resize(coarse, (size, size), "bicubic").numpy().clip(0, 255)


def tflite_formats() -> list[str]:
    """Names of the formats that LiteRT runs."""
    return [name for name, fmt in FORMATS.items() if fmt.engine == "litert"]
