"""The page in a real browser: a photograph goes in, two answers with their latencies come out."""

import base64
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from demo.comparison import Comparison
from demo.interface import LAUNCH, build
from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import PhotoDataset
from tests.demo.visitor import Visitor

if TYPE_CHECKING:
    from typing import Literal

    from playwright.sync_api import Browser, Frame, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
PHOTO = "#photo input[type=file]"
MEASURED = "n => (document.body.innerText.match(/ms median, [\\d.]+ ms p95 of 20 runs/g) || []).length === n"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]

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
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *CAMERA])
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
    flower.write_bytes(tf_flowers.split("test")[0].source)
    page = browser.new_page(viewport={"width": 1366, "height": 768})
    page.goto(url)
    page.set_input_files(PHOTO, flower)
    page.wait_for_function(MEASURED, arg=2)  # the TFLite answer comes first, Keras's when it is loaded
    text = answered(page)
    for name in shipped.manifest.class_names:
        assert text.count(name) >= 2  # in both lists
    assert FORMATS["keras"].title in text and FORMATS["dynamic_int8"].title in text
    page.get_by_text("Other weights").click()
    page.get_by_label(FORMATS["int8"].title, exact=True).check()
    page.wait_for_function(MEASURED, arg=3)
    page.get_by_label("Show what it looked at").check()
    page.get_by_text("What speaks for").wait_for()
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
    page.locator("#examples .thumbnail-item").first.click()  # an example answers by itself
    assert "median" in answered(page)
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.get_by_text("No photograph yet").wait_for()
    page.set_input_files(PHOTO, text)
    page.get_by_text("is not a JPEG").first.wait_for()
    assert "median" not in page.inner_text("body")  # no older answer beside it
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_label("Remove Image").or_(page.get_by_label("Clear")).first.click()
    page.set_input_files(PHOTO, photo_folder / "red" / "00.jpg")
    assert "median" in answered(page)
    assert not problems
    page.close()


PANEL = Path(__file__).parents[2] / "demo" / "device"
READY = "() => window.device !== undefined"
ASK = """async (encoded) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  if (!window.device.state.model) await window.device.loadModel();
  return window.device.answer(new Blob([bytes]));
}"""


def panel_of(page: "Page", url: str) -> "Frame":
    page.goto(url)
    frame = page.wait_for_selector("#device iframe").content_frame()
    frame.wait_for_function(READY)
    return frame


@pytest.mark.photographs
@pytest.mark.skipif(
    not (PANEL / "node_modules").exists(), reason="no LiteRT.js. To get it: npm ci --prefix demo/device"
)
def test_this_device_answers_as_the_server(
    browser: "Browser", url: str, tf_flowers: PhotoDataset, shipped: Bundle
) -> None:
    page = browser.new_page()
    frame = panel_of(page, url)
    photos = tf_flowers.split("test")[:60]
    expected = [load_classifier(shipped.folder, "float32").probabilities(photo.source) for photo in photos]
    answers = [frame.evaluate(ASK, base64.b64encode(photo.source).decode()) for photo in photos]
    same = sum(
        np.argmax(theirs["probabilities"]) == ours.argmax()
        for theirs, ours in zip(answers, expected, strict=True)
    )
    assert same >= 59  # of 60, 98 %
    for theirs, ours in zip(answers, expected, strict=True):
        assert np.abs(np.array(theirs["probabilities"]) - ours).mean() < 0.02
        assert 0 < theirs["median"] <= theirs["p95"]
    page.close()


@pytest.mark.skipif(
    not (PANEL / "node_modules").exists(), reason="no LiteRT.js. To get it: npm ci --prefix demo/device"
)
def test_the_camera_is_classified_live(browser: "Browser", url: str) -> None:
    """Chromium's drawn camera; the rate is shown, and the camera stops when it is told to."""
    page = browser.new_page()
    frame = panel_of(page, url)
    frame.locator("#live").click()
    frame.get_by_text("pictures a second").wait_for()
    assert frame.locator("#top li").count() == 5
    frame.get_by_role("button", name="Stop the camera").click()
    frame.locator("#video").wait_for(state="hidden")
    page.close()


def test_without_network_the_panel_says_so_and_the_rest_works(
    browser: "Browser", url: str, photo_folder: Path
) -> None:
    page = browser.new_page()
    page.route("**/node_modules/**", lambda route: route.fulfill(status=404))
    page.route("https://**", lambda route: route.abort())
    frame = panel_of(page, url)
    frame.locator("#run").click()
    frame.get_by_text("This device can't run it").wait_for()
    page.set_input_files(PHOTO, photo_folder / "red" / "00.jpg")
    assert "median" in answered(page)
    page.close()


