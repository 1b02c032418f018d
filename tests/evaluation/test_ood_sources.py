import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.cli import app
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.evaluation.ood_sources import rejection_by_source
from tests.drawing import noise_folder


def test_every_source_has_its_figures(small_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    classifier = load_classifier(small_bundle.folder)
    known = Measured.of([classifier], load_dataset(str(photo_folder)), "test").first
    source = str(noise_folder(tmp_path / "things", {"": 3, "cups": 4}, 1))
    rows = rejection_by_source(classifier, known, [source, str(photo_folder)])
    trained = len(load_dataset(str(photo_folder)).split("train"))
    assert rows["things"]["trained_on"] == 0 and rows[photo_folder.name]["trained_on"] == trained
    assert list(rows) == ["things", photo_folder.name] and rows["things"]["photos"] == 7
    # Photos of the classes themselves are not found; whatever is found lies between none and all.
    assert rows[photo_folder.name]["detection_rate"] < 0.5 and 0 <= rows["things"]["detection_rate"] <= 1
    with pytest.raises(UserError, match="There is no folder"):
        rejection_by_source(classifier, known, ["no/such/folder"])
    with pytest.raises(UserError, match="Two sources are called things"):
        rejection_by_source(classifier, known, [source, source])


def test_the_command_prints_and_records_it(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    shutil.copy(small_bundle.folder.parent / "config.json", tmp_path)  # the run knows where the photos lie
    things = str(noise_folder(tmp_path / "things", {"cups": 4}, 1))
    command = ["evaluate", str(folder), "--split", "validation", "--format", "float32", "--record"]
    result = CliRunner().invoke(app, [*command, "--ood", things])
    assert result.exit_code == 0, result.output
    assert "TPR at 5 %" in result.stdout and "things" in result.stdout
    recorded = open_bundle(folder).manifest.metrics["validation"]["rejection"]
    assert recorded["things"]["photos"] == 4
    page = (folder / "report" / "index.html").read_text()
    assert "<td>things</td>" in page and str(tmp_path) not in page.split('id="robustness"')[1]
    assert "of 4 photos of anything else" in " ".join(page.split())
    again = CliRunner().invoke(app, command)  # the page shows what was recorded before, too
    assert again.exit_code == 0 and "<td>things</td>" in (folder / "report" / "index.html").read_text()
