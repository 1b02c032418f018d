import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.cli import app
from mobilevit_core.commands.evaluate import evaluate
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError


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
    assert "the test split has 3 photos, it had 5 when the bundle was trained" in message


def test_a_folder_of_one_class_is_evaluated(small_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(photo_folder / "red", tmp_path / "own" / "red")
    arguments = ["evaluate", small_bundle.folder, "--data", tmp_path / "own", "--split", "all"]
    arguments += ["--format", "float32"]
    shown = CliRunner().invoke(app, [*map(str, arguments)])
    assert shown.exit_code == 0, shown.output
    count = len(list((photo_folder / "red").iterdir()))
    assert f"on {count} photos of own, all split" in " ".join(shown.stdout.split())
    assert "green" not in shown.stdout  # there are no photos of it, so nothing to say
    row = evaluate(small_bundle, str(tmp_path / "own"), "all", format="float32").figures["formats"]["float32"]
    assert row["photos"] == count and row["accuracy"] == row["per_class"]["red"]["recall"]
    assert row["interval_95"][0] < row["accuracy"] <= row["interval_95"][1] + 1e-9


def test_a_list_and_a_zip_of_one_class_are_evaluated_but_not_trained_on(
    small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(photo_folder / "blue", tmp_path / "own" / "blue")
    names = sorted(path.name for path in (tmp_path / "own" / "blue").iterdir())
    listing = tmp_path / "own" / "list.csv"
    listing.write_text("path,label\n" + "".join(f"blue/{name},blue\n" for name in names))
    archive = Path(shutil.make_archive(str(tmp_path / "zipped"), "zip", tmp_path / "own", "blue"))
    for data in (listing, archive):
        evaluated = evaluate(small_bundle, str(data), "all", format="float32")
        assert evaluated.figures["formats"]["float32"]["photos"] == len(names)
        with pytest.raises(UserError, match=r"A classifier needs at least two"):
            load_dataset(data)
