import json
import shutil
from pathlib import Path

import pytest

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, Manifest, open_bundle, write_bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError


def copied(bundle: Bundle, to: Path) -> Path:
    return shutil.copytree(bundle.folder, to / "bundle")


def test_the_contract_survives_writing_and_reading(small_bundle: Bundle) -> None:
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
    (folder / "bundle.json").write_text(json.dumps(manifest))
    for name in FORMATS:
        with pytest.raises(UserError, match="does not belong to its bundle.json"):
            load_classifier(folder, name)


def test_what_is_no_bundle_is_named(tmp_path: Path, small_bundle: Bundle) -> None:
    with pytest.raises(UserError, match="no bundle folder .*nowhere"):
        open_bundle(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no bundle.json"):
        open_bundle(tmp_path)
    copied(small_bundle, tmp_path)
    with pytest.raises(UserError, match=f"Did you mean {tmp_path / 'bundle'}"):
        open_bundle(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda manifest: manifest.pop("class_names"),
        lambda manifest: manifest.update(class_names=["one"]),
        lambda manifest: manifest.update(contract_version=99),
        lambda manifest: manifest["input"].update(mode="stretch"),
        lambda manifest: manifest["input"].update(image_size=None),
        lambda manifest: manifest.update(formats={}),
        lambda manifest: manifest.update(recipe=None),
        lambda manifest: manifest["data"].pop("digest"),
    ],
)
def test_a_damaged_contract_is_named(damage, small_bundle: Bundle, tmp_path: Path) -> None:  # noqa: ANN001
    folder = copied(small_bundle, tmp_path)
    manifest = json.loads((folder / "bundle.json").read_text())
    damage(manifest)
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="bundle.json is damaged"):
        open_bundle(folder)
    (folder / "bundle.json").write_text("{")
    with pytest.raises(UserError, match="bundle.json is damaged"):
        open_bundle(folder)


def test_missing_and_damaged_weights_are_named(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = copied(small_bundle, tmp_path)
    (folder / "model_float32.tflite").unlink()
    with pytest.raises(UserError, match="no model_float32.tflite.*keras, float16, dynamic_int8"):
        load_classifier(folder)
    with pytest.raises(UserError, match="Unknown runtime 'onnx'"):
        load_classifier(folder, "onnx")
    for name in open_bundle(folder).present:
        file = FORMATS[name].file
        (folder / file).write_bytes(b"damaged")
        with pytest.raises(UserError, match=f"{file} can't be loaded"):
            load_classifier(folder, name)
        (folder / file).unlink()
    with pytest.raises(UserError, match="has no weights"):
        open_bundle(folder)
