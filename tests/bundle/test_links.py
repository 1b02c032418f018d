"""Links in a bundle: none leads out of it, whoever made it; the Hub's cache consists of links and passes."""

import os
import shutil
from pathlib import Path

import pytest

from mobilevit_core.bundle.bundle import FILES, Bundle, open_bundle
from mobilevit_core.commands.publish import publish
from mobilevit_core.errors import UserError

COMMIT, DIGEST = "c" * 40, "0123456789abcdef" * 4


@pytest.fixture
def bundle(shipped: Bundle, tmp_path: Path) -> Path:
    return shutil.copytree(shipped.folder, tmp_path / "bundle")


def replaced(path: Path, target: Path) -> None:
    """Puts a link in the place of a file or folder."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", FILES)
def test_a_link_that_leads_out_is_refused(name: str, bundle: Path, tmp_path: Path) -> None:
    for target in (Path("/etc/passwd"), Path("../" * name.count("/") + "../outside")):
        (tmp_path / "outside").write_text("secret")
        replaced(bundle / name, target)
        with pytest.raises(UserError, match=rf"is not opened: its {name} is a link that leads out of it"):
            open_bundle(bundle)
        with pytest.raises(UserError, match="leads out of it"):
            publish(bundle, "a/b", what=["model"], dry_run=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["report", "report/photos"])
def test_a_folder_that_leads_out_is_refused(name: str, bundle: Path) -> None:
    for target in ("/", "../" * (1 + name.count("/")), "/etc"):
        replaced(bundle / name, Path(target))
        with pytest.raises(UserError, match=f"its {name} is a link that leads out of it"):
            open_bundle(bundle)


def test_links_inside_of_a_bundle_and_to_it_are_followed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "kept").mkdir()
    for name in ("model_float32.tflite", "report"):
        shutil.move(bundle / name, bundle / "kept" / name)
        (bundle / name).symlink_to(Path("kept", name))
    replaced(bundle / "history.csv", Path("nowhere"))  # as if it were not there
    (tmp_path / "link").symlink_to(bundle)
    opened = open_bundle(tmp_path / "link")
    assert "float32" in opened.intact and opened.file("report/index.html") and not opened.file("history.csv")


def in_hub_cache(bundle: Path, repository: Path, blobs: Path) -> Path:
    """Lays a bundle out as huggingface_hub does: each file is a link to a blob."""
    snapshot = repository / "snapshots" / COMMIT
    blobs.mkdir(parents=True)
    for number, name in enumerate(name for name in FILES if (bundle / name).is_file()):
        blob, file = blobs / f"{number:x}{DIGEST[1:]}", snapshot / name
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(bundle / name, blob)
        file.symlink_to(os.path.relpath(blob, file.parent))
    return snapshot


@pytest.mark.parametrize("place", ["models--a--b/blobs", "blobs/00"])
def test_the_hubs_cache_passes(place: str, bundle: Path, tmp_path: Path) -> None:
    snapshot = in_hub_cache(bundle, tmp_path / "hub" / "models--a--b", tmp_path / "hub" / place)
    opened = open_bundle(snapshot)
    assert opened.intact == open_bundle(bundle).intact and opened.file("report/report.json")
    publish(opened, "a/b", what=["model"], dry_run=tmp_path / "out")
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_symlink()]
    assert (tmp_path / "out" / "model.keras").read_bytes() == (bundle / "model.keras").read_bytes()


def test_what_imitates_the_hubs_cache_does_not_lead_out_either(bundle: Path, tmp_path: Path) -> None:
    repository, secrets = tmp_path / "hub" / "models--a--b", tmp_path / "secrets"
    snapshot = in_hub_cache(bundle, repository, repository / "blobs")
    secrets.mkdir()
    (secrets / DIGEST).write_text("secret")
    replaced(snapshot / "history.csv", secrets / DIGEST)
    with pytest.raises(UserError, match=r"history.csv is a link that leads out"):
        open_bundle(snapshot)
    replaced(snapshot / "history.csv", Path("../../blobs/passwd"))
    (repository / "blobs" / "passwd").symlink_to("/etc/passwd")
    with pytest.raises(UserError, match=r"history.csv is a link that leads out"):
        open_bundle(snapshot)
    shutil.move(repository / "blobs", tmp_path / "moved")
    replaced(repository / "blobs", tmp_path / "moved")  # so that all paths look right
    with pytest.raises(UserError, match=r"bundle.json is a link that leads out"):
        open_bundle(snapshot)


def test_files_are_found_by_their_names_alone(bundle: Path, tmp_path: Path) -> None:
    (bundle / "report" / "photos").mkdir(exist_ok=True)
    for name in ("report/photos/7.jpg", "report/other.html", "report/photos/7.html", "secret"):
        (bundle / name).write_text("x")
    opened = open_bundle(bundle)
    assert opened.file("report/photos/7.jpg") == bundle / "report" / "photos" / "7.jpg"
    here = [name for name in FILES if (bundle / name).is_file()]
    assert len(here) >= 10 and all(opened.file(name) == bundle / name for name in here)
    for name in (
        "secret",
        "report",
        "report/",
        "report/other.html",
        "report/photos/7.html",
        "report/photos/../../bundle.json",
        "report/../bundle.json",
        "./bundle.json",
        "../bundle/bundle.json",
        "/etc/passwd",
        str(bundle / "bundle.json"),
        "report/photos/7.jpg\n",
        "report/photos/\0.jpg",
        "",
    ):
        assert opened.file(name) is None, name
    replaced(bundle / "report" / "photos" / "7.jpg", Path("/etc/passwd"))  # after it was opened
    replaced(bundle / "report" / "index.html", Path("/etc/passwd"))
    assert opened.file("report/photos/7.jpg") is opened.file("report/index.html") is None
