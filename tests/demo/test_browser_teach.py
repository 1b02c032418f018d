"""Teaching in a real browser: photographs in, new classes on the page and in the camera."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from demo.comparison import Comparison
from mobilevit_core.bundle.bundle import Bundle
from tests.demo.looking import closed, opened
from tests.demo.test_browser_accessible import violations
from tests.demo.test_browser_device import NEEDS_LITERT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

STATUS = "document.querySelector('#teach-status').innerText"
COLOURS = ("red", "blue")
TABS = ("One photo", "Many photos", "Teach it", "How good is it?")


def fill(page: "Page", photo_folder: Path) -> None:
    """Fills two classes with seven photographs each."""
    page.locator("#lesson li.card").nth(1).wait_for()
    assert page.locator("#train").is_disabled()
    for place, name in enumerate(COLOURS):
        card = page.locator("#lesson > li").nth(place)
        card.locator("input[type=text]").fill(name)
        card.locator("input[type=file]").set_input_files(sorted((photo_folder / name).iterdir())[:7])
        page.locator("#lesson > li").nth(place).get_by_text("7 photos").wait_for()


def teach(page: "Page", photo_folder: Path) -> None:
    """Teaches two classes."""
    page.get_by_role("tab", name="Teach it").click()
    fill(page, photo_folder)
    page.locator("#train").click()
    page.wait_for_function(
        "!document.querySelector('#taught-zip').hidden && document.querySelector('#taught-title').innerText",
        timeout=600_000,
    )


@NEEDS_LITERT
def test_new_classes_are_taught_tried_seen_live_and_left_behind(
    browser: "Browser", serve: Callable[..., str], small_bundle: Bundle, photo_folder: Path
) -> None:
    url = serve(shown=Comparison(small_bundle), teach=True)
    page = opened(browser, url)
    teach(page, photo_folder)
    assert "of 14 photos" in page.inner_text("#taught-title")
    assert page.inner_text("#taught-how").startswith("95 % interval: ")
    for name in COLOURS:
        page.set_input_files("#taught-photo", photo_folder / name / "09.jpg")
        page.wait_for_function(f"document.querySelector('#taught-name').innerText === '{name}'")
    assert page.locator("#taught .bars [role=meter]").count() == 2
    assert violations(page) == []
    page.locator("#taught-live").click()
    page.wait_for_function("document.querySelector('#lens-said').innerText.includes('Nothing leaves')")
    page.locator("#taught-live").click()
    page.locator("#lens").wait_for(state="hidden")
    link = page.get_attribute("#taught-zip", "href")
    assert link and httpx.get(link).status_code == 200
    closed(page)
    other = browser.new_page()
    for _ in range(100):  # the browser tells the server in its own time
        if httpx.get(link).status_code == 404:
            break
        other.wait_for_timeout(100)
    assert httpx.get(link).status_code == 404
    other.close()


def test_a_lesson_is_made_with_names_photos_and_camera(
    browser: "Browser", serve: Callable[..., str], small_bundle: Bundle, photo_folder: Path
) -> None:
    page = opened(browser, serve(shown=Comparison(small_bundle), teach=True), 390)
    assert all(page.get_by_role("tab", name=name).is_visible() for name in TABS)  # none hides in a menu
    page.get_by_role("tab", name="Teach it").click()
    page.get_by_role("button", name="Add a class").click()
    cards = page.locator("#lesson > li")
    assert cards.count() == 3
    page.get_by_role("button", name="Remove thing 3").click()
    assert cards.count() == 2 and not page.get_by_role("button", name="Remove thing 1").count()
    assert cards.nth(0).locator(".shoot").is_disabled()
    page.locator("#shooting").click()
    page.wait_for_function("document.querySelector('#lens video').videoWidth > 0")
    for count in (1, 2):
        cards.nth(0).locator(".shoot").click()
        cards.nth(0).get_by_text(f"{count} photo{'s' * (count > 1)}; at least 5").wait_for()
    page.get_by_role("button", name="Remove photo 1").click()
    cards.nth(0).get_by_text("1 photo; at least 5").wait_for()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("tab", name="One photo").click()  # the camera stops with its tab
    page.wait_for_function("document.querySelector('#lens').hidden")
    closed(page)


def test_a_photo_that_nobody_can_read_is_told(
    browser: "Browser", serve: Callable[..., str], small_bundle: Bundle, tmp_path: Path
) -> None:
    page = opened(browser, serve(shown=Comparison(small_bundle), teach=True))
    page.get_by_role("tab", name="Teach it").click()
    for place, name in enumerate(COLOURS):
        bad = [tmp_path / f"{place}{number}.jpg" for number in range(5)]
        for path in bad:
            path.write_text(f"no photograph {name} {path.name}")
        page.locator("#lesson > li").nth(place).locator("input[type=text]").fill(name)
        page.locator("#lesson > li").nth(place).locator("input[type=file]").set_input_files(bad)
        page.locator("#lesson > li").nth(place).get_by_text("5 photos").wait_for()
    page.locator("#train").click()
    page.wait_for_function(f"{STATUS}.includes('0 photographs can be read')")
    assert "00.jpg is not a JPEG" in page.inner_text("#teach-status")
    assert not page.locator("#taught").is_visible() and page.locator("#train").is_enabled()
    closed(page)
