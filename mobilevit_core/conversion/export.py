"""Turns a trained model into a bundle's weight formats, and accepts none that answers differently."""

import math
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilevit_core.bundle.bundle import Bundle, write_bundle
from mobilevit_core.bundle.files import HISTORY, LABELS, MANIFEST
from mobilevit_core.bundle.golden import CANDIDATES, Golden, drawn, telling
from mobilevit_core.bundle.manifest import Manifest, write_manifest
from mobilevit_core.bundle.tflite_metadata import attach, describe
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.conversion.saved_model import EXTRA, save_saved_model
from mobilevit_core.conversion.tflite import convert
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.parity import Parity
from mobilevit_core.files import replacing, write_bytes
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.inference.runtimes import LiteRTRuntime, default_threads, load_keras

CHECK_PHOTOS = 400  # how many photographs an export is compared on, at the most
DRAWN_PICTURES = 100  # the same, where there are no photographs
CALIBRATION_PHOTOS = 100  # how many training photographs int8 finds its scales with, about
VERSIONS_OF = ("tensorflow", "keras", "ai-edge-litert", "ai-edge-quantizer", "pillow", "numpy")


@dataclass(frozen=True)
class Pictures:
    """What converted files are made and accepted with; all float32 (pictures, size, size, 3), RGB 0..255.

    Attributes:
        checked: pictures that Keras and the converted files must answer alike.
        calibration: training photographs for the scales of full integer arithmetic, the same number of
            every class; None for none, and no such format.
    """

    checked: np.ndarray
    calibration: np.ndarray | None = None

    @classmethod
    def of(cls, dataset: PhotoDataset, rule: ResizeRule) -> "Pictures":
        """From a data set: validation photographs are compared on, then training ones; never test ones."""
        training = dataset.split("train")
        each = math.ceil(CALIBRATION_PHOTOS / len(dataset.class_names))
        calibration = [
            photo
            for label in range(len(dataset.class_names))
            for photo in [photo for photo in training if photo.label == label][:each]
        ]
        checked = [*dataset.split("validation"), *training][:CHECK_PHOTOS]
        return cls(tensors(checked, rule), tensors(calibration, rule))

    @classmethod
    def drawn(cls, model: keras.Model) -> "Pictures":
        """Without any photographs, for this model's image size.

        Drawn pictures show nothing, so that many answers are near ties, which the last digit decides. Of
        twice as many, the half is kept for which the model's two best classes are farthest apart.
        """
        images = drawn_pictures(2 * DRAWN_PICTURES, model.input_shape[1])
        best = np.sort(model.predict(images, batch_size=16, verbose=0), axis=1)
        undecided_first = np.argsort(best[:, -1] - best[:, -2], kind="stable")
        return cls(images[np.sort(undecided_first[DRAWN_PICTURES:])])


def tensors(photos: Sequence[LabelledPhoto], rule: ResizeRule) -> np.ndarray:
    """The network's input for photographs: float32 (photos, size, size, 3), RGB 0..255."""
    return np.stack([preprocess(photo.source, rule, photo.name) for photo in photos])


def export_saved_model(bundle: Bundle, folder: Path) -> None:
    """Writes a bundle's Keras weights as a SavedModel that takes tensors and encoded photographs.

    Labels and manifest go into its `assets.extra`. The folder is written atomically.
    """
    manifest = bundle.manifest
    model = load_keras(bundle.weights("keras"))
    with replacing(folder) as beside:
        save_saved_model(model, beside, rule=manifest.rule)
        (beside / EXTRA).mkdir()
        write_manifest(beside / EXTRA / MANIFEST, manifest)
        write_bytes(beside / EXTRA / LABELS, "\n".join(manifest.class_names).encode())


def check_tflite(expected: np.ndarray, name: str, content: bytes, images: np.ndarray) -> Parity:
    """Runs a converted file and compares it with Keras.

    Args:
        expected: Keras's probabilities for the images, (pictures, classes).
        name: a LiteRT key of `weight_formats.FORMATS`.
        content: of the .tflite file.
        images: float32 (pictures, size, size, 3), RGB 0..255.

    Raises:
        UserError: the parity is under the format's floor.
    """
    with tempfile.TemporaryDirectory() as temporary:
        candidate = Path(temporary) / FORMATS[name].file
        candidate.write_bytes(content)
        runtime = LiteRTRuntime.load(candidate, default_threads())
        answers = np.stack([runtime.probabilities(image) for image in images])
    parity = Parity.between(expected, answers)
    parity.require(name)
    return parity


def write_tflite_formats(
    model: keras.Model, folder: Path, class_names: Sequence[str], pictures: Pictures
) -> tuple[dict[str, Parity], list[str]]:
    """Converts to every TFLite format, compares with Keras and writes what agrees.

    Args:
        model: a model of `create_mobilevit`.
        folder: of the bundle.
        class_names: in the order of the model's output.
        pictures: to compare on and to find scales with.

    Returns:
        Written format -> how far it agrees, and one sentence for every format that was refused.
    """
    parities, refused = {}, []
    expected = model.predict(pictures.checked, batch_size=16, verbose=0)
    for name, content in convert(model, pictures.calibration).items():
        content = describe(content, class_names, model.input_shape[1])
        try:
            parities[name] = check_tflite(expected, name, content, pictures.checked)
        except UserError as error:
            refused.append(str(error))
        else:
            write_bytes(folder / FORMATS[name].file, content)
    return parities, refused