def test_many_photographs_get_a_table(
    browser: "Browser", url: str, photo_folder: Path, tmp_path: Path
) -> None:
    text = tmp_path / "holiday.jpg"
    text.write_text("no photograph")
    photos = [*sorted((photo_folder / "red").glob("*.jpg"))[:6], text]
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.goto(url)
    page.get_by_role("tab", name="Many photographs").click()
    page.set_input_files("#many input[type=file]", photos)
    page.get_by_text("holi").first.wait_for()
    page.get_by_role("button", name="Classify all").click()
    page.get_by_text("6 of 7 photographs classified").wait_for()
    with page.expect_download() as download:
        page.get_by_text("Download as CSV").click()
    rows = Path(download.value.path()).read_text().splitlines()
    assert len(rows) == 8 and "is not a JPEG" in rows[-1]
    page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_evidence_is_the_bundles_report(
    browser: "Browser", url: str, shipped: Bundle, scheme: "Literal['light', 'dark']"
) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(url)
    page.get_by_role("tab", name="Evidence").click()
    report = page.frame_locator("#evidence iframe")
    accuracy = shipped.manifest.metrics["test"]["formats"]["keras"]["accuracy"]
    report.get_by_text(f"{accuracy * 100:.2f} %").first.wait_for()
    page.close()


HOSTILE = ("<img src=x onerror=window.hacked=1>", "**bold**", "=1+1", "[a](javascript:1)", "<b>x</b>$$y$$")
REPORT = """<!doctype html><p>Figures</p><script>document.body.append("scripted"); parent.hacked = 1</script>
<img src=x onerror="parent.hacked = 1"><a href="javascript:parent.hacked = 1">here</a>"""
MARKUP = """() => [...document.querySelectorAll(
  "img[src=x], #summary strong, #summary a, .katex, .answers b, .prose b, table b, table img"
)].filter((element) => element.textContent !== "another answer").length"""  # the page's own bold words


@pytest.fixture
def hostile(shipped: Bundle, comparison: Comparison, photo_folder: Path, tmp_path: Path) -> Comparison:
    """The shipped weights as somebody might hand them on who means harm."""
    folder = shutil.copytree(shipped.folder, tmp_path / "bundle")
    (folder / "report" / "index.html").write_text(REPORT)
    theirs = Comparison(open_bundle(folder))
    theirs.run(photo_folder / "red" / "00.jpg", 1)  # everything is loaded
    manifest = theirs.bundle.manifest.model_copy(update={"class_names": HOSTILE})
    theirs.bundle = replace(theirs.bundle, manifest=manifest)
    return theirs


def test_a_bundle_puts_no_markup_on_the_page(
    browser: "Browser", serve: Callable[..., str], hostile: Comparison, photo_folder: Path
) -> None:
    page = browser.new_page(viewport={"width": 1366, "height": 900})
    page.goto(serve(shown=hostile))
    page.get_by_text("<img src=x onerror=window.hacked=1>, **bold**, =1+1").wait_for()  # the heading
    page.set_input_files(PHOTO, photo_folder / "red" / "00.jpg")
    text = answered(page)
    assert all(text.count(name) >= 2 for name in HOSTILE)  # in the lists of both weights
    page.get_by_role("tab", name="Many photographs").click()
    page.set_input_files("#many input[type=file]", sorted((photo_folder / "red").glob("*.jpg"))[:3])
    page.get_by_text("00.jpg").first.wait_for()
    page.get_by_role("button", name="Classify all").click()
    page.get_by_text("3 of 3 photographs classified").wait_for()
    page.get_by_role("tab", name="Evidence").click()
    report = page.frame_locator("#evidence iframe")
    report.get_by_text("Figures").wait_for()
    report.get_by_text("here").click()
    page.wait_for_timeout(500)
    assert not report.get_by_text("scripted").count()
    assert page.evaluate(MARKUP) == 0 and page.evaluate("window.hacked === undefined")
    # The report by itself, without the frame, runs nothing either.
    page.goto(f"{page.url.rstrip('/')}/report/index.html")
    assert "scripted" not in page.inner_text("body")
    page.close()


def test_a_full_queue_is_told_and_waited_for(
    browser: "Browser", serve: Callable[..., str], comparison: Comparison, photo_folder: Path
) -> None:
    url = serve()
    page = browser.new_page()
    page.goto(url)
    note = page.get_by_text("The page tries again by itself")
    with Visitor(base_url=url, timeout=60) as others:
        with comparison._measuring:  # a measurement that takes its time
            while others.post("gradio_api/call/benchmark", json={"data": [1]}).status_code != 503:
                pass
            page.set_input_files(PHOTO, photo_folder / "red" / "00.jpg")
            note.wait_for()
        assert "median" in answered(page)
        note.wait_for(state="hidden")
    page.close()
