"""Nothing that is published tells where its owner's photos lie."""

import io
import json
import shutil
import socket
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.examples import bundle_examples
from mobilevit_core.bundle.private_paths import last_name, without_paths
from mobilevit_core.commands.evaluate import evaluate
from mobilevit_core.commands.publish import publish
from mobilevit_core.commands.train import train
from mobilevit_core.errors import UserError

OWNER, DRAWER, MACHINE = "ann-quince", "locked-drawer", "anns-laptop"
ARTIST, GPS = 0x013B, 0x8825  # EXIF tags


@pytest.fixture(scope="module")
def private(photo_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("private") / OWNER / DRAWER
    folder = Path(shutil.copytree(photo_folder, home / "my_flowers"))
    for path in [path for path in folder.rglob("*.jpg")]:
        with Image.open(path) as image:
            image.load()
        tags = Image.Exif()
        tags[ARTIST] = OWNER
        tags.get_ifd(GPS).update({1: "N", 2: (48.0, 8.0, 14.0)})
        image.save(path, exif=tags, comment=DRAWER.encode())
    return folder


@pytest.fixture(scope="module")
def trained(private: Path, small_bundle: Bundle) -> Bundle:
    """A head whose start was trained on a private folder, too, as was every bundle of earlier versions."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "gethostname", lambda: MACHINE)
        for name in ("LOGNAME", "USER"):
            patch.setenv(name, OWNER)
        done = train(private, private.parent / "run", recipe="head", weights=small_bundle.folder)
        evaluate(done.bundle, record=True, split="train")
    return open_bundle(done.bundle.folder)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """A file's bytes, and those of what is packed in it."""
    content = path.read_bytes()
    yield path.name, content
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.namelist():
                yield f"{path.name}:{member}", archive.read(member)


def test_no_published_byte_tells_a_path_a_user_or_a_machine(
    trained: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    publish(trained, "flora/flowers", what=("model",), dry_run=tmp_path / "model", with_examples=True)
    assert (tmp_path / "model" / "examples" / "1.jpg").is_file()
    kept = [*tmp_path.rglob("*"), *trained.folder.rglob("*")]  # what is passed on by hand as well
    found = [pair for path in kept if path.is_file() for pair in contents(path)]
    assert {"bundle.json", "index.html", "README.md", "model_float32.tflite:manifest.json"} <= {
        n for n, _ in found
    }
    for word in (OWNER, DRAWER, MACHINE, str(photo_folder.parent)):
        told = [name for name, content in found if word.encode() in content]
        assert not told, (word, told)
    assert trained.manifest.data["name"] == "my_flowers"


def test_the_run_knows_where_the_photos_lie(trained: Bundle, tmp_path: Path) -> None:
    figures = evaluate(trained, split="train", format="float32").figures
    assert figures["data"] == "my_flowers"
    elsewhere = shutil.copytree(trained.folder, tmp_path / "bundle")
    with pytest.raises(UserError, match="trained on my_flowers, and does not say where.*--data"):
        evaluate(elsewhere)
    manifest = elsewhere / "bundle.json"
    manifest.write_text(manifest.read_text().replace('"my_flowers"', '"caltech101"'))
    with pytest.raises(UserError, match="trained on caltech101, and does not say where.*--data"):
        evaluate(elsewhere)


def test_a_bundle_of_an_earlier_version_is_not_published(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["data"]["name"] = f"/home/{OWNER}/flowers"
    (folder / "bundle.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="export .* --to NEW"):
        publish(folder, "flora/flowers", what=("model",), dry_run=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_of_catalogues_and_sentences() -> None:
    assert last_name("imagenette/160px-v2:1.0.0") == "imagenette/160px-v2:1.0.0"
    assert last_name("C:\\Users\\Ann\\my flowers\\") == "my flowers" and last_name("~/a.zip") == "a.zip"
    data = {"name": "/home/ann/my flowers", "notes": ["/home/ann/my flowers/red/1.jpg is damaged"]}
    assert without_paths(data) == {"name": "my flowers", "notes": ["my flowers/red/1.jpg is damaged"]}


def test_photos_kept_as_examples_are_small_and_published_only_when_asked(
    trained: Bundle, tmp_path: Path
) -> None:
    kept = bundle_examples(trained)
    assert 0 < len(kept) <= 6
    for path, row in kept:
        with Image.open(path) as image:
            assert max(image.size) <= 640 and not image.getexif() and not image.info.get("comment")
        assert row.trained_on  # there are too few to hold any out
    publish(trained, "flora/flowers", what=("model",), dry_run=tmp_path / "model")
    assert not (tmp_path / "model" / "examples").exists()


def test_a_photo_that_is_not_the_listed_one_is_not_an_example(trained: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(trained.folder, tmp_path / "bundle")
    (folder / "examples" / "1.jpg").write_bytes(b"another")
    assert [path.name for path, _ in bundle_examples(open_bundle(folder))] == [
        path.name for path, _ in bundle_examples(trained) if path.name != "1.jpg"
    ]
    (folder / "examples" / "examples.json").write_text('[{"file": "../bundle.json"}]')
    assert bundle_examples(open_bundle(folder)) == []
