"""Pictures that show none of the classes: photographs that installed packages ship, and drawn ones."""

from collections.abc import Iterator
from importlib.resources import files

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mobilevit_core.images.reading import read_photo

# Photographs without a flower in them; a package that lacks one is passed over.
PACKAGED = (
    ("sklearn.datasets.images", "china.jpg"),  # a temple
    ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),  # a portrait
    ("gradio", "media_assets/images/cheetah1.jpg"),
    ("gradio", "media_assets/images/lion.jpg"),
    ("gradio", "media_assets/images/tower.jpg"),
    ("gradio", "media_assets/images/groot.jpeg"),  # a figure
)
CUTS = 10  # of every packaged photograph
DRAWN = 30  # of every kind
SIDE = 256
WORDS = "invoice total name date street city country phone sum signed page order number".split()


def unknown_pictures() -> dict[str, list[np.ndarray]]:
    """Kind -> pictures, uint8 (height, width, 3); the same every time."""
    return {
        "photographs without flowers, cut at random": list(_cut_photographs()),
        "noise": [_noise(number) for number in range(DRAWN)],
        "smooth colours": [_smooth(number) for number in range(DRAWN)],
        "drawings": [_drawing(number) for number in range(DRAWN)],
        "pages of text": [_page(number) for number in range(DRAWN)],
    }


def _cut_photographs() -> Iterator[np.ndarray]:
    random = np.random.default_rng(0)
    for package, path in PACKAGED:
        try:
            pixels = read_photo((files(package) / path).read_bytes(), path)
        except (ModuleNotFoundError, FileNotFoundError):
            continue
        for _ in range(CUTS):
            height, width = (round(side * random.uniform(0.4, 1)) for side in pixels.shape[:2])
            top = random.integers(0, pixels.shape[0] - height + 1)
            left = random.integers(0, pixels.shape[1] - width + 1)
            yield pixels[top : top + height, left : left + width]


def _noise(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)


def _smooth(number: int) -> np.ndarray:
    coarse = np.random.default_rng(number).integers(0, 256, (4, 4, 3)).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((SIDE, SIDE), Image.Resampling.BICUBIC))


def _drawing(number: int) -> np.ndarray:
    """A dozen coloured lines, ellipses and boxes on white."""
    random = np.random.default_rng(number)
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        (x0, x1), (y0, y1) = (sorted(random.integers(0, SIDE, 2).tolist()) for _ in range(2))
        color = tuple(random.integers(0, 256, 3).tolist())
        shape = random.choice(["line", "ellipse", "rectangle"])
        getattr(draw, shape)((x0, y0, x1, y1), fill=color, width=4)
    return np.asarray(image)


def _page(number: int) -> np.ndarray:
    """Lines of words, dark on light or light on dark."""
    random = np.random.default_rng(number)
    ground, ink = ("white", "black") if number % 2 else ("#202428", "#e8e8e8")
    image = Image.new("RGB", (SIDE, SIDE), ground)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(int(random.integers(10, 22)))
    for y in range(8, SIDE, 24):
        draw.text((8, y), " ".join(random.choice(WORDS, 6)), ink, font)
    return np.asarray(image)