def golden_inputs(
    model: keras.Model, folder: Path, class_names: Sequence[str], formats: Sequence[str]
) -> Golden | None:
    """Drawn pictures with what the converted files say about them, each by its own arithmetic.

    Args:
        model: of the bundle; chooses the pictures.
        folder: holds the converted files.
        class_names: in the order of the model's output.
        formats: LiteRT keys of `weight_formats.FORMATS` whose files are there.

    Returns:
        None where there are no files.
    """
    if not formats:
        return None
    size = model.input_shape[1]
    candidates = np.stack([drawn(seed, size) for seed in range(CANDIDATES)])
    seeds = telling(model.predict(candidates, batch_size=16, verbose=0))
    answers = {}
    for name in formats:
        runtime = LiteRTRuntime.load(folder / FORMATS[name].file, default_threads())
        answers[name] = np.stack([runtime.probabilities(candidates[seed]) for seed in seeds])
    return Golden.of(seeds, class_names, answers)


def export_again(
    bundle: Bundle, folder: Path, dataset: PhotoDataset | None = None
) -> tuple[Bundle, list[str]]:
    """Converts a bundle's Keras weights anew into a bundle of its own.

    Args:
        bundle: has model.keras.
        folder: of the new bundle; must not exist.
        dataset: its photographs are what exports are compared on and int8 finds its scales with; without
            it, drawn pictures are compared, and there is no int8.

    Returns:
        The new bundle, and one sentence for every format that was refused.
    """
    model = load_keras(bundle.weights("keras"))
    pictures = Pictures.of(dataset, bundle.manifest.rule) if dataset else Pictures.drawn(model)
    manifest = bundle.manifest.model_copy(update={"metrics": {}})  # nothing was measured on the new files
    return write_exported(folder, model, manifest, pictures, bundle.history, bundle.provenance)


def export_keras_alone(bundle: Bundle, folder: Path) -> Bundle:
    """Copies a bundle with its Keras weights alone: the form in which trainings start from it.

    Args:
        bundle: has model.keras, which is copied byte for byte.
        folder: of the new bundle; must not exist.
    """
    weights = bundle.weights("keras")
    metrics = {
        split: {**figures, "formats": {"keras": _without_confusion(figures["formats"]["keras"])}}
        for split, figures in bundle.manifest.metrics.items()
        if "keras" in figures["formats"]
    }

    def fill(beside: Path) -> Manifest:
        shutil.copyfile(weights, beside / weights.name)
        if bundle.history.is_file():
            shutil.copyfile(bundle.history, beside / HISTORY)
        if bundle.provenance:
            bundle.provenance.write(beside)
        return bundle.manifest.model_copy(update={"metrics": metrics, "parity": {}, "golden": None})

    return write_bundle(folder, fill)


def _without_confusion(figures: dict[str, Any]) -> dict[str, Any]:
    """With hundreds of classes the matrix is nearly all of a manifest, and no training needs it."""
    return {key: value for key, value in figures.items() if key != "confusion"}


def write_exported(
    folder: Path,
    model: keras.Model,
    manifest: Manifest,
    pictures: Pictures,
    history: Path | None,
    provenance: Provenance | None,
) -> tuple[Bundle, list[str]]:
    """Saves a Keras model, converts it to every format, and writes all of it as one bundle.

    Args:
        folder: of the new bundle; must not exist.
        model: a model of `create_mobilevit`.
        manifest: of the bundle; files, versions, parity and golden inputs are filled in.
        pictures: to compare on and to find scales with.
        history: CSV of the training, copied if it is there.
        provenance: the photographs that went into the weights, where known.

    Returns:
        The bundle, and one sentence for every format that was refused.
    """
    refused: list[str] = []

    def fill(beside: Path) -> Manifest:
        model.save(beside / FORMATS["keras"].file)
        if history and history.is_file():
            shutil.copyfile(history, beside / HISTORY)
        if provenance:
            provenance.write(beside)
        parities, sentences = write_tflite_formats(model, beside, manifest.class_names, pictures)
        refused.extend(sentences)
        made = {
            "versions": {package: version(package) for package in VERSIONS_OF},
            "parity": {name: asdict(parity) for name, parity in parities.items()},
        }
        golden = golden_inputs(model, beside, manifest.class_names, tuple(parities))
        complete = manifest.model_copy(update={**made, "golden": golden})
        for name in parities:
            attach(beside / FORMATS[name].file, complete, name)
        return complete

    return write_bundle(folder, fill), refused


def drawn_pictures(count: int, size: int) -> np.ndarray:
    """Smooth random colour fields: float32 (count, size, size, 3), RGB 0..255, the same every time."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 6, 6, 3))
    scaled = keras.ops.image.resize(coarse.astype(np.float32), (size, size), "bicubic")
    return keras.ops.convert_to_numpy(scaled).clip(0, 255)
