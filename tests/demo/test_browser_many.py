"""Many photos in a real browser: named as they come, grouped, in a table, as CSV."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo import words
from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser


@pytest.fixture
def files(photo_folder: Path, tmp_path: Path, no_photo: Path) -> list[Path]:
    """Photos of two colours, one whose name is a formula, and a text file."""
    formula = tmp_path / "=1+1.jpg"
    formula.write_bytes((photo_folder / "blue" / "00.jpg").read_bytes())
    names = ("red/00.jpg", "red/01.jpg", "green/02.jpg", "green/03.jpg")
    return [*[photo_folder / name for name in names], formula, no_photo]


def named(page: "Page", files: list[Path], format: str = "float32") -> str:
    page.get_by_role("tab", name="Many photos").click()
    page.locator("#many-format").select_option(format)
    page.evaluate("byId('many-status').textContent = ''")  # of the photos before
    page.set_input_files("#photos", files)
    page.wait_for_function(
        f"document.querySelector('#many-status').innerText.startsWith('{len(files)} photo')"
    )
    return page.inner_text("#many-status")


def test_photos_are_named_and_grouped_as_they_come(page: "Page", shipped: Bundle, files: list[Path]) -> None:
    status = named(page, files)
    assert status.startswith("6 photos: ") and status.endswith("1 unreadable.")
    assert page.input_value("#photos") == ""  # the same photos can be chosen again, for another format
    classifier = load_classifier(shipped.folder)
    answers = [classifier.predict(path) for path in files[:-1]]
    groups = ["Unsure" if a.unknown else words.display(a.label, shipped.manifest) for a in answers]
    for group in set(groups):
        section = page.locator("section.group", has=page.get_by_role("heading", name=f"{group} "))
        assert section.locator("img").count() == groups.count(group)
        if group != "Unsure":  # the least sure first
            shown = section.locator("img").evaluate_all("images => images.map(image => image.alt)")
            mine = [(a.score, p.name) for a, p, g in zip(answers, files, groups, strict=False) if g == group]
            assert shown == [name for _, name in sorted(mine)]
    unreadable = page.locator(
        "section.group", has=page.get_by_role("heading", name="Unreadable")
    ).inner_text()
    assert "holiday.jpg" in unreadable and "is not a JPEG" in unreadable


def test_the_table_sorts(page: "Page", files: list[Path]) -> None:
    named(page, files)
    page.get_by_role("button", name="Table").click()
    assert not page.locator("#groups").is_visible()
    cells = "rows => rows.map(row => row.cells[2].innerText)"
    for way in ("ascending", "descending"):
        page.locator("#sheet").get_by_role("button", name="How sure").click()
        assert page.locator("#sheet th").nth(2).get_attribute("aria-sort") == way
        shares = page.locator("#sheet tbody tr").evaluate_all(cells)
        numbers = [float("".join(sign for sign in text if sign.isdigit()) or -1) for text in shares]
        assert len(numbers) == len(files)
        assert numbers == sorted(numbers, reverse=way == "descending")


def test_the_csv_has_everything_and_no_formula(page: "Page", shipped: Bundle, files: list[Path]) -> None:
    named(page, files, "int8")
    with page.expect_download() as download:
        page.get_by_role("button", name="Download as CSV").click()
    text = Path(download.value.path()).read_text(encoding="utf-8-sig")
    rows = {row["photo"]: row for row in csv.DictReader(io.StringIO(text))}
    assert set(rows) == {"'=1+1.jpg", *(path.name for path in files if not path.name.startswith("="))}
    classifier = load_classifier(shipped.folder, "int8")
    for path in files[:-2]:
        row, answer = rows[path.name], classifier.predict(path)
        assert (row["answer"], row["unknown"], row["format"]) == (
            answer.label,
            str(answer.unknown).lower(),
            "int8",
        )
        scores = [float(row[name]) for name in shipped.manifest.class_names]
        assert scores == pytest.approx(answer.probabilities.tolist(), abs=1e-4)
    assert "is not a JPEG" in rows["holiday.jpg"]["problem"] and rows["holiday.jpg"]["answer"] == ""


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n=1"]


def test_no_cell_is_a_formula(page: "Page") -> None:
    assert page.evaluate("texts => texts.map(csvCell)", FORMULAS) == [f'"\'{text}"' for text in FORMULAS]
    assert page.evaluate("csvCell('rose; =1;-2;a')") == "\"rose;' =1;'-2;a\""
    assert page.evaluate("values => values.map(csvCell)", [0.5, "rose", None, 'a"b']) == [
        "0.5",
        '"rose"',
        '""',
        '"a""b"',
    ]
