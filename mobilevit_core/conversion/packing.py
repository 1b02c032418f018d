"""A bundle of converted files, of which none answers differently from what was trained."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from mobilevit_core.bundle.bundle import Bundle, write_bundle
from mobilevit_core.bundle.golden import CANDIDATES, Golden, drawn, telling
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.tflite_metadata import attached, describe
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.parity import Parity
from mobilevit_core.inference.runtimes import LiteRTRuntime, default_threads

CHECK_PHOTOS = 400  # how many photos an export is compared on, at the most
CALIBRATION_PHOTOS = 100  # how many training photos int8 finds its scales with, about


@dataclass(frozen=True)
class Converted:
    """A network in every weight format, and what it answers.

    Attributes:
        keras: content of model.keras, None where there is none.
        files: weight format -> content of its .tflite file, without metadata.
        images: to compare on: (size, size, 3) each, RGB 0..255.
        expected: the right probabilities, (images, classes).
    """

    keras: bytes | None
    files: Mapping[str, bytes]
    images: Sequence[np.ndarray]
    expected: np.ndarray


def versions(*packages: str) -> dict[str, str]:
    """The installed versions of what made a bundle, for its manifest."""
    return {package: version(package) for package in packages}


def write_converted(
    folder: Path,
    converted: Converted,
    manifest: Manifest,
    history: Path | None = None,
    provenance: Provenance | None = None,
) -> tuple[Bundle, list[str]]:
    """Compares the files with what they must answer and writes those that agree as one bundle.

    Args:
        folder: of the new bundle; must not exist.
        converted: the files.
        manifest: of the bundle; files, parity and golden inputs are filled in.
        history: CSV of the training, copied if it is there.
        provenance: the photos that went into the weights, where known.

    Returns:
        The bundle, and one sentence for every format that was refused.
    """
    refused: list[str] = []

    def fill(beside: Path) -> Manifest:
        if converted.keras:
            (beside / FORMATS["keras"].file).write_bytes(converted.keras)
        names, size = manifest.class_names, manifest.rule.image_size
        files = {name: describe(content, names, size) for name, content in converted.files.items()}
        parities, sentences = accepted(files, converted.images, converted.expected)
        refused.extend(sentences)
        files = {name: files[name] for name in parities}
        complete = manifest.model_copy(
            update={
                "parity": {name: asdict(parity) for name, parity in parities.items()},
                "golden": golden_inputs(files, names, size),
            }
        )
        for name, content in files.items():
            (beside / FORMATS[name].file).write_bytes(attached(content, complete, name))
        return complete

    return write_bundle(folder, fill, history, provenance), refused


def accepted(
    files: Mapping[str, bytes], images: Sequence[np.ndarray], expected: np.ndarray
) -> tuple[dict[str, Parity], list[str]]:
    """Runs files and compares their answers with the expected ones.

    Args:
        files: weight format -> content of its .tflite file.
        images: see `Converted`.
        expected: see `Converted`.

    Returns:
        Format -> how far it agrees, and one sentence for every format that is under its floor.
    """
    answers = _in_parallel(lambda content: run(content, images), files.values())
    parities, refused = {}, []
    for name, rows in zip(files, answers, strict=True):
        parity = Parity.between(expected, rows)
        try:
            parity.require(name)
        except UserError as error:
            refused.append(str(error))
        else:
            parities[name] = parity
    return parities, refused


def run(content: bytes, images: Iterable[np.ndarray]) -> np.ndarray:
    """What a .tflite file gives for images, on one thread: (images, classes or features)."""
    runtime = LiteRTRuntime.load(content, threads=1)
    return np.stack([runtime.probabilities(np.asarray(image, np.float32)) for image in images])


def golden_inputs(files: Mapping[str, bytes], class_names: Sequence[str], size: int) -> Golden | None:
    """Drawn images with what the files say about them, each by its own arithmetic.

    Args:
        files: weight format -> content of its .tflite file; the first chooses the images.
        class_names: in the order of the files' output.
        size: side of the images.

    Returns:
        None where there are no files.
    """
    if not files:
        return None
    candidates = [drawn(seed, size) for seed in range(CANDIDATES)]
    seeds = telling(run(next(iter(files.values())), candidates))
    chosen = [candidates[seed] for seed in seeds]
    answers = _in_parallel(lambda content: run(content, chosen), files.values())
    return Golden.of(seeds, class_names, dict(zip(files, answers, strict=True)))


def _in_parallel(function: Callable[[bytes], np.ndarray], files: Iterable[bytes]) -> list[np.ndarray]:
    with ThreadPoolExecutor(default_threads()) as pool:
        return list(pool.map(function, files))
