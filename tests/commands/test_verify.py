"""`verify`: files that answer as they did when they were made, and files that do not."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.golden import CHOSEN, Golden
from mobilevit_core.bundle.tflite_metadata import attached, without_zip
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.commands.verify import verify
from mobilevit_core.inference.runtimes import LiteRTRuntime
from tests.test_cli import refused, run


def test_a_bundle_and_each_of_its_files_agree(small_bundle: Bundle) -> None:
    verified = verify(small_bundle.folder)
    assert [one.format for one in verified] == tflite_formats()
    for one in verified:
        assert one.images == CHOSEN and one.difference <= 1e-3 and one.agrees
        assert verify(one.file) == [one]
    result = run("verify", small_bundle.folder)
    assert result.exit_code == 0 and result.stdout.count("largest difference") == len(tflite_formats())


def with_golden(bundle: Bundle, path: Path, golden: Golden | None, name: str = "float32") -> Path:
    """A copy of one file that carries these golden answers."""
    shutil.copy(bundle.weights(name), path)
    path.write_bytes(attached(path.read_bytes(), bundle.manifest.model_copy(update={"golden": golden}), name))
    return path


def test_a_file_that_is_off_is_told_with_its_figures(small_bundle: Bundle, tmp_path: Path) -> None:
    golden = small_bundle.manifest.golden
    scores = [dict(row) for row in golden.scores["float32"]]
    scores[1]["red"] += 0.03 if scores[1]["red"] < 0.9 else -0.03
    changed = Golden(golden.drawing, golden.seeds, golden.tolerance, {"float32": scores})
    path = with_golden(small_bundle, tmp_path / "mine.tflite", changed)
    result = run("verify", path, "--json")
    assert result.exit_code == 2 and json.loads(result.stdout)[0]["agrees"] is False
    assert (
        "answers differ from those that the files carry: mine.tflite by 0.03 (tolerance 0.02)."
        in result.stderr
    )


def test_an_engine_that_gives_no_numbers_is_off(
    small_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = LiteRTRuntime.probabilities
    monkeypatch.setattr(LiteRTRuntime, "probabilities", lambda *given: answer(*given) * float("nan"))
    result = run("verify", small_bundle.weights("int8"), "--json")
    assert result.exit_code == 2 and json.loads(result.stdout)[0]["difference"] is None


def test_what_carries_no_golden_inputs_is_told(small_bundle: Bundle, tmp_path: Path) -> None:
    message = refused("verify", with_golden(small_bundle, tmp_path / "older.tflite", None))
    assert "older.tflite carries no test images" in message and "export" in message
    folder = shutil.copytree(small_bundle.folder, tmp_path / "older")
    manifest = json.loads((folder / "bundle.json").read_text())
    del manifest["golden"]
    (folder / "bundle.json").write_text(json.dumps(manifest))
    assert "older carries no test images" in refused("verify", folder)
    for name in tflite_formats():
        (folder / FORMATS[name].file).unlink()
    assert "has no .tflite file to verify" in refused("verify", folder)


def test_what_is_no_file_of_ours_is_told(small_bundle: Bundle, tmp_path: Path) -> None:
    assert "There is no file or bundle" in refused("verify", tmp_path / "missing.tflite")
    text = tmp_path / "text.tflite"
    text.write_text("no network")
    assert "is not a .tflite file of this program" in refused("verify", text)
    bare = tmp_path / "bare.tflite"
    bare.write_bytes(without_zip(small_bundle.weights("int8").read_bytes()))
    assert "is not a .tflite file of this program" in refused("verify", bare)
    assert "is not a .tflite file of this program" in refused("verify", small_bundle.weights("keras"))


@pytest.mark.parametrize("manifest", ["{", "[]", "{}", '{"format": "keras"}', " " * (17 * 2**20)])
def test_a_damaged_manifest_in_a_file_is_told(manifest: str, small_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "damaged.tflite"
    path.write_bytes(without_zip(small_bundle.weights("int8").read_bytes()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("manifest.json", manifest)
    assert "the manifest in it can't be read" in refused("verify", path)


def test_a_file_whose_manifest_tells_another_size_is_told(small_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "other.tflite"
    path.write_bytes(small_bundle.weights("int8").read_bytes())
    manifest = small_bundle.manifest
    rule = type(manifest.rule)(128)
    path.write_bytes(attached(path.read_bytes(), manifest.model_copy(update={"rule": rule}), "int8"))
    assert "does not belong to its manifest" in refused("verify", path)
