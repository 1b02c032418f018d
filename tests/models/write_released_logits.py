"""Compares our networks with timm's and Hugging Face transformers', and writes the golden logits.

    python -m tests.models.write_released_logits

Seeded random weights go into files in each library's naming. Each library loads its file (strictly) and
computes logits; so do we. The largest differences are printed, over the largest logit; the libraries'
logits go into `released_logits.json`, which the ordinary tests compare with.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import timm
import torch
import transformers
from safetensors.numpy import load_file

from mobilevit_core.models.blocks import BATCH_NORM, LAYER_NORM_EPSILON
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.mobilevit import VARIANTS
from mobilevit_core.models.parts import logits_model
from tests.models.seeded_weights import (
    CLASSES,
    GOLDEN,
    NAMING,
    SIZES,
    TOLERANCE,
    images,
    largest_difference,
    names_digest,
    tensors,
    write,
)


def reference(library: str, variant: str) -> torch.nn.Module:
    """The library's own network with fresh weights."""
    if library == "timm":
        return timm.create_model(f"mobilevit_{variant}", num_classes=CLASSES)
    spec = VARIANTS[variant]
    config = transformers.MobileViTConfig(
        hidden_sizes=list(spec.dims),
        neck_hidden_sizes=[16, *spec.channels, 4 * spec.channels[-1]],
        expand_ratio=float(spec.expansion),
        num_labels=CLASSES,
    )
    return transformers.MobileViTForImageClassification(config)


def their_logits(library: str, model: torch.nn.Module, images: np.ndarray) -> np.ndarray:
    """What the library answers for RGB 0..255 (images, size, size, 3), given as it expects it."""
    if library == "transformers":
        images = images[..., ::-1]  # BGR
    batch = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)) / 255)
    with torch.no_grad():
        answer = model(batch)
    return (answer if library == "timm" else answer.logits).numpy()


def check_epsilons(model: torch.nn.Module) -> None:
    """Too small to show in every logit, so they are compared as numbers."""
    for kind, epsilon in (
        (torch.nn.BatchNorm2d, BATCH_NORM["epsilon"]),
        (torch.nn.LayerNorm, LAYER_NORM_EPSILON),
    ):
        assert {module.eps for module in model.modules() if isinstance(module, kind)} == {epsilon}


def compare(library: str, variant: str, file: Path) -> dict:
    """Prints the differences of one variant in one naming and returns its golden record."""
    model = reference(library, variant).eval()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in load_file(file).items()}, strict=True)
    check_epsilons(model)
    record = {"names": names_digest({k: tuple(v.shape) for k, v in model.state_dict().items()}), "logits": {}}
    for size in SIZES:
        theirs = their_logits(library, model, images(size))
        ours = logits_model(create_mobilevit(variant, CLASSES, size, weights=str(file)))(images(size)).numpy()
        difference = largest_difference(ours, theirs)
        spread = float(np.abs(theirs[0] - theirs[1]).max())
        print(
            f"{variant:3} {size} px {library:12} largest difference {difference:.1e} of the largest logit "
            f"{np.abs(theirs).max():.2f}; the two images differ by {spread:.2f}"
        )
        assert difference <= TOLERANCE
        record["logits"][str(size)] = [[round(float(value), 5) for value in row] for row in theirs]
    return record


def main() -> None:
    """Compares all variants in both namings."""
    versions = {library.__name__: library.__version__ for library in (torch, timm, transformers)}
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    records = {}
    with tempfile.TemporaryDirectory() as folder:
        for library, naming in NAMING.items():
            records[library] = {}
            for variant in VARIANTS:
                file = write(Path(folder) / f"{library}_{variant}.safetensors", tensors(naming, variant))
                records[library][variant] = compare(library, variant, file)
    GOLDEN.write_text(json.dumps({"versions": versions, **records}, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
