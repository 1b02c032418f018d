import json
import shutil
from pathlib import Path

import pytest

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.commands.evaluate import evaluate


def test_data_that_changed_since_the_training_are_told(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    shutil.copy(small_bundle.folder.parent / "config.json", tmp_path)  # the run
    evaluate(folder, format="float32")
    assert "changed" not in capsys.readouterr().err
    path = folder / "bundle.json"
    manifest = json.loads(path.read_text())
    manifest["data"]["photos"]["test"], manifest["data"]["digest"] = 5, "0" * 64
    path.write_text(json.dumps(manifest))
    evaluate(folder, format="float32")
    message = " ".join(capsys.readouterr().err.split())
    assert "the test split has 3 photographs, it had 5 when the bundle was trained" in message
