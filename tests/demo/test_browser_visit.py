"""What a visitor does with the page: drops and pastes photos, goes back, reloads, passes an answer on."""

import base64
import html
import io
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from demo import gallery
from demo.comparison import Comparison
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.evaluation.examples import write_examples
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.inference.classifier import load_classifier
from tests.demo.looking import COMPARED, PHOTO, closed, give, opened

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
# Files and text as an event brings them: [[name, type, base64], ...], text.
BROUGHT = """([files, text]) => {
  const brought = new DataTransfer();
  for (const [name, type, content] of files) {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    brought.items.add(new File([bytes], name, { type }));
  }
  if (text) brought.setData("text/plain", text);
  return brought;
}"""
COPIED = """async () => {
  const [item] = await navigator.clipboard.read();
  const reader = new FileReader();
  reader.readAsDataURL(await item.getType("image/png"));
  await new Promise((done) => { reader.onload = done; });
  return reader.result.split(",")[1];
}"""
PASTE = """(clipboardData) => {
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true }));
}"""


def brought(page: "Page", photos: list[Path], text: str = "") -> object:
    files = [[path.name, "image/jpeg", base64.b64encode(path.read_bytes()).decode()] for path in photos]
    return page.evaluate_handle(BROUGHT, [files, text])


def test_photos_dropped_anywhere_are_named(page: "Page", photo_folder: Path) -> None:
    photos = sorted((photo_folder / "red").iterdir())
    page.get_by_role("tab", name="How good is it?").click()
    event = {"dataTransfer": brought(page, photos[:1])}
    page.dispatch_event("footer", "dragover", event)
    assert page.evaluate("getComputedStyle(document.body, '::after').content") == '"Drop photos here"'
    page.dispatch_event("footer", "drop", event)
    page.wait_for_function(COMPARED)
    assert "dropping" not in page.evaluate("document.body.className")
    assert page.url.endswith("#one") and page.locator("#shown").is_visible()
    page.dispatch_event("body", "drop", {"dataTransfer": brought(page, photos[:3])})
    page.get_by_text("3 photos: ").wait_for()
    assert page.url.endswith("#many")


def test_a_pasted_picture_is_named_and_an_address_gets_a_sentence(page: "Page", red_photo: Path) -> None:
    before = page.get_attribute("#shown", "src")
    page.evaluate(PASTE, brought(page, [red_photo]))
    page.wait_for_function(f"document.querySelector('#shown').src !== {before!r} && {COMPARED}")
    page.evaluate(PASTE, brought(page, [], "https://example.org/rose.jpg"))
    assert "This page fetches nothing from other sites." in page.inner_text("#problem")


def test_back_and_reload_keep_the_tab_and_lose_no_answers_unasked(
    browser: "Browser", served: str, photo_folder: Path
) -> None:
    page = opened(browser, served)
    asked = []
    page.on("dialog", lambda dialog: (asked.append(dialog.type), dialog.accept()))
    page.get_by_role("tab", name="How good is it?").click()
    page.get_by_role("tab", name="Many photos").click()
    page.go_back()
    page.locator("#good").wait_for()
    page.go_back()
    page.locator("#one").wait_for()
    page.reload()
    page.wait_for_function(COMPARED)
    assert not asked
    page.set_input_files(PHOTO, sorted((photo_folder / "red").iterdir())[:3])
    page.get_by_text("3 photos: ").wait_for()
    with page.expect_request(lambda request: "int8" in str(request.post_data)):
        page.locator("#many-format").select_option("int8")  # answers again
    page.get_by_text("3 photos: ").wait_for()
    page.locator("#as-table").click()
    page.reload()
    assert asked == ["beforeunload"]
    page.locator("#many").wait_for()
    closed(page)


def test_reload_shows_a_visitors_own_photo_again(page: "Page", red_photo: Path) -> None:
    give(page, red_photo)
    page.wait_for_function("sessionStorage.length === 1")
    answer = page.inner_text("#bars")
    page.reload()
    page.wait_for_function(COMPARED)
    assert not page.locator("#examples [aria-pressed=true]").count()
    assert page.inner_text("#bars") == answer
    page.locator("#examples button").last.click()
    page.wait_for_function(f"sessionStorage.length === 0 && {COMPARED}")


