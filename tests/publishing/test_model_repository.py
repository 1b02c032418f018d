"""The model repository as a folder: its card, its files, and Keras's unpacked form."""

import hashlib
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.commands.publish import publish
from mobilevit_core.data.dataset import CROSS_VALIDATION
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.publishing.card import licence_of, model_card
from mobilevit_core.publishing.model_repository import unpack_keras


@pytest.fixture(scope="module")
def written(shipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "flowers"
    (done,) = publish(shipped, "flora/flowers", what=["model"], dry_run=folder)
    files = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(done.files) == files and done.place == str(folder)
    return folder


def changed(bundle: Bundle, **fields: object) -> Bundle:
    """The bundle with other fields in its manifest."""
    value = bundle.manifest.to_json() | fields
    return Bundle(bundle.folder, Manifest.from_json(value))


def test_the_card_says_what_was_measured(written: Path, shipped: Bundle) -> None:
    data = ModelCard.load(written / "README.md").data
    assert (data.library_name, data.pipeline_tag) == ("keras", "image-classification")
    assert {"litert", "keras", "mobilevit"} <= set(data.tags) and data.license == "apache-2.0"
    assert data.datasets == ["tf_flowers", "oxford_flowers102"]
    measured = shipped.manifest.metrics
    expected = {
        (split, row["accuracy"]) for split, part in measured.items() for row in part["formats"].values()
    }
    assert {(row.dataset_split, row.metric_value) for row in data.eval_results} == {
        (split, round(accuracy, 4)) for split, accuracy in expected
    }
    assert len(data.eval_results) == sum(len(part["formats"]) for part in measured.values())


def test_the_card_names_classes_and_ways_to_load(written: Path, shipped: Bundle) -> None:
    text = ModelCard.load(written / "README.md").text
    assert all(name in text for name in shipped.manifest.class_names)
    for way in ('load_classifier("hf://flora/flowers")', 'keras.saving.load_model("hf://flora/flowers")'):
        assert way in text
    assert "get_signature_runner" in text and "vision.ImageClassifier" in text


def test_a_bundle_of_somebody_else_is_described_without_its_owners_paths(shipped: Bundle) -> None:
    data = {**shipped.manifest.data, "name": "/home/anna/secret|photos"}
    names = ["<b>|x`", *shipped.manifest.class_names[1:]]
    theirs = changed(shipped, data=data, metrics={}, start=None, class_names=names, golden=None)
    card = model_card(theirs, "a/b", "mit")
    assert card.data.license == "mit" and card.data.eval_results is None and not card.data.datasets
    assert "secret" not in card.content and "<b>" not in card.content


def test_the_card_of_a_head_has_the_figures_of_its_cross_validation(shipped: Bundle) -> None:
    figures = {**shipped.manifest.metrics["test"], "split": CROSS_VALIDATION}
    figures["formats"] = {"keras": figures["formats"]["keras"]}
    head = changed(shipped, metrics={CROSS_VALIDATION: figures})
    text = model_card(head, "a/b").text
    keras = figures["formats"]["keras"]
    (file,) = [line for line in text.splitlines() if line.startswith("| `model.keras`")]
    assert f"{keras['accuracy']:.1%} (" in file
    assert f"Measured on {keras['photos']} photos of " in text and " by cross-validation (each" in text
    assert all(f"| {name} | {row['precision']:.1%} |" in text for name, row in keras["per_class"].items())
    assert "validation photos" not in text
    assert f"Of {head.manifest.rejection.photos} photos of the classes, by cross-validation" in text


def test_foreign_weights_keep_their_licence_and_are_the_base(shipped: Bundle) -> None:
    licence = {"name": "Apple's licence of ml-cvnets", "url": "https://example.org/LICENSE"}
    start = {
        "data": {"name": "ImageNet-1k", "digest": ""},
        "classes": 1000,
        "source": "timm/mobilevit_xxs.cvnets_in1k",
        "revision": "0" * 40,
        "licence": licence,
    }
    bundle = changed(shipped, start=start)
    front = model_card(bundle, "a/b").data
    assert front.base_model == "timm/mobilevit_xxs.cvnets_in1k" and "imagenet-1k" in front.datasets
    assert licence_of(bundle.manifest)["license"] == front.license == "other"
    assert front.license_link == licence["url"]


@pytest.mark.parametrize(
    "licence",
    [
        {"name": "MIT", "url": "javascript:alert(1)"},
        {"name": "MIT", "url": "data:text/html,<script>"},
        {"name": "MIT", "url": "//example.org/LICENSE"},
        {"name": "MIT", "url": "https://example.org/\nlicense: mit"},
        {"name": "MIT", "url": "https://example.org/<script>"},
        {"name": "MIT", "url": 7},
        {"name": ["MIT"], "url": "https://example.org"},
        {"url": "https://example.org"},
        "MIT",
    ],
)
def test_a_licence_is_a_name_and_a_web_address(licence: object, shipped: Bundle) -> None:
    start = {"data": {"name": "x", "digest": ""}, "classes": 5, "licence": licence}
    with pytest.raises(ValueError, match=r"start\.licence"):
        changed(shipped, start=start)


@pytest.mark.parametrize("source", ["javascript:/x", "a/b/c", "a/b\nlicense: mit", "https://x/y", ""])
def test_only_a_repository_is_the_base(source: str, shipped: Bundle) -> None:
    start = {"data": {"name": "x", "digest": ""}, "classes": 5, "source": source, "revision": "main"}
    assert model_card(changed(shipped, start=start), "a/b").data.base_model is None


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("name", ["config.json", "metadata.json", "model.weights.h5"])
def test_a_keras_file_that_inflates_is_neither_loaded_nor_published(name: str, tmp_path: Path) -> None:
    members = dict.fromkeys(("config.json", "metadata.json", "model.weights.h5"), b"{}")
    file = zip_of(tmp_path / "model.keras", {**members, name: b" " * 80_000_000})
    for read in (load_keras, lambda file: unpack_keras(file, tmp_path / "out")):
        with pytest.raises(UserError, match=f"model.keras is not loaded: {name} in it would grow to 80 MB"):
            read(file)
    assert not (tmp_path / "out").exists()


def test_messages_about_foreign_files_are_short(tmp_path: Path) -> None:
    """Keras puts the whole layer into its message."""
    layer = {"class_name": "Functional", "config": {"layers": [{"module": "\x1b[31m" + "x" * 200_000}]}}
    members = {"config.json": json.dumps({"class_name": "y" * 20_000, **layer}).encode()}
    members |= {"metadata.json": b"{}", "model.weights.h5": b""}
    with pytest.raises(UserError, match=r"model.keras can't be loaded: ") as told:
        load_keras(zip_of(tmp_path / "model.keras", members))
    assert len(str(told.value)) < 300 and str(told.value).isprintable()
    odd = zip_of(tmp_path / "odd.keras", {f"{'z' * 100}{number}\n": b"" for number in range(2000)})
    with pytest.raises(UserError, match=r"odd.keras holds zzz") as told:
        unpack_keras(odd, tmp_path)
    assert len(str(told.value)) < 300 and str(told.value).isprintable()


def test_every_file_is_the_bundles(written: Path, shipped: Bundle) -> None:
    copied = open_bundle(written)
    assert copied.intact == shipped.present and copied.manifest == shipped.manifest
    assert not (written / "report" / "photos").exists()
    assert (written / "report" / "index.html").read_bytes() == (
        shipped.folder / "report" / "index.html"
    ).read_bytes()


LOAD = """
import sys, numpy, keras
one, other = (keras.saving.load_model(path) for path in sys.argv[1:])
assert all(numpy.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))
print(len(one.get_weights()), one.input_shape)
"""


def test_keras_loads_the_folder(written: Path, shipped: Bundle) -> None:
    """As load_model("hf://...") does after its download; without this package."""
    command = [sys.executable, "-c", LOAD, written, shipped.weights("keras")]
    done = subprocess.run(command, cwd=written, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{shipped.manifest.rule.image_size}, 3)" in done.stdout


def test_damaged_weights_are_not_published(shipped: Bundle, tmp_path: Path) -> None:
    import shutil

    folder = shutil.copytree(shipped.folder, tmp_path / "bundle")
    (folder / "model_int8.tflite").write_bytes(b"something else")
    with pytest.raises(UserError, match="model_int8.tflite is not the file"):
        publish(folder, "a/b", what=["model"], dry_run=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "x.keras").write_bytes(b"no zip")
    with pytest.raises(UserError, match="not a complete .keras file"):
        unpack_keras(tmp_path / "x.keras", tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"what": ["modell"]}, "Unknown modell to publish. There are: model, static, gradio"),
        ({"what": ["static", "gradio"]}, "can't have one name"),
        ({"repository": "flowers"}, "flowers is not OWNER/NAME"),
        ({"repository": "a/b/c"}, "a/b/c is not OWNER/NAME"),
        ({"dry_run": "."}, "exists already"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    shipped: Bundle, tmp_path: Path, options: dict[str, object], message: str
) -> None:
    given = SimpleNamespace(
        **{"repository": "a/b", "what": ["model"], "dry_run": tmp_path / "out", **options}
    )
    with pytest.raises(UserError, match=message):
        publish(shipped, given.repository, what=given.what, dry_run=given.dry_run)
    assert not list(tmp_path.iterdir())


def test_equal_folders_for_equal_bundles(written: Path, shipped: Bundle, tmp_path: Path) -> None:
    publish(shipped, "flora/flowers", what=["model"], dry_run=tmp_path / "again")
    for path in written.rglob("*"):
        if path.is_file():
            again = tmp_path / "again" / path.relative_to(written)
            assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()
