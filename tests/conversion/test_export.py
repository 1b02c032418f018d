import re
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.commands.export import export
from mobilevit_core.conversion import tflite as conversion
from mobilevit_core.conversion.export import (
    Images,
    drawn_images,
    export_again,
    export_saved_model,
)
from mobilevit_core.conversion.graft import Head, cut, graft
from mobilevit_core.conversion.packing import Converted, write_converted
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.evaluation.parity import Parity
from mobilevit_core.inference.classifier import load_formats
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.training.transfer import StartingWeights


@pytest.mark.parametrize("name", tflite_formats())
def test_files_are_plain(name: str, shipped: Bundle) -> None:
    """No Flex, no custom operator, rank 4 at the most, a static batch of 1."""
    interpreter = Interpreter(model_path=str(shipped.weights(name)))
    assert interpreter.get_input_details()[0]["name"] == "image"
    assert interpreter.get_output_details()[0]["name"] == "probabilities"
    assert (
        interpreter.get_input_details()[0]["dtype"]
        == interpreter.get_output_details()[0]["dtype"]
        == np.float32
    )
    interpreter.allocate_tensors()  # fails where an operator is unknown
    operators = {operator["op_name"] for operator in interpreter._get_ops_details()}
    assert "CONV_2D" in operators
    assert not [op for op in operators if "flex" in op.lower() or "custom" in op.lower()]
    assert max(len(tensor["shape"]) for tensor in interpreter.get_tensor_details()) <= 4
    size = shipped.manifest.rule.image_size
    for key in ("shape", "shape_signature"):
        assert interpreter.get_input_details()[0][key].tolist() == [1, size, size, 3]
    assert interpreter.get_output_details()[0]["shape"].tolist() == [1, len(shipped.manifest.class_names)]


@pytest.mark.photographs
def test_answers_on_the_test_photos(shipped: Bundle, tf_flowers: PhotoDataset) -> None:
    """The figures in bundle.json are what the weights do, and all formats agree as promised."""
    results = Measured.of(load_formats(shipped, FORMATS), tf_flowers, "test").evaluations
    recorded = shipped.manifest.metrics["test"]["formats"]
    for name, result in results.items():
        # Half a photo of slack: another processor may round a tie differently.
        assert result.accuracy == pytest.approx(recorded[name]["accuracy"], abs=0.5 / 367)
        low, high = result.interval
        assert 0.8 <= result.accuracy and low < result.accuracy < high
    for name in tflite_formats():
        parity = Parity.between(results["keras"].probabilities, results[name].probabilities)
        assert parity.images == 367
        parity.require(name)
    assert results["float32"].accuracy == results["keras"].accuracy


def test_a_file_under_its_floor_is_refused(small_bundle: Bundle, tmp_path: Path) -> None:
    """dynamic_int8 is broken on purpose by the opposite classifier; the others are written."""
    model = load_keras(small_bundle.weights("keras"))
    files = {name: small_bundle.weights(name).read_bytes() for name in tflite_formats()}
    kernel, bias = model.get_layer("logits").get_weights()
    images = Images.drawn(model).checked
    trunk = cut(files["dynamic_int8"])
    files["dynamic_int8"] = graft(trunk, "dynamic_int8", Head(-kernel, bias, np.zeros((1, len(kernel)))))
    converted = Converted(None, files, images, model.predict(images, verbose=0))
    bundle, refused = write_converted(tmp_path / "bundle", converted, small_bundle.manifest)
    assert re.match(
        r"dynamic_int8 is refused: on 100 images .* have Keras's answer \(floor 98.5%\)", refused[0]
    )
    written = set(bundle.manifest.parity)
    assert "dynamic_int8" not in written and {"float32", "float16"} <= written
    assert {path.name for path in bundle.folder.glob("*.tflite")} == {FORMATS[name].file for name in written}


