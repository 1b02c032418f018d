"""How many drawn pictures, unlike anything that a bundle was trained on, it rejects.

python -m tests.benchmarks.drawn_images [BUNDLE]
"""

import sys

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mobilevit_core import load_classifier

DRAWN = 30  # of every kind
SIDE = 256
WORDS = "invoice total name date street city country phone sum signed page order number".split()


def drawn_images() -> dict[str, list[np.ndarray]]:
    """Kind -> pictures, uint8 (height, width, 3); the same every time."""
    return {
        "noise": [_noise(number) for number in range(DRAWN)],
        "smooth colours": [_smooth(number) for number in range(DRAWN)],
        "drawings": [_drawing(number) for number in range(DRAWN)],
        "pages of text": [_page(number) for number in range(DRAWN)],
    }


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


def main(bundle: str = "demo/weights") -> None:
    """Prints the share of each kind that the float32 file rejects."""
    classifier = load_classifier(bundle)
    shares = {
        kind: np.mean([classifier.predict(picture).unknown for picture in pictures])
        for kind, pictures in drawn_images().items()
    }
    for kind, share in {**shares, "all": np.mean(list(shares.values()))}.items():
        print(f"{kind:15} {share:.1%} of {DRAWN if kind != 'all' else DRAWN * len(shares)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