def test_the_table_is_copied_as_markdown(page: "Page") -> None:
    page.get_by_role("button", name="Copy as Markdown").click()
    page.get_by_role("button", name="Copied").wait_for()
    head, rule, *lines = page.evaluate("navigator.clipboard.readText()").splitlines()
    assert head == "| format | answer | This server, ms (slow case) | this device, ms (slow case) |"
    assert rule == "| --- | --- | ---: | ---: |"
    shown = page.locator("#formats tbody tr").filter(visible=True)
    for line, row in zip(lines, shown.all(), strict=False):
        title, answer, there, here = (cell.strip() for cell in line.strip("|").split("|"))
        assert row.inner_text().startswith(title)
        assert [answer, there, here] == row.locator("td").all_inner_texts()
    assert lines[shown.count()] == "" and html.unescape(lines[-1]) == page.inner_text("#speed")
    for name in ("<img src=x>", "a | b", "[a](https://b.example)", "@a", "`a`", "www.b.example", "a\nb"):
        text = page.evaluate("name => plain(name)", name)
        assert html.unescape(text) == name.replace("\n", " ")
        assert not re.search(r"[<>`|[\]]|://|@|www|\n", text), text


def test_an_answer_is_passed_on_as_a_picture(page: "Page", red_photo: Path) -> None:
    page.locator("#private").check()
    give(page, red_photo)
    page.get_by_role("button", name="Share").click()
    page.get_by_text("The card is copied.").wait_for()
    content = page.evaluate(COPIED)
    with Image.open(io.BytesIO(base64.b64decode(content))) as card:
        assert card.size == (1080, 1350)


def test_a_card_that_can_not_be_copied_is_saved(page: "Page", red_photo: Path, tmp_path: Path) -> None:
    page.evaluate("() => { navigator.clipboard.write = () => Promise.reject(new Error('refused')); }")
    page.locator("#private").check()
    give(page, red_photo)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Share").click()
    with Image.open(saved.value.path()) as card:
        assert (card.size, card.format) == ((1080, 1350), "PNG")
        # The photo, then a headline and two lines of text on the ground.
        assert len(card.convert("RGB").crop((60, 1000, 1020, 1100)).getcolors(100_000)) > 10


def test_the_next_photo_has_no_faded_frame(page: "Page") -> None:
    page.locator("#look").fill("60")
    page.wait_for_function("document.querySelector('#looked').innerText.startsWith('for ')")
    assert page.locator("#crop.quiet").count() == 1
    page.locator("#examples button").last.click()
    page.locator("#examples li:last-child button[aria-pressed=true]").wait_for()  # not the one before
    page.wait_for_function(COMPARED)
    assert page.locator("#crop.quiet").count() == 0 and page.locator("#map").is_hidden()
    assert page.input_value("#look") == "0"


@pytest.fixture
def with_examples(small_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> Bundle:
    """A bundle as `train` leaves it: six photos that were held out, the third answered wrong."""
    bundle = open_bundle(shutil.copytree(small_bundle.folder, tmp_path / "bundle"))
    dataset, classifier = load_dataset(str(photo_folder)), load_classifier(bundle)
    held_out = (*dataset.split("validation"), *dataset.split("test"))
    held_out = (*held_out[:-1], replace(held_out[-1], label=(held_out[-1].label + 1) % 3))
    dataset = replace(dataset, splits={**dataset.splits, "test": held_out})
    write_examples(classifier, Measured.of([classifier], dataset, "test"))
    return bundle


def test_a_page_opens_on_the_photos_that_its_bundle_brings(
    browser: "Browser", serve: Callable[..., str], with_examples: Bundle, tmp_path: Path
) -> None:
    page = opened(browser, serve(shown=Comparison(with_examples)))
    assert page.get_attribute("#examples button[aria-pressed=true]", "data-file") == "1.jpg"
    assert page.inner_text("#verdict") == "✓ right"
    page.locator("#examples [data-file='3.jpg']").click()
    page.wait_for_function("document.querySelector('#verdict').innerText.startsWith('✗ wrong: this is')")
    assert page.inner_text("#tally") == "1 of 2 examples right so far."
    closed(page)
    for with_own in (True, False):  # a page that is published has them only where it is asked for
        gallery.bring_along(with_examples, tmp_path / f"examples-{with_own}", with_own)
        assert (tmp_path / f"examples-{with_own}" / "1.jpg").exists() is with_own


def test_what_was_trained_on_is_not_judged(
    browser: "Browser", serve: Callable[..., str], with_examples: Bundle
) -> None:
    listed = with_examples.folder / "examples" / "examples.json"
    listed.write_text(listed.read_text().replace("false", "true"))
    page = opened(browser, serve(shown=Comparison(with_examples)))
    assert page.locator("#examples button").first.inner_text().endswith("(trained on)")
    assert page.inner_text("#verdict") == ""
    closed(page)
