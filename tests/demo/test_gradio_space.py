"""The Gradio page as a folder that a Space runs: complete, small, and without TensorFlow."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from huggingface_hub import SpaceCard

from demo import publishing
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.inference.classifier import load_classifier
from mobilevit_core.publishing.pages import PageOptions
from tests.demo.looking import NEEDS_LITERT
from tests.demo.visitor import Visitor, free_port

REPOSITORY = "flora/flowers"
# What the Space's requirements do not install.
WITHOUT = [
    "ai_edge_quantizer",
    "keras",
    "matplotlib",
    "scipy",
    "sklearn",
    "tensorflow",
    "tensorflow_datasets",
]
START = (
    "import runpy, sys; sys.modules.update(dict.fromkeys({without!r})); sys.argv = ['app.py']; "
    "sys.path.insert(0, '.'); runpy.run_path('app.py', run_name='__main__')"
)
PATIENCE = 240  # seconds

pytestmark = NEEDS_LITERT


@pytest.fixture(scope="module")
def folder(shipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gradio")
    publishing.write_gradio(shipped, folder, PageOptions(REPOSITORY, license="mit"))
    return folder


def test_versions_are_the_projects(folder: Path) -> None:
    data = SpaceCard.load(folder / "README.md").data
    (pin,) = publishing.requirements(("demo",), re.compile("gradio"))
    assert pin.endswith(f"=={data.sdk_version}") and data.python_version in ("3.11", "3.12", "3.13")
    assert (data.sdk, data.app_file, data.license) == ("gradio", "app.py", "mit")
    assert data.to_dict()["startup_duration_timeout"] == "10m" and data.models is None
    lines = (folder / "requirements.txt").read_text().splitlines()
    assert pin in lines and not [line for line in lines if line.startswith(("tensorflow", "keras", "scikit"))]


def test_with_keras_it_gets_the_weights_and_tensorflow(shipped: Bundle, tmp_path: Path) -> None:
    publishing.write_gradio(shipped, tmp_path, PageOptions(REPOSITORY, with_keras=True))
    lines = (tmp_path / "requirements.txt").read_text().splitlines()
    assert {line.partition(">")[0] for line in lines} >= {"tensorflow", "keras"}
    assert open_bundle(tmp_path / "demo" / "weights").intact == shipped.present


def test_the_bundle_has_what_runs_there(folder: Path, shipped: Bundle) -> None:
    copied = open_bundle(folder / "demo" / "weights")
    assert set(copied.intact) == set(shipped.present) - {"keras"}
    names = {path.relative_to(folder).parts[0] for path in folder.rglob("*")}
    assert names == {
        "app.py",
        "demo",
        "mobilevit_core",
        "Dockerfile",
        "LICENSE",
        "README.md",
        "requirements.txt",
        "thumbnail.png",
    }
    assert (
        not list(folder.rglob("*.pyc")) and not (folder / "demo" / "weights" / "report" / "photos").exists()
    )


@pytest.fixture(scope="module")
def running(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app as the Hub starts it, from its folder alone."""
    port = free_port()
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "TFDS_DATA_DIR")
    }
    environment |= {"SPACE_ID": REPOSITORY, "SYSTEM": "spaces", "GRADIO_SERVER_NAME": "0.0.0.0"}
    environment |= {"GRADIO_SERVER_PORT": str(port), "GRADIO_ANALYTICS_ENABLED": "False"}
    command = [sys.executable, "-c", START.format(without=WITHOUT)]
    with (tmp_path_factory.mktemp("log") / "app.log").open("w+") as log:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT)
        url = f"http://127.0.0.1:{port}/"
        if not is_up(url, process):
            process.kill()
            log.seek(0)
            pytest.fail(log.read())
        yield url
        process.terminate()
        process.wait(30)


def is_up(url: str, process: subprocess.Popen[bytes]) -> bool:
    """Waits until the page answers; False where it ended or takes too long."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until and process.poll() is None:
        try:
            httpx.get(f"{url}bundle/page.json", timeout=10).raise_for_status()
            return True
        except httpx.HTTPError:
            time.sleep(1)
    return False


def test_it_answers_without_tensorflow(running: str, folder: Path, shipped: Bundle, red_photo: Path) -> None:
    with Visitor(base_url=running, timeout=PATIENCE) as visitor:
        facts = visitor.get("bundle/page.json").json()
        assert "keras" not in [row["name"] for row in facts["formats"]] and not facts["explains"]
        assert len(facts["first"]) == 2 and facts["answering"] == "float32"
        answer = visitor.call("classify", visitor.upload(red_photo))[0]
        assert answer["scores"] == load_classifier(shipped.folder).predict(red_photo).to_json()["scores"]
        listed = visitor.get("examples/index.json").json()
        written = json.loads((folder / "demo" / "examples" / "index.json").read_text(encoding="utf-8"))
        assert listed == written and visitor.get(f"examples/{listed[0]['file']}").status_code == 200
        assert visitor.get("device/litert/core/wasm/litert_wasm_internal.wasm.gz").status_code == 200
        assert facts["teaches"] and visitor.get("trunk/bundle.json").json()["weights_sha256"]
        assert visitor.get("trunk/trunk_float16.tflite").status_code == 200
        assert "needs the Keras weights" in str(visitor.call("explain", visitor.upload(red_photo)))


def test_the_containers_health_check_is_answered(running: str) -> None:
    text = (publishing.PROJECT / "Dockerfile").read_text(encoding="utf-8")
    command = json.loads(text.partition("HEALTHCHECK")[2].partition("CMD ")[2].splitlines()[0])
    assert command[:2] == ["python", "-c"] and "7860" in command[2]
    port = running.rstrip("/").rpartition(":")[2]
    checked = [sys.executable, "-c", command[2].replace("7860", port)]
    assert subprocess.run(checked, check=False, timeout=PATIENCE).returncode == 0
    checked[-1] = command[2].replace("7860", "9")  # nothing is there
    done = subprocess.run(checked, check=False, capture_output=True, timeout=PATIENCE)
    assert done.returncode != 0
