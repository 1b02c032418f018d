"""Turns a trained model into a bundle's weight formats."""

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilevit_core.bundle.bundle import Bundle, write_bundle
from mobilevit_core.bundle.files import LABELS, MANIFEST
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
from mobilevit_core.data.dataset import JOINING, LabelledPhoto, PhotoDataset
from mobilevit_core.evaluation.parity import Parity
from mobilevit_core.files import replacing, write_bytes
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.released_weights import ReleasedWeights

DRAWN_IMAGES = 100  # the same, where there are no photos


@dataclass(frozen=True)
class Images:
    """What converted files are made and accepted with; all float32 (images, size, size, 3), RGB 0..255.

    Attributes:
        checked: images that Keras and the converted files must answer alike.
        calibration: training photos for the scales of full integer arithmetic, the same number of
            every class; None for none, and no such format.
    """

    checked: np.ndarray
    calibration: np.ndarray | None = None

    @classmethod
    def of(cls, dataset: PhotoDataset, rule: ResizeRule) -> "Images":
        """From a data set: validation photos are compared on, then training ones; never test ones."""
        validation, training = (dataset.splits.get(split, ()) for split in ("validation", "train"))
        labels = sorted({photo.label for photo in training})
        calibration = [
            photo
            for label in labels
            for photo in [photo for photo in training if photo.label == label][
                : math.ceil(CALIBRATION_PHOTOS / len(labels))
            ]
        ]
        checked = [*validation, *training][:CHECK_PHOTOS]
        return cls(tensors(checked, rule), tensors(calibration, rule) if calibration else None)

    @classmethod
    def drawn(cls, model: keras.Model) -> "Images":
        """Without any photos, for this model's image size.

        Drawn images show nothing, so that many answers are near ties, which the last digit decides. Of
        twice as many, the half is kept for which the model's two best classes are farthest apart.
        """
        images = drawn_images(2 * DRAWN_IMAGES, model.input_shape[1])
        best = np.sort(model.predict(images, batch_size=16, verbose=0), axis=1)
        undecided_first = np.argsort(best[:, -1] - best[:, -2], kind="stable")
        return cls(images[np.sort(undecided_first[DRAWN_IMAGES:])])


def tensors(photos: Sequence[LabelledPhoto], rule: ResizeRule) -> np.ndarray:
    """The network's input for photos: float32 (photos, size, size, 3), RGB 0..255."""
    return np.stack([preprocess(photo.source, rule, photo.name) for photo in photos])


def export_saved_model(bundle: Bundle, folder: Path) -> None:
    """Writes a bundle's Keras weights as a SavedModel that takes tensors and encoded photos.

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
        dataset: its photos are what exports are compared on and int8 finds its scales with; without
            it, drawn images are compared, and there is no int8.

    Returns:
        The new bundle, and one sentence for every format that was refused.
    """
    model = load_keras(bundle.weights("keras"))
    images = Images.of(dataset, bundle.manifest.rule) if dataset else Images.drawn(model)
    # Nothing was measured on the new files.
    manifest = bundle.manifest.model_copy(update={"metrics": {}, "versions": versions_here()})
    return write_converted(folder, converted(model, images), manifest, bundle.history, bundle.provenance)


def export_trunk(bundle: Bundle, folder: Path, images: Images | None = None) -> Bundle:
    """Copies a bundle as what heads and trainings start from: Keras weights, and files without classifier.

    The files are cut from the bundle's own. Where it has none, or with images, its Keras weights are
    converted.

    Args:
        bundle: has model.keras, which is copied byte for byte.
        folder: of the new bundle; must not exist.
        images: to compare on and to find scales with; int8 needs them.

    Raises:
        UserError: the converted float32 file does not answer like Keras.
    """
    saved = bundle.weights("keras")
    present = [name for name in tflite_formats() if name in bundle.present]
    if present and not images:
        files = {name: bundle.weights(name).read_bytes() for name in present}
        parity, made_with = bundle.manifest.parity, bundle.manifest.versions
    else:
        model, made_with = load_keras(saved), versions_here()
        files, parity = _converted(model, images or Images.drawn(model))
    metrics = {
        split: {**figures, "formats": {"keras": _without_confusion(figures["formats"]["keras"])}}
        for split, figures in bundle.manifest.metrics.items()
        if "keras" in figures["formats"]
    }
    update = {"metrics": metrics, "parity": parity, "versions": made_with, "golden": None}
    manifest = bundle.manifest.model_copy(update=update)
    return write_bundle(
        folder,
        lambda beside: _write_trunk(beside, saved.read_bytes(), files, manifest),
        bundle.history,
        bundle.provenance,
    )


def export_released(released: ReleasedWeights, folder: Path, images: Images | None = None) -> Bundle:
    """As `export_trunk`, for weights that others released and that are no bundle."""
    model = create_mobilevit(released.variant, released.classes, released.rule.image_size)
    released.copy_to(model)
    files, parity = _converted(model, images or Images.drawn(model))
    origin = released.describe()
    manifest = Manifest(
        class_names=tuple(f"class {number}" for number in range(released.classes)),  # they have no names
        rule=released.rule,
        architecture="paper",
        variant=released.variant,
        recipe={"split_scheme": JOINING, "seed": 0},
        data={"name": origin["data"]["name"], "digest": origin["weights_sha256"]},
        versions=versions_here(),
        parity=parity,
    )
    return write_bundle(folder, lambda beside: _write_trunk(beside, _saved(model), files, manifest))


def _converted(model: keras.Model, images: Images) -> tuple[Mapping[str, bytes], dict[str, Any]]:
    """Every format's file and how far it agrees; the float32 one must.

    The others are accepted with each head that is grafted onto them, by its own answers.
    """
    made = converted(model, images)
    parities = {
        name: Parity.between(made.expected, run(content, made.images)) for name, content in made.files.items()
    }
    parities["float32"].require("float32")
    return made.files, {name: asdict(parity) for name, parity in parities.items()}


def _write_trunk(folder: Path, saved: bytes, files: Mapping[str, bytes], manifest: Manifest) -> Manifest:
    (folder / FORMATS["keras"].file).write_bytes(saved)
    for name, content in files.items():
        (folder / FORMATS[name].trunk).write_bytes(cut(content))
    return manifest


def _without_confusion(figures: dict[str, Any]) -> dict[str, Any]:
    """With hundreds of classes the matrix is nearly all of a manifest, and no training needs it."""
    return {key: value for key, value in figures.items() if key != "confusion"}


def converted(model: keras.Model, images: Images) -> Converted:
    """A Keras model in every format, with what it answers to the images."""
    expected = model.predict(images.checked, batch_size=16, verbose=0)
    return Converted(_saved(model), convert(model, images.calibration), images.checked, expected)


def versions_here() -> dict[str, str]:
    """Of the libraries that convert a Keras model, for the manifest."""
    return versions("tensorflow", "keras", "ai-edge-litert", "ai-edge-quantizer", "pillow", "numpy")


def _saved(model: keras.Model) -> bytes:
    """The content of model.keras."""
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / FORMATS["keras"].file
        model.save(path)
        return path.read_bytes()


def drawn_images(count: int, size: int) -> np.ndarray:
    """Smooth random colour fields: float32 (count, size, size, 3), RGB 0..255, the same every time."""
    coarse = np.random.default_rng(0).uniform(0, 255, (count, 6, 6, 3))
    scaled = keras.ops.image.resize(coarse.astype(np.float32), (size, size), "bicubic")
    return keras.ops.convert_to_numpy(scaled).clip(0, 255)
