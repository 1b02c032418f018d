"""`verify`: whether .tflite files give on this machine what they gave where they were made."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.bundle.golden import Golden, drawn
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.tflite_metadata import Embedded, read_embedded
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
    return _of_bundle(path) if path.is_dir() else [_of_file(path)]


def require_agreement(verified: list[Verified]) -> None:
    """Raises a UserError that names the files whose answers are off."""
    off = [one for one in verified if not one.agrees]
    if off:
        listed = ", ".join(
            f"{one.file.name} by {one.difference:.2g} (tolerance {one.tolerance:g})" for one in off
        )
        raise UserError(f"On this machine the answers differ from those that the files carry: {listed}.")


def _of_bundle(folder: Path) -> list[Verified]:
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
    files = {name: bundle.weights(name) for name in present}
    return [_verified(file, name, manifest, manifest.golden) for name, file in files.items()]


def _of_file(path: Path) -> Verified:
    embedded = read_embedded(path)
    if embedded.golden is None:
        raise UserError(f"{path} carries no test images; {MAKE_THEM}")
    return _verified(path, embedded.format, embedded, embedded.golden)


def _verified(file: Path, format: str, of: Manifest | Embedded, golden: Golden) -> Verified:
    names, size = of.class_names, of.rule.image_size
    runtime = load_file(file, format, size, len(names))
    answers = np.stack([runtime.probabilities(drawn(seed, size)) for seed in golden.seeds])
    difference = golden.difference(format, names, answers)
    return Verified(file, format, len(golden.seeds), difference, golden.tolerance)
