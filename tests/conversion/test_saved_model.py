"""TensorFlow Serving's signature for encoded photos gives the answers of `predict`."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.conversion.export import export_saved_model
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.tf_preprocessing import photo_to_image
from tests.drawing import draw_photo

RULES = [ResizeRule(64), ResizeRule(64, "center_crop", 0.875)]


def encoded(
    format: str, mode: str = "RGB", orientation: int = 1, size: tuple[int, int] = (211, 160)
) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    photo = draw_photo((180, 90, 40), seed=3, size=size).convert(mode)
    if mode == "RGBA":
        photo.putalpha(Image.linear_gradient("L").resize(size))
    photo.save(buffer, format, exif=exif)
    return buffer.getvalue()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.mode)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_gives_the_tensor_of_the_one_path(orientation: int, rule: ResizeRule) -> None:
    photo = encoded("JPEG", orientation=orientation)
    difference = np.abs(photo_to_image(tf.constant(photo), rule).numpy() - preprocess(photo, rule))
    assert difference.mean() < 0.5 and difference.max() <= 4  # of 255; decoders round on their own


@pytest.mark.parametrize(
    "kind", [("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("JPEG", "L"), ("WEBP", "RGB")]
)
def test_other_formats(kind: tuple[str, str]) -> None:
    format, mode = kind
    photo = encoded(format, mode)
    expected = preprocess(Image.open(io.BytesIO(photo)), RULES[1])
    actual = photo_to_image(tf.constant(photo), RULES[1]).numpy()
    assert np.abs(actual - expected).mean() < 0.5 and np.abs(actual - expected).max() <= 4


def test_motorola_byte_order_and_no_exif() -> None:
    plain = encoded("JPEG")
    big_endian = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    segment = b"Exif\0\0" + big_endian
    start = plain.index(b"Exif\0\0") - 4
    length = int.from_bytes(plain[start + 2 : start + 4]) + 2
    without = plain[:start] + plain[start + length :]
    turned = without[:2] + b"\xff\xe1" + (len(segment) + 2).to_bytes(2) + segment + without[2:]
    for photo in (without, turned):
        actual = photo_to_image(tf.constant(photo), RULES[0]).numpy()
        assert np.abs(actual - preprocess(photo, RULES[0])).mean() < 0.5


def test_what_is_no_photo_is_refused() -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="Unknown image file format. One of JPEG"):
        photo_to_image(tf.constant(b"no photo at all"), RULES[0])


@pytest.fixture(scope="module")
def served(shipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "saved_model"
    export_saved_model(shipped, folder)
    return folder


def test_labels_and_manifest_come_along(served: Path, shipped: Bundle) -> None:
    names = (served / "assets.extra" / "labels.txt").read_text().split("\n")
    assert tuple(names) == shipped.manifest.class_names
    manifest = json.loads((served / "assets.extra" / "bundle.json").read_text())
    assert manifest["input"] == shipped.manifest.rule.to_json()


@pytest.mark.photographs
def test_answers_are_those_of_predict(served: Path, shipped: Bundle, tf_flowers: PhotoDataset) -> None:
    signature = tf.saved_model.load(str(served)).signatures["photographs"]
    photos = [photo.source for photo in tf_flowers.split("validation")[:60]]
    answers = signature(image_bytes=tf.constant(photos))["probabilities"].numpy()
    classifier = load_classifier(shipped.folder, "keras")
    expected = np.stack([classifier.probabilities(photo) for photo in photos])
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 59 / 60
    assert np.abs(answers - expected).mean() < 0.005
