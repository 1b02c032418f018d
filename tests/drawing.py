"""Drawn photographs, and what tests read out of a .tflite file."""

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

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
    """A folder with one subfolder a class."""
    for number, (name, color) in enumerate(COLORS.items()):
        (folder / name).mkdir(parents=True)
        for index in range(photos_per_class):
            draw_photo(color, 100 * number + index).save(folder / name / f"{index:02}.jpg", quality=90)
    return folder


def read_manifest(path: Path) -> dict[str, Any]:
    """The manifest behind a .tflite file, read as any zip tool reads it."""
    with zipfile.ZipFile(path) as archive:
        return json.loads(archive.read("manifest.json"))
