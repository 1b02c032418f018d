"""Drawn photos, and what tests read out of a .tflite file."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

UNTURNED = {  # orientation -> how an upright image has to be stored
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, -1),
}
COLORS = {"blue": (30, 60, 200), "green": (40, 180, 60), "red": (210, 40, 30)}


def draw_photo(color: tuple[int, int, int], seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """A coloured disc on a noisy background; (width, height)."""
    random = np.random.default_rng(seed)
    width, height = size
    pixels = random.integers(90, 160, (height, width, 3))
    y, x = np.mgrid[:height, :width]
    centre, radius = random.uniform(0.35, 0.65, 2), random.uniform(0.2, 0.35)
    inside = (y / height - centre[0]) ** 2 + (x / width - centre[1]) ** 2 < radius**2
    pixels[inside] = np.array(color) + random.integers(-25, 25, 3)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_folder(folder: Path, photos_per_class: int = 10) -> Path:
    """A folder with one subfolder per class."""
    for number, (name, color) in enumerate(COLORS.items()):
        (folder / name).mkdir(parents=True)
        for index in range(photos_per_class):
            draw_photo(color, 100 * number + index).save(folder / name / f"{index:02}.jpg", quality=90)
    return folder


def noise_photo(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """Coarse coloured noise, unlike any other; (width, height)."""
    coarse = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)


def noise_folder(folder: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """Subfolder -> number of photos of noise; "" for the folder itself."""
    for number, (name, count) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            noise_photo(100_000 * seed + 1000 * number + index).save(
                folder / name / f"{index:03}.jpg", quality=90
            )
    return folder


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest behind a .tflite file, read as any zip tool reads it."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("manifest.json"))
