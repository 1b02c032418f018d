"""Random weights of MobileViT as timm and Hugging Face transformers store them; NumPy alone draws them.

The same seed gives the same files on every machine, so the logits that the two libraries computed once
(`released_logits.json`) can be compared without them.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import keras
import numpy as np
from safetensors.numpy import save_file

from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.released_weights import COUNTER, NAMINGS, Naming, ReleasedWeights, Tensor

GOLDEN = Path(__file__).with_name("released_logits.json")
CLASSES = 7
SEED = 20
IMAGE_SEED = 21
SIZES = (256, 128)
TOLERANCE = 1e-4  # of the largest logit
NAMING = {"timm": NAMINGS[0], "transformers": NAMINGS[1]}


def golden() -> dict:
    return json.loads(GOLDEN.read_text(encoding="ascii"))


def images(size: int) -> np.ndarray:
    """Two images of blocks of colour with noise: float32 (2, size, size, 3), RGB 0..255."""
    random = np.random.default_rng([IMAGE_SEED, size])
    blocks = random.uniform(0, 255, (2, 8, 8, 3)).repeat(size // 8, axis=1).repeat(size // 8, axis=2)
    return (blocks + random.normal(0, 20, blocks.shape)).clip(0, 255).round().astype(np.float32)


@cache
def _network(variant: str) -> keras.Model:
    """Asked for its layers' names and shapes alone."""
    return create_mobilevit(variant, CLASSES, 64)


def plan(naming: Naming, model: keras.Model) -> list[Tensor]:
    return ReleasedWeights(Path(), "", naming, "", model.output_shape[-1]).plan(model)


def tensors(naming: Naming, variant: str) -> dict[str, np.ndarray]:
    """A whole file's tensors; those of one name in timm are split into three for transformers."""
    drawn = {}
    for tensor in plan(naming, _network(variant)):
        for name in tensor.names:
            drawn[name] = _draw(name, tensor.shape)
        if tensor.layer.endswith("_bn"):
            drawn[tensor.names[0].rsplit(".", 1)[0] + COUNTER] = np.array(3, np.int64)
    return drawn


def _draw(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Values under which a wrong epsilon, order or statistic shows; the name and the seed decide them."""
    random = np.random.default_rng([SEED, zlib.crc32(name.encode())])
    if len(shape) > 1:
        return random.normal(0, (1 / np.prod(shape[1:])) ** 0.5, shape).astype(np.float32)
    low, high = {"running_var": (0.2, 0.8), "weight": (0.7, 1.4)}.get(name.rsplit(".", 1)[1], (-0.3, 0.3))
    return random.uniform(low, high, shape).astype(np.float32)


def names_digest(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """Of all tensors' names and shapes."""
    lines = sorted(f"{name} {list(shape)}" for name, shape in shapes.items())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def write(path: Path, drawn: Mapping[str, np.ndarray]) -> Path:
    save_file({name: np.ascontiguousarray(value) for name, value in drawn.items()}, path)
    return path


def largest_difference(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Over the largest of their logits."""
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())
