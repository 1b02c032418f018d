"""The page in a real browser: a photograph goes in, two answers with their latencies come out."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo.comparison import Comparison
from demo.interface import LAUNCH, build
from mobilevit_core.bundle import Bundle
from mobilevit_core.formats import FORMATS
from mobilevit_core.photo_dataset import PhotoDataset

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium. To get it on Debian: apt-get install chromium"),
]


@pytest.fixture(scope="module")
def url(shipped: Bundle) -> Iterator[str]:
    page = build(Comparison(shipped))
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    yield url
    page.close()


@pytest.fixture(scope="module")
def browser() -> "Iterator[Browser]":
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield browser
        browser.close()


def answered(page: "Page") -> str:
    page.wait_for_function("document.querySelector('#summary').innerText.includes('Preparing')")
    return page.inner_text("body")


@pytest.mark.photographs
def test_a_flower_gets_an_answer_from_every_runtime(
    browser: "Browser",
    url: str,
    tf_flowers: PhotoDataset,
    shipped: Bundle,
    tmp_path: Path,
) -> None:
    flower = tmp_path / "flower.jpg"
    flower.write_bytes(tf_flowers.part("test")[0].source)
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.goto(url)
    page.set_input_files("input[type=file]", flower)
    text = answered(page)
    for name in shipped.contract.class_names:
        assert text.count(name) >= len(FORMATS)  # in every list
    for fmt in FORMATS.values():
        assert fmt.title in text
    assert len(re.findall(r"[\d.]+ ms median, [\d.]+ ms p95 of 20 runs", text)) == len(FORMATS)
    page.close()


@pytest.mark.parametrize("width", [390, 1366])
def test_a_text_file_gets_a_sentence_and_the_page_goes_on(
    browser: "Browser",
    url: str,
    tmp_path: Path,
    photo_folder: Path,
    width: int,
) -> None:
    text = tmp_path / "holiday.jpg"
    text.write_text("no photograph")
    page = browser.new_page(viewport={"width": width, "height": 800})
    problems: list[str] = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    page.locator(".gallery-item").first.click()  # an example answers by itself
    assert "median" in answered(page)
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.get_by_text("Give it a photograph").wait_for()
    page.set_input_files("input[type=file]", text)
    page.get_by_text("is not a JPEG").first.wait_for()
    assert "median" not in page.inner_text("body")  # no older answer beside it
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.set_input_files("input[type=file]", photo_folder / "red" / "00.jpg")
    assert "median" in answered(page)
    assert not problems
    page.close()
