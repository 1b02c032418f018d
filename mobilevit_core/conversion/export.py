"""Turns a trained model into a bundle's weight formats."""

import math
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilevit_core.bundle.bundle import Bundle, exists_already, write_bundle
from mobilevit_core.bundle.files import HISTORY, LABELS, MANIFEST
from mobilevit_core.bundle.manifest import Manifest, write_manifest
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.conversion.graft import cut
from mobilevit_core.conversion.packing import (
    CALIBRATION_PHOTOS,
    CHECK_PHOTOS,
    Converted,
    run,
    versions,
    write_converted,
)
from mobilevit_core.conversion.saved_model import EXTRA, save_saved_model
from mobilevit_core.conversion.tflite import convert
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.evaluation.parity import Parity
from mobilevit_core.files import replacing, write_bytes
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.inference.runtimes import load_keras

DRAWN_PICTURES = 100  # the same, where there are no photographs
MADE_WITH = ("tensorflow", "keras", "ai-edge-litert", "ai-edge-quantizer", "pillow", "numpy")


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


def export_trunk(bundle: Bundle, folder: Path, pictures: Pictures | None = None) -> Bundle:
    """Copies a bundle as what heads and trainings start from: Keras weights, and files without classifier.

    The files are cut from the bundle's own. Where it has none, or with pictures, its Keras weights are
    converted.

    Args:
        bundle: has model.keras, which is copied byte for byte.
        folder: of the new bundle; must not exist.
        pictures: to compare on and to find scales with; int8 needs them.

    Raises:
        UserError: the converted float32 file does not answer like Keras.
    """
    saved = bundle.weights("keras")
    present = [name for name in tflite_formats() if name in bundle.present]
    if present and not pictures:
        files = {name: bundle.weights(name).read_bytes() for name in present}
        parity, made_with = bundle.manifest.parity, bundle.manifest.versions
    else:
        model, made_with = load_keras(saved), versions(*MADE_WITH)
        files, parity = _converted(model, pictures or Pictures.drawn(model))
    metrics = {
        split: {**figures, "formats": {"keras": _without_confusion(figures["formats"]["keras"])}}
        for split, figures in bundle.manifest.metrics.items()
        if "keras" in figures["formats"]
    }
    update = {"metrics": metrics, "parity": parity, "versions": made_with, "golden": None}
    manifest = bundle.manifest.model_copy(update=update)

    def fill(beside: Path) -> Manifest:
        if bundle.history.is_file():
            shutil.copyfile(bundle.history, beside / HISTORY)
        if bundle.provenance:
            bundle.provenance.write(beside)
        return _write_trunk(beside, saved.read_bytes(), files, manifest)

    return write_bundle(folder, fill)


def convert_trunk(model: keras.Model, manifest: Manifest, folder: Path, pictures: Pictures) -> Bundle:
    """As `export_trunk`, for weights that are no bundle.

    Args:
        model: a model of `create_mobilevit`.
        manifest: of the bundle.
        folder: of the bundle; must not exist.
        pictures: to compare on and to find scales with.
    """
    files, parity = _converted(model, pictures)
    manifest = manifest.model_copy(update={"parity": parity, "versions": versions(*MADE_WITH)})
    return write_bundle(folder, lambda beside: _write_trunk(beside, _saved(model), files, manifest))


def _converted(model: keras.Model, pictures: Pictures) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Every format's file and how far it agrees; the float32 one must.

    The others are accepted with each head that is grafted onto them, by its own answers.
    """
    files = convert(model, pictures.calibration)
    expected = model.predict(pictures.checked, batch_size=16, verbose=0)
    parities = {
        name: Parity.between(expected, run(content, pictures.checked)) for name, content in files.items()
    }
    parities["float32"].require("float32")
    return files, {name: asdict(parity) for name, parity in parities.items()}


def _write_trunk(folder: Path, saved: bytes, files: Mapping[str, bytes], manifest: Manifest) -> Manifest:
    (folder / FORMATS["keras"].file).write_bytes(saved)
    for name, content in files.items():
        (folder / FORMATS[name].trunk).write_bytes(cut(content))
    return manifest


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
    if folder.exists():
        raise exists_already(folder)
    files = convert(model, pictures.calibration)
    expected = model.predict(pictures.checked, batch_size=16, verbose=0)
    converted = Converted(_saved(model), files, pictures.checked, expected)
    manifest = manifest.model_copy(update={"versions": versions(*MADE_WITH)})
    return write_converted(folder, converted, manifest, history, provenance)


def _saved(model: keras.Model) -> bytes:
    """The content of model.keras."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / FORMATS["keras"].file
        model.save(path)
        return path.read_bytes()


def drawn_pictures(count: int, size: int) -> np.ndarray:
    """Smooth random colour fields: float32 (count, size, size, 3), RGB 0..255, the same every time."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 6, 6, 3))
    scaled = keras.ops.image.resize(coarse.astype(np.float32), (size, size), "bicubic")
    return keras.ops.convert_to_numpy(scaled).clip(0, 255)
