"""Upload and download against a small Hub on the loopback, by the command line in processes of its own."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.models.released_weights import TIMM
from tests.models.seeded_weights import tensors, write
from tests.publishing.fake_hub import FakeHub, Repository, serving, sha

ROOT = Path(__file__).parents[2]
PROGRAM = ("-m", "mobilevit_core")


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with serving() as hub:
        yield hub


def run(
    hub: FakeHub, home: Path, *words: object, token: str | None = "good", program: tuple[str, ...] = PROGRAM
) -> subprocess.CompletedProcess[str]:
    """The command line, as somebody with that token runs it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1"} | ({"HF_TOKEN": token} if token else {})
    command = [sys.executable, *program, *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a command that was refused."""
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    assert done.stderr.count("Error: ") == 1 and not done.stdout
    return done.stderr.replace("\n", " ")


def test_what_is_published_is_loaded_back(
    hub: FakeHub, shipped: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    done = run(hub, tmp_path, "publish", shipped.folder, "flora/flowers", "--what", "model", "--private")
    assert done.returncode == 0, done.stderr
    assert f"model repository: {hub.url}/flora/flowers" in done.stdout and "Free." in done.stderr
    repository = hub.repositories["models", "flora/flowers"]
    assert repository.private and len(repository.commits) == 2  # empty, then one commit
    for name in shipped.present:
        file = shipped.weights(name)
        assert repository.files[file.name] == file.read_bytes()
    assert {"README.md", "config.json", "metadata.json", "model.weights.h5"} <= set(repository.files)
    photo = next(photo_folder.rglob("*.jpg"))
    here = run(hub, tmp_path, "predict", shipped.folder, photo)
    for address in ("hf://flora/flowers", f"hf://flora/flowers@{sha(1)}"):
        back = run(hub, tmp_path, "predict", address, photo)
        assert back.returncode == 0, back.stderr
        assert back.stdout == here.stdout
    assert not any("config.json" in asked for asked in hub.asked if "/resolve/" in asked)
    hub.cut = "/"  # no network: the cache answers
    assert run(hub, tmp_path, "predict", f"hf://flora/flowers@{sha(1)}", photo).stdout == here.stdout


def test_a_second_publication_replaces_the_first_and_leaves_other_files(
    hub: FakeHub, shipped: Bundle, tmp_path: Path
) -> None:
    before = {"bundle.json": b"{}", "model_gone.tflite": b"", "report/old.html": b"", "notes.txt": b"mine"}
    hub.repositories["models", "garden/flowers"] = Repository(commits=[before])
    done = run(hub, tmp_path, "publish", shipped.folder, "garden/flowers", "--what", "model")
    assert done.returncode == 0, done.stderr
    repository = hub.repositories["models", "garden/flowers"]
    assert len(repository.commits) == 2 and "report/old.html" not in repository.files
    assert repository.files["notes.txt"] == b"mine" and len(repository.files["bundle.json"]) > 1000
    private = run(hub, tmp_path, "publish", shipped.folder, "garden/flowers", "--what", "model", "--private")
    assert "is public" in refused(private)


@pytest.mark.parametrize(
    ("token", "owner", "message"),
    [
        (None, "flora", "Nobody is logged in"),
        ("bad", "flora", "does not accept this machine's token"),
        (
            "good",
            "rosa",
            "You are logged in as flora, who can't publish as rosa. Choose one of: flora, garden",
        ),
    ],
)
def test_who_may_not_is_told_so(
    hub: FakeHub, shipped: Bundle, tmp_path: Path, token: str | None, owner: str, message: str
) -> None:
    done = run(hub, tmp_path, "publish", shipped.folder, f"{owner}/flowers", "--what", "model", token=token)
    assert message in refused(done)
    assert not hub.repositories and not any(asked.startswith("POST") for asked in hub.asked)


def test_a_name_that_is_taken_stays_as_it_is(hub: FakeHub, shipped: Bundle, tmp_path: Path) -> None:
    taken = hub.repositories["models", "flora/flowers"] = Repository(commits=[{"poem.txt": b"roses"}])
    done = run(hub, tmp_path, "publish", shipped.folder, "flora/flowers", "--what", "model")
    assert "is there already and is something else" in refused(done)
    assert taken.commits == [{"poem.txt": b"roses"}]


@pytest.mark.parametrize(
    ("place", "status", "message"),
    [
        ("/repos/create", 402, "paid plan"),
        ("/repos/create", 403, "may not write"),
        ("/commit/", 500, "The Hub answered with 500"),
    ],
)
def test_a_refusal_says_how_things_are(
    hub: FakeHub, shipped: Bundle, tmp_path: Path, place: str, status: int, message: str
) -> None:
    hub.refuse[place] = status
    said = refused(run(hub, tmp_path, "publish", shipped.folder, "flora/flowers", "--what", "model"))
    assert message in said and "so it was told" in said
    made = ("models", "flora/flowers") in hub.repositories
    assert made == (place == "/commit/")
    assert ("was made and is empty" if made else "was not made") in said


def test_a_network_that_ends_midway_leaves_nothing_half_and_goes_on_later(
    hub: FakeHub, shipped: Bundle, tmp_path: Path
) -> None:
    hub.cut = "/commit/"
    said = refused(run(hub, tmp_path, "publish", shipped.folder, "flora/flowers", "--what", "model"))
    assert "can't be reached" in said and "was made and is empty; the same command goes on" in said
    repository = hub.repositories["models", "flora/flowers"]
    assert not repository.files and hub.objects  # the large files are there, and no commit names them
    hub.cut = None
    assert run(hub, tmp_path, "publish", shipped.folder, "flora/flowers", "--what", "model").returncode == 0
    assert len(repository.commits) == 2 and "model.keras" in repository.files


@pytest.mark.parametrize(
    ("address", "files", "message"),
    [
        ("hf://flora/none", None, "has no repository flora/none"),
        ("hf://flora", None, "hf://flora is not OWNER/NAME"),
        (
            "hf://flora/poems",
            {"poem.txt": b"roses"},
            "hf://flora/poems is not a bundle: it has no bundle.json",
        ),
        ("hf://flora/poems", {"bundle.json": b"[]"}, "bundle.json is damaged"),
        ("hf://flora/poems@v1", {"bundle.json": b"[]"}, "flora/poems has no revision v1"),
    ],
)
def test_what_is_no_bundle_is_refused(
    hub: FakeHub,
    tmp_path: Path,
    photo_folder: Path,
    address: str,
    files: dict[str, bytes] | None,
    message: str,
) -> None:
    if files is not None:
        hub.repositories["models", "flora/poems"] = Repository(commits=[files])
    photo = next(photo_folder.rglob("*.jpg"))
    assert message in refused(run(hub, tmp_path, "predict", address, photo))


def test_weights_with_another_digest_are_refused(
    hub: FakeHub, shipped: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    names = ("bundle.json", "model_float32.tflite")
    files = {name: (shipped.folder / name).read_bytes() for name in names}
    files["model_float32.tflite"] = files["model_float32.tflite"][:-1] + b"!"
    hub.repositories["models", "flora/flowers"] = Repository(commits=[files])
    photo = next(photo_folder.rglob("*.jpg"))
    said = refused(run(hub, tmp_path, "predict", "hf://flora/flowers", photo))
    assert "hf://flora/flowers is damaged: checksum mismatch in model_float32.tflite" in said


def test_the_page_takes_such_an_address_too(hub: FakeHub, tmp_path: Path) -> None:
    hub.repositories["models", "flora/poems"] = Repository(commits=[{"poem.txt": b"roses"}])
    done = run(hub, tmp_path, "--bundle", "hf://flora/poems", program=("app.py",))
    assert "hf://flora/poems is not a bundle: it has no bundle.json" in refused(done)


def test_a_space_is_uploaded_beside_the_model(hub: FakeHub, shipped: Bundle, tmp_path: Path) -> None:
    """The default. The Space is refused here, and the message says what is complete."""
    if not (ROOT / "demo" / "device" / "node_modules").exists():
        pytest.skip("no LiteRT.js. To get it: npm ci --prefix demo/device")
    hub.refuse["/api/spaces/flora/flowers/commit"] = 403
    said = refused(run(hub, tmp_path, "publish", shipped.folder, "flora/flowers"))
    assert f"{hub.url}/flora/flowers is complete." in said
    assert f"{hub.url}/spaces/flora/flowers was made and is empty" in said
    hub.refuse.clear()
    done = run(hub, tmp_path, "publish", shipped.folder, "flora/flowers", "--what", "static")
    assert done.returncode == 0, done.stderr
    space = hub.repositories["spaces", "flora/flowers"]
    assert space.sdk == "static" and {"index.html", "bundle/bundle.json", "README.md"} <= set(space.files)
    assert f"static Space: {hub.url}/spaces/flora/flowers" in done.stdout
    other = run(hub, tmp_path, "publish", shipped.folder, "flora/flowers", "--what", "gradio")
    assert "is there already and is something else" in refused(other)


def test_a_training_starts_from_the_released_weights_of_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    plan = (
        "from mobilevit_core.commands.plan import Wish; plan = Wish().before_loading(); "
        "print(plan.start, *plan.reasons)"
    )

    def start(home: str) -> str:
        done = run(hub, tmp_path / home, program=("-c", plan))
        assert done.returncode == 0, done.stderr
        return done.stdout

    file = write(tmp_path / "model.safetensors", tensors(TIMM, "xxs"))
    hub.repositories["models", "timm/mobilevit_xxs.cvnets_in1k"] = Repository(
        commits=[{"model.safetensors": file.read_bytes()}]
    )
    assert start("home").startswith("imagenet start: MobileViT's ImageNet weights")
    hub.cut = "/"  # no network: what was downloaded stays, and a new machine takes the package's weights
    assert start("home").startswith("imagenet ")
    assert start("another").startswith("general ") and "can't be reached" in start("another")