def test_parity_counts_and_measures() -> None:
    first = np.array([[0.6, 0.4], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1]])
    second = np.array([[0.7, 0.3], [0.6, 0.4], [0.5, 0.5], [0.9, 0.1]])
    parity = Parity.between(first, second)
    assert parity.top1_agreement == 0.75
    assert parity.largest_difference == pytest.approx(0.4)
    broken = np.full((4, 2), np.nan)
    with pytest.raises(UserError, match="float32 is refused"):
        Parity.between(broken, broken).require("float32")


def test_every_format_is_converted_by_one_of_the_tables() -> None:
    assert sorted([*conversion.TENSORFLOW, *conversion.QUANTIZER]) == sorted(tflite_formats())


def test_floors_are_whole_photos() -> None:
    assert FORMATS["float32"].differing(10_000) == 0
    assert FORMATS["float16"].differing(200) == 1 and FORMATS["float16"].differing(400) == 2
    assert FORMATS["dynamic_int8"].differing(367) == 5 and FORMATS["dynamic_int8"].differing(20) == 1


def test_export_again_makes_the_same_files_answer_alike(
    small_bundle: Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made, refused = export_again(small_bundle, tmp_path / "again")
    assert not refused and not [line for line in caplog.messages if "custom gradients" in line]
    assert made.manifest.class_names == small_bundle.manifest.class_names
    assert made.present == made.expected == tuple(name for name in FORMATS if name != "int8")
    image = drawn_images(1, 64)[0].astype(np.uint8)
    for name in made.present:
        before = load_classifier(small_bundle.folder, name).probabilities(image)
        assert np.allclose(load_classifier(made.folder, name).probabilities(image), before, atol=1e-4)


def test_a_trunk_is_a_start_for_heads_and_trainings(
    small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = open_bundle(shutil.copytree(small_bundle.folder, tmp_path / "whole"))
    row = {"photos": 1, "accuracy": 1.0, "interval_95": [0.2, 1.0], "confusion": [[1]]}
    figures = {"data": "drawn", "split": "validation", "formats": {"keras": row, "float32": row}}
    whole.record_metrics("validation", figures)
    with monkeypatch.context() as patch:
        patch.setattr("mobilevit_core.conversion.export.convert", None)  # the files are cut, not made anew
        made = export(whole, tmp_path / "start", trunk=True).bundle
    assert made.present == made.expected == ("keras",)
    assert set(open_bundle(made.folder).manifest.trunk) == set(tflite_formats())
    for name in tflite_formats():
        assert made.trunk(name) == cut(whole.weights(name).read_bytes())
    assert made.weights("keras").read_bytes() == whole.weights("keras").read_bytes()
    assert made.provenance == whole.provenance and made.manifest.data == whole.manifest.data
    start, before = (StartingWeights(bundle).describe() for bundle in (made, whole))
    assert start == before
    recorded = open_bundle(made.folder).manifest.metrics["validation"]["formats"]
    assert list(recorded) == ["keras"] and "confusion" not in recorded["keras"]
    with pytest.raises(UserError, match="two kinds of exports"):
        export(whole, tmp_path / "other", trunk=True, saved_model=True)
    path = made.folder / FORMATS["int8"].trunk
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(UserError, match="trunk_int8.tflite is not the file that this bundle was written"):
        made.trunk("int8")
    path.unlink()
    with pytest.raises(UserError, match="copy the whole bundle again"):
        made.trunk("int8")


def test_the_saved_model_takes_batches(small_bundle: Bundle, tmp_path: Path) -> None:
    export_saved_model(small_bundle, tmp_path / "saved_model")
    images = drawn_images(3, small_bundle.manifest.rule.image_size)
    served = tf.saved_model.load(str(tmp_path / "saved_model")).signatures["serving_default"]
    model: keras.Model = load_keras(small_bundle.weights("keras"))
    answers = served(image=tf.constant(images))["probabilities"].numpy()
    assert np.allclose(answers, model(images).numpy(), atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["saved_model"]
