"""The light installation: what runs without the packages of the extra `train`."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.cli import EXTRAS
from mobilevit_core.inference.classifier import load_classifier

ROOT = Path(__file__).parents[1]
# As if they were not installed, and neither was what these bring along.
MODULES = sorted((*EXTRAS, "matplotlib", "scipy"))
WITHOUT = (
    f"import sys; sys.modules.update(dict.fromkeys({MODULES!r})); from mobilevit_core.__main__ import main; "
)


def light(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command line in a process that has none of the extra's modules, called outside of the checkout."""
    code = WITHOUT + f"sys.argv[1:] = {list(words)!r}; main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True
    )


def test_predict_needs_nothing_of_the_training(photo_folder: Path, tmp_path: Path) -> None:
    photo = next(photo_folder.rglob("*.jpg"))
    done = light("predict", str(ROOT / "demo" / "weights"), str(photo), folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(photo)) and done.stdout.count("%") == 5


def test_a_head_is_trained_measured_and_used(
    photo_folder: Path, small_bundle: Bundle, tmp_path: Path
) -> None:
    """And reported; the bundle is complete, model.keras included, so that a full installation shows it."""
    words = ["train", str(photo_folder), "--weights", str(small_bundle.folder), "--run", "run"]
    done = light(*words, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "by cross-validation on 30 photos" in done.stdout
    bundle = open_bundle(tmp_path / "run" / "bundle")
    assert bundle.intact == bundle.expected == tuple(FORMATS)
    assert (bundle.folder / "report" / "index.html").read_text().count("<svg") == 2
    photo = next(photo_folder.rglob("*.jpg"))
    used = light("predict", "run/bundle", str(photo), folder=tmp_path)
    assert used.returncode == 0 and used.stdout.count("%") == 3, used.stderr
    measured = light("evaluate", "run/bundle", "--split", "train", "--format", "int8", folder=tmp_path)
    assert measured.returncode == 0, measured.stderr
    by_keras, by_litert = (
        load_classifier(bundle.folder, name).probabilities(photo) for name in ("keras", "float32")
    )
    assert np.allclose(by_keras, by_litert, atol=1e-4)


def test_keras_weights_are_not_measured_without_keras(
    small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    words = ["evaluate", str(small_bundle.folder), "--data", str(photo_folder), "--format"]
    done = light(*words, "keras", folder=tmp_path)
    assert done.returncode == 2 and "which is not installed: choose another format, or" in done.stderr
    assert light(*words, "float16", folder=tmp_path).returncode == 0


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--recipe", "finetune", "--data", "PHOTOS"),
        ("finish", "."),
        ("export", "BUNDLE", "--to", "new"),
        ("publish", "BUNDLE", "a/b", "--what", "model", "--dry-run", "new"),
    ],
)
def test_other_commands_say_what_to_install(
    words: tuple[str, ...], photo_folder: Path, tmp_path: Path
) -> None:
    named = {"PHOTOS": str(photo_folder), "BUNDLE": str(ROOT / "demo" / "weights")}
    done = light(*(named.get(word, word) for word in words), folder=tmp_path)
    assert done.returncode == 2, done.stderr
    sentence = done.stderr.splitlines()[-1]
    assert sentence.startswith(f"Error: {words[0]} needs ") and sentence.endswith("pip install '.[train]'")
    assert not list(tmp_path.iterdir())
