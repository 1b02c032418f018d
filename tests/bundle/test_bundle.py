import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle, write_bundle
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_runtime


def copied(bundle: Bundle, to: Path) -> Path:
    return shutil.copytree(bundle.folder, to / "bundle")


def test_the_manifest_survives_writing_and_reading(small_bundle: Bundle) -> None:
    manifest = open_bundle(small_bundle.folder).manifest
    assert manifest == small_bundle.manifest
    assert manifest.class_names == ("blue", "green", "red")
    assert manifest.rule.image_size == 64
    assert manifest.recipe["stages"] == [[64, 2]]
    assert manifest.data["photos"] == {"train": 24, "validation": 3, "test": 3}


def test_nothing_half_written_is_left_behind(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "bundle"

    def fill(beside: Path) -> Manifest:
        (beside / "model.keras").write_bytes(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_bundle(folder, fill)
    assert list(tmp_path.iterdir()) == []
    copied(small_bundle, tmp_path)
    with pytest.raises(UserError, match="exists already"):
        write_bundle(folder, fill)
    assert open_bundle(folder).manifest == small_bundle.manifest
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    "change", [{"class_names": list("abcdef")}, {"class_names": ["a", "b"]}, {"size": 128}]
)
def test_weights_of_another_bundle_are_refused(change: dict, small_bundle: Bundle, tmp_path: Path) -> None:
    folder = copied(small_bundle, tmp_path)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["input"]["image_size"] = change.get("size", 64)
    manifest["class_names"] = change.get("class_names", manifest["class_names"])
    manifest.pop("golden", None)  # whose answers are for the other classes
    (folder / "bundle.json").write_text(json.dumps(manifest))
    for name in FORMATS:
        with pytest.raises(UserError, match="does not belong to its manifest"):
            load_classifier(folder, name)


def test_what_is_not_a_bundle_is_named(tmp_path: Path, small_bundle: Bundle) -> None:
    with pytest.raises(UserError, match="no bundle folder .*nowhere"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no bundle.json"):
        open_bundle(tmp_path)
    copied(small_bundle, tmp_path)
    with pytest.raises(UserError, match=f"Did you mean {tmp_path / 'bundle'}"):
        open_bundle(tmp_path)


def test_missing_and_damaged_weights_are_named(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = copied(small_bundle, tmp_path)
    (folder / "model_float32.tflite").unlink()
    with pytest.raises(UserError, match="no model_float32.tflite.*keras, float16, dynamic_int8"):
        load_classifier(folder)
    with pytest.raises(UserError, match="Unknown format 'onnx'"):
        load_classifier(folder, "onnx")
    for name in open_bundle(folder).present:
        file = FORMATS[name].file
        (folder / file).write_bytes(b"damaged")
        with pytest.raises(UserError, match=f"{file} is not the file that this bundle was written with"):
            load_classifier(folder, name)
        (folder / file).unlink()
    with pytest.raises(UserError, match="has no weights"):
        open_bundle(folder)


@pytest.mark.parametrize("place", range(40))
def test_flipped_bits_are_always_refused(place: int, shipped: Bundle, tmp_path: Path) -> None:
    name = list(FORMATS)[place % len(FORMATS)]
    path = tmp_path / FORMATS[name].file
    content = bytearray(shipped.weights(name).read_bytes())
    for position in np.random.default_rng(place).choice(len(content), 4, replace=False):
        content[position] ^= 1 << place % 8
    path.write_bytes(content)
    bundle = Bundle(tmp_path, shipped.manifest)
    message = f"^{path.name} is not the file that this bundle was written with: copy the whole bundle again"
    with pytest.raises(UserError, match=message):
        bundle.weights(name)
    with pytest.raises(UserError, match=message):
        load_runtime(bundle, name)
    assert bundle.present == (name,) and bundle.intact == ()


def test_the_file_of_another_format_is_refused(shipped: Bundle, tmp_path: Path) -> None:
    shutil.copy(shipped.weights("float16"), tmp_path / FORMATS["int8"].file)
    with pytest.raises(UserError, match="model_int8.tflite is not the file"):
        load_runtime(Bundle(tmp_path, shipped.manifest), "int8")


def test_measurements_change_the_manifest_alone(shipped: Bundle, tmp_path: Path) -> None:
    for name in FORMATS:
        shutil.copy(shipped.weights(name), tmp_path)
    shutil.copy(shipped.folder / "bundle.json", tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    bundle = open_bundle(tmp_path)
    bundle.record_metrics("test", {**bundle.manifest.metrics["test"], "note": "measured again"})
    changed = [path.name for path in tmp_path.iterdir() if path.read_bytes() != before[path.name]]
    assert changed == ["bundle.json"] and set(before) == {path.name for path in tmp_path.iterdir()}
    assert open_bundle(tmp_path).manifest.metrics["test"]["note"] == "measured again"
    assert open_bundle(tmp_path).intact == tuple(FORMATS)
