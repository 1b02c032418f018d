"""The report's figures and page, and photos of classes that a bundle does not know."""

import json
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.cli import app
from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.dataset import NONE_OF_THESE, LabelledPhoto, PhotoDataset
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.data.provenance import DIGITS, Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation import format_comparison
from mobilevit_core.evaluation import plots as report_plots
from mobilevit_core.evaluation.metrics import separation
from mobilevit_core.evaluation.report import render, robustness_split
from mobilevit_core.evaluation.robustness import DISTORTIONS
from tests.conftest import SHIPPED
from tests.drawing import draw_folder, read_manifest


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_evaluate_records_figures_and_a_page(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    shutil.copy(small_bundle.folder.parent / "config.json", tmp_path)  # the run
    rows = ["epoch,accuracy,loss,val_accuracy,val_loss,image_size", "0,.5,1,.6,.9,64", "1,.6,.9,.7,.8,128"]
    (folder / "history.csv").write_text("\n".join(rows))
    printed = run("evaluate", folder, "--split", "validation", "--format", "float32", "--record")
    assert "95 % interval" in printed and "validation split" in printed
    recorded = json.loads((folder / "bundle.json").read_text())["metrics"]["validation"]
    report = json.loads((folder / "report" / "report.json").read_text())
    assert recorded == report["figures"] and recorded["formats"]["float32"]["photos"] == 3
    calibration, original = report["calibration"], small_bundle.manifest.calibration
    for when in ("before", "after"):  # on the split that it was fitted on, the bundle's own figures
        error = original["expected_calibration_error"][when]
        assert calibration[when]["expected_calibration_error"] == pytest.approx(error, abs=1e-4)
    assert set(report["robustness"]["accuracy"]) == set(DISTORTIONS)
    assert report["robustness"]["accuracy"]["as it is"] == recorded["formats"]["float32"]["accuracy"]
    page = (folder / "report" / "index.html").read_text()
    assert page.count("<svg") == 4  # confusion, reliability, robustness, training
    assert "<strong>0 of them were trained on, and\n3 were used to choose something" in page
    for name in (*small_bundle.manifest.class_names, *DISTORTIONS):
        assert name in page
    # Nothing about flowers, and nothing of what other packages have installed.
    assert "flower" not in page.lower() and "leaves" not in page
    assert (
        report["unknown"]["all"] is None and "evaluate --ood" in page
    )  # nobody gave photos of anything else
    wrong = round(3 * (1 - recorded["formats"]["float32"]["accuracy"]))
    assert len(report["mistakes"]) == wrong == page.count("<img")
    for mistake in report["mistakes"]:
        with Image.open(folder / "report" / "photos" / f"{mistake['position']}.jpg") as image:
            assert max(image.size) <= 320


def test_all_variants_are_compared_and_written_down(
    small_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(format_comparison, "RUNS", 12)
    folder = shutil.copytree(small_bundle.folder, tmp_path / "bundle")
    shutil.copy(small_bundle.folder.parent / "config.json", tmp_path)  # the run
    embedded = read_manifest(folder / FORMATS["int8"].file)
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- formats -->\nold\n<!-- end of formats -->\nafter\n")
    printed = run("evaluate", folder, "--split", "validation", "--all-formats", "--readme", readme)
    figures = json.loads((folder / "bundle.json").read_text())["metrics"]["validation"]
    rows = figures["comparison"]["rows"]
    assert list(rows) == list(FORMATS) == list(figures["formats"])
    assert rows["keras"]["parity"]["largest_difference"] == 0
    assert rows["float32"]["parity"]["top1_agreement"] == 1
    text = readme.read_text()
    assert text.startswith("before\n<!-- formats -->\n| format") and text.endswith("-->\nafter\n")
    page = (folder / "report" / "index.html").read_text()
    for name, fmt in FORMATS.items():
        line = next(line for line in text.splitlines() if line.startswith(f"| {fmt.title} |"))
        assert line in printed and f"{rows[name]['latency_ms']['2']['p50']:.1f} / " in line
        assert fmt.title in page and fmt.holds in page
    assert read_manifest(folder / FORMATS["int8"].file) == embedded and "metrics" not in embedded
    plain = tmp_path / "plain.md"
    plain.write_text("no place")
    result = CliRunner().invoke(app, ["evaluate", str(folder), "--all-formats", "--readme", str(plain)])
    assert result.exit_code == 2 and "has no place for the table" in result.stderr


def test_odd_class_names_and_many_classes_make_a_page() -> None:
    names = ["5$ & 10$", "$^$", "<b>rose</b>", *(f"kind {number}" for number in range(22))]
    matrix = np.eye(len(names), dtype=int).tolist()
    drawn = report_plots.confusion(matrix, names)
    assert "5$ &amp; 10$" in drawn and "&lt;b&gt;rose" in drawn and "<b>rose" not in drawn


def test_distorted_are_photos_of_the_classes_that_were_not_trained_on() -> None:
    cat, dog, cup = (
        LabelledPhoto(name, label, name.encode()) for label, name in enumerate(("cat", "dog", "cup"))
    )
    splits = {"train": (), "validation": (cat, cup), "test": (dog, cup)}
    dataset = PhotoDataset(
        "pets", "default", ("cat", "dog", NONE_OF_THESE), splits, other_class=NONE_OF_THESE
    )

    def after(*trained_on: LabelledPhoto) -> str | None:
        return robustness_split(dataset, Provenance(frozenset(photo.sha256[:DIGITS] for photo in trained_on)))

    assert robustness_split(dataset, None) == after() == after(cup) == "validation"  # a cup is of no class
    assert after(cat) == "test" and after(cat, dog) is None


def test_evaluation_says_what_the_bundle_has_seen(
    small_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    def seen(*arguments: object) -> dict[str, int]:
        return json.loads(run("evaluate", small_bundle.folder, "--format", "float32", "--json", *arguments))[
            "provenance"
        ]

    assert seen("--split", "test") == {"trained_on": 0, "chosen_by": 0}
    assert seen("--split", "validation") == {"trained_on": 0, "chosen_by": 3}
    assert seen("--split", "all") == {"trained_on": 24, "chosen_by": 3}
    warned = CliRunner().invoke(
        app, ["evaluate", str(small_bundle.folder), "--data", str(photo_folder), "--split", "all"]
    )
    assert "24 of these photos were trained on" in warned.stderr
    other = shutil.copytree(photo_folder, tmp_path / "other")
    next(other.rglob("*.jpg")).unlink()
    refused = CliRunner().invoke(
        app, ["evaluate", str(small_bundle.folder), "--data", str(other), "--record"]
    )
    assert refused.exit_code == 2 and "--record stores what the bundle does on its own data" in refused.stderr


def test_distortions_change_the_image_and_keep_it_a_photo() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    image = Image.fromarray(pixels)
    for name, distort in DISTORTIONS.items():
        result = distort(image)
        assert result.mode == "RGB" and min(result.size) >= 40, name
        assert np.array_equal(np.asarray(result), pixels) == (name == "as it is"), name
    assert np.array_equal(np.asarray(image), pixels)  # none of them works in place


def test_separation_of_known_cases() -> None:
    sure, unsure = np.array([[0.9, 0.1]] * 4), np.array([[0.6, 0.4]] * 6)
    rule = RejectionRule(0.7, 0.05, 100)
    assert separation(rule, sure, unsure) == {
        "auroc": 1.0,
        "detection_rate": 1.0,
        "tpr_at_5_percent_fpr": 1.0,
        "false_rejection_rate": 0.0,
        "photos": 6,
    }
    assert separation(rule, sure, sure)["auroc"] == 0.5


def test_classes_that_the_bundle_does_not_know(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = draw_folder(tmp_path / "photos")
    with pytest.raises(UserError, match="no class 'violet'. It has: blue, green, red"):
        load_dataset(DataChoice((str(folder),), without=("violet",)))
    fewer = load_dataset(DataChoice((str(folder),), without=("blue",)))
    assert fewer.class_names == ("green", "red") and fewer.describe()["without"] == ["blue"]
    assert {photo.label for photo in fewer.split("train")} == {0, 1}
    assert {Path(photo.name).parent.name for photo in fewer.split("test")} == {"green", "red"}
    (folder / "blue").rename(folder / "violet")
    figures = json.loads(run("unknown", small_bundle.folder, "--data", folder, "--json"))["unknown"]
    assert set(figures) == {"violet"} and 0 <= figures["violet"]["auroc"] <= 1
    result = CliRunner().invoke(app, ["unknown", str(small_bundle.folder), "--data", str(tmp_path / "no")])
    assert result.exit_code == 2


class Tags(HTMLParser):
    """What a page consists of: its elements with their attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))


HOSTILE = "<script>a()</script><img src=x onerror='a()'>"


def spoiled(value: Any) -> Any:
    """The same with markup in the place of every text."""
    if isinstance(value, dict):
        return {key: spoiled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [spoiled(item) for item in value]
    return HOSTILE if isinstance(value, str) else value


def hostile_report() -> dict[str, Any]:
    """The shipped bundle's report with markup in every text, and in the names of classes and values."""
    report = json.loads((SHIPPED / "report" / "report.json").read_text())
    spoilt = {**spoiled(report), "main": report["main"], "history": report["history"]}
    main = spoilt["figures"]["formats"][report["main"]]
    for section, key in (
        (main, "per_class"),
        (spoilt["bundle"], "recipe"),
        (spoilt["robustness"], "accuracy"),
    ):
        section[key] = {f"{HOSTILE} {name}": value for name, value in section[key].items()}
    return spoilt


def test_a_page_begins_with_what_matters_and_its_contents() -> None:
    report = json.loads((SHIPPED / "report" / "report.json").read_text())
    page = render(report, [])
    main = report["figures"]["formats"][report["main"]]
    weakest = min(main["per_class"], key=lambda name: main["per_class"][name]["recall"])
    smallest = min(file["bytes"] for file in report["bundle"]["files"].values())
    headline = page[page.index('<dl class="headline">') : page.index("</dl>")]
    for figure in (f"{main['accuracy'] * 100:.1f} %", f"{smallest / 1e6:.1f} MB", weakest, " ms"):
        assert f"<strong>{figure}" in headline or f"{figure}</strong>" in headline
    contents = Tags(page[page.index("<nav") : page.index("</nav>")]).elements
    links = [str(attributes["href"]) for tag, attributes in contents if tag == "a"]
    headings = [f"#{attributes.get('id')}" for tag, attributes in Tags(page).elements if tag == "h2"]
    assert links == headings and len(set(links)) == len(links) > 6
    assert page.index("</nav>") < page.index("<h2")
    folded = page[page.index("<details>") : page.index("</details>")]
    assert all(name in folded for name in report["bundle"]["recipe"])
    images = [attributes for tag, attributes in Tags(page).elements if tag == "img"]
    assert len(images) == len(report["mistakes"]) and {image["alt"] for image in images} == {""}
    del report["figures"]["comparison"]
    report["calibration"] = report["unknown"] = None
    assert "whatever it is shown, it names one of them" not in page
    plain = render(report, [])
    assert "whatever it is shown, it names one of them" in plain
    assert "#formats" not in plain and "#none" not in plain and " ms</strong>" not in plain


def test_a_report_runs_nothing_and_loads_nothing() -> None:
    report = hostile_report()
    page = render(report, [HOSTILE])
    assert page.count("&lt;script&gt;a()") > 30
    elements = Tags(page).elements
    tags = {tag for tag, _ in elements}
    assert not tags & {"script", "iframe", "object", "embed", "link", "base", "form", "foreignobject"}
    for tag, attributes in elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("href", "xlink:href"):  # parts of the same drawing, and the confusion matrix's cells
            assert str(attributes.get(name, "#")).startswith(("#", "data:image/png")), tag
    mistakes = [f"photos/{mistake['position']}.jpg" for mistake in report["mistakes"]]
    assert [attributes["src"] for _, attributes in elements if "src" in attributes] == mistakes
    policies = [a["content"] for tag, a in elements if tag == "meta" and a.get("http-equiv")]
    (policy,) = policies
    assert dict(split.split(" ", 1) for split in policy.split("; ")) == {
        "default-src": "'none'",
        "style-src": "'unsafe-inline'",
        "img-src": "'self' data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert policy in (SHIPPED / "report" / "index.html").read_text()
