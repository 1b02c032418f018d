"""A photo becomes the same tensor in evaluation, in predict and in the demo."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from demo.comparison import Comparison
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.images.preprocessing import preprocess
from mobilevit_core.inference.classifier import Classifier
from mobilevit_core.inference.runtimes import LiteRTRuntime, load_runtime
from mobilevit_core.training.input_pipeline import validation_batches
from tests.drawing import draw_photo


def photo_bytes(size: tuple[int, int], orientation: int, mode: str, format: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    draw_photo((180, 90, 40), seed=sum(size), size=size).convert(mode).save(buffer, format, exif=exif)
    return buffer.getvalue()


PHOTOS = {
    "odd": photo_bytes((97, 61), 1, "RGB", "JPEG"),
    "rotated": photo_bytes((131, 77), 6, "RGB", "JPEG"),
    "mirrored": photo_bytes((50, 333), 7, "L", "PNG"),
    "print colours": photo_bytes((64, 65), 8, "CMYK", "JPEG"),
    "transparent": photo_bytes((301, 299), 3, "RGBA", "WEBP"),
}


@pytest.fixture(scope="module")
def comparison(small_bundle: Bundle) -> Comparison:
    return Comparison(small_bundle)


@pytest.mark.parametrize("kind", PHOTOS)
def test_the_tensor_is_identical_everywhere(
    kind: str, small_bundle: Bundle, comparison: Comparison, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = PHOTOS[kind]
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    seen: list[np.ndarray] = []
    answer = LiteRTRuntime.probabilities

    def record(runtime: Any, image: np.ndarray) -> np.ndarray:
        seen.append(image)
        return answer(runtime, image)

    classifier = Classifier(small_bundle, "float32", load_runtime(small_bundle, "float32"))
    comparison.run(path, 1)  # its runtimes are loaded, and warmed up, from here on
    monkeypatch.setattr(LiteRTRuntime, "probabilities", record)
    photo = LabelledPhoto("photo", 0, content)
    splits = {"test": (photo,)}
    Measured.of([classifier], PhotoDataset("one", "default", ("blue", "green", "red"), splits), "test")
    classifier.predict(path)
    comparison.run(path, 1)
    rule = small_bundle.manifest.rule
    seen.append(next(iter(validation_batches([photo], 3, rule, 1)))[0][0].numpy())
    assert len(seen) > 4  # evaluate, predict, several runs of the demo, validation
    expected = preprocess(content, rule)
    for tensor in seen:
        assert tensor.dtype == np.float32 and np.array_equal(tensor, expected)
