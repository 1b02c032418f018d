"""What the .tflite files say about themselves, read back with other people's tools."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.tflite_metadata import attach
from mobilevit_core.bundle.weight_formats import tflite_formats
from tests.drawing import read_manifest


def metadata_of(path: Path) -> bytes:
    """The flatbuffer that readers of TFLite Metadata look for."""
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    entry = next(entry for entry in model.metadata if entry.name == b"TFLITE_METADATA")
    return bytes(np.array(model.buffers[entry.buffer].data, np.uint8))


@pytest.mark.parametrize("name", tflite_formats())
def test_every_file_carries_labels_and_contract(name: str, shipped: Bundle) -> None:
    path = shipped.weights(name)
    if shutil.which("unzip"):
        done = subprocess.run(
            ["unzip", "-p", path, "labels.txt"], capture_output=True, text=True, check=False
        )
        assert tuple(done.stdout.split("\n")) == shipped.manifest.class_names
    manifest = read_manifest(path)
    assert manifest == json.loads((shipped.folder / "bundle.json").read_text())
    assert manifest["input"]["image_size"] == shipped.manifest.rule.image_size
    metadata = metadata_of(path)
    assert metadata[4:8] == b"M001"
    for word in (b"image\0", b"probabilities\0", b"labels.txt\0"):
        assert word in metadata


def test_attaching_again_replaces_and_leaves_the_network(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    path = open_bundle(folder).weights("float32")
    before, image = path.stat().st_size, np.full((50, 40, 3), 77, np.uint8)
    expected = load_classifier(folder, "float32").probabilities(image)
    manifest = read_manifest(path)
    attach(path, {**manifest, "metrics": {"note": "measured"}})
    attach(path, manifest)
    assert path.stat().st_size == before and read_manifest(path) == manifest
    assert np.array_equal(load_classifier(folder, "float32").probabilities(image), expected)
