"""`verify`: whether .tflite files give on this machine what they gave where they were made."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.bundle.golden import Golden, drawn
from mobilevit_core.bundle.tflite_metadata import read_embedded
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_file

MAKE_THEM = (
    "files converted today have them: python -m mobilevit_core export BUNDLE --to FOLDER --data PHOTOS"
)


@dataclass(frozen=True)
class Verified:
    """One file, compared with its golden answers.

    Attributes:
        file: where it is.
        format: its weight format.
        images: how many were compared.
        difference: the largest one of any probability.
        tolerance: how large it may be.
    """

    file: Path
    format: str
    images: int
    difference: float
    tolerance: float

    @property
    def agrees(self) -> bool:
        """Whether the difference is within the tolerance."""
        return self.difference <= self.tolerance  # NaN is not

    def to_json(self) -> dict[str, Any]:
        """For programs; no difference where it is not a number."""
        difference = self.difference if np.isfinite(self.difference) else None
        return asdict(self) | {"file": str(self.file), "difference": difference, "agrees": self.agrees}


@dataclass(frozen=True)
class _Candidate:
    """A file with all that is needed to check it."""

    file: Path
    format: str
    class_names: tuple[str, ...]
    size: int
    golden: Golden


def verify(place: str | os.PathLike[str]) -> list[Verified]:
    """Runs .tflite files with LiteRT on their golden inputs; messages call these test images.

    Args:
        place: a .tflite file of this program, or a bundle's folder.

    Returns:
        One for each file, in the formats' order.

    Raises:
        UserError: there is no such file or bundle, it can't be run, or it carries no golden inputs.
    """
    path = Path(place)
    if not path.exists():
        raise UserError(f"There is no file or bundle {path}.")
    candidates = list(_of_bundle(path) if path.is_dir() else _of_file(path))
    return [_verify_file(candidate) for candidate in candidates]


def require_agreement(verified: list[Verified]) -> None:
    """Raises a UserError that names the files whose answers are off."""
    off = [one for one in verified if not one.agrees]
    if off:
        listed = ", ".join(
            f"{one.file.name} by {one.difference:.2g} (tolerance {one.tolerance:g})" for one in off
        )
        raise UserError(f"On this machine the answers differ from those that the files carry: {listed}.")


def _of_bundle(folder: Path) -> Iterator[_Candidate]:
    bundle = open_bundle(folder)
    manifest = bundle.manifest
    present = [name for name in bundle.present if name in tflite_formats()]
    if not present:
        raise UserError(f"The bundle {folder} has no .tflite file to verify.")
    if manifest.golden is None:
        raise UserError(f"The bundle {folder} carries no test images; {MAKE_THEM}")
    for name in present:
        if name not in manifest.golden.scores:
            raise UserError(f"The bundle {folder} has no answers of {FORMATS[name].file}; {MAKE_THEM}")
        size = manifest.rule.image_size
        yield _Candidate(bundle.weights(name), name, manifest.class_names, size, manifest.golden)


def _of_file(path: Path) -> Iterator[_Candidate]:
    embedded = read_embedded(path)
    if embedded.golden is None:
        raise UserError(f"{path} carries no test images; {MAKE_THEM}")
    yield _Candidate(path, embedded.format, embedded.class_names, embedded.rule.image_size, embedded.golden)


def _verify_file(of: _Candidate) -> Verified:
    runtime = load_file(of.file, of.format, of.size, len(of.class_names))
    answers = np.stack([runtime.probabilities(drawn(seed, of.size)) for seed in of.golden.seeds])
    difference = of.golden.difference(of.format, of.class_names, answers)
    return Verified(of.file, of.format, len(of.golden.seeds), difference, of.golden.tolerance)
