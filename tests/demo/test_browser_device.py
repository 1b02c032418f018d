"""Photos in the visitor's own browser: with LiteRT.js, and with a faked one where it has to fail."""

import gzip
import io
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from demo.comparison import Comparison
from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.golden import drawn
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.bundle.weight_formats import tflite_formats
from mobilevit_core.data.dataset import PhotoDataset
from tests.conftest import SHIPPED
from tests.demo.looking import (
    COMPARED,
    HELD_BODY,
    HELD_CAMERA,
    NEEDS_LITERT,
    PATIENCE,
    PHOTO,
    RATE,
    answers_here,
    closed,
    give,
    opened,
    timed_rows,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

NOTE = "document.querySelector('#here-note').innerText"
EMPTY = "document.querySelectorAll('#formats tbody tr').length && !document.querySelector('#app').hidden"
HERE = f"{NOTE} !== '' && document.querySelector('#status').innerText === ''"

pytestmark = pytest.mark.browser

# A LiteRT.js that answers by the picture's main colour: class 0 for red, 1 for green, 2 for blue. `plan` says
# what WebGPU does; WebAssembly takes its time, so that WebGPU is the faster one.
FAKE = """
const plan = %s;
let gpuRuns = 0;
export async function loadLiteRt() {}
export const supportsFeature = async () => true;
export class Tensor {
  constructor(values) { this.values = values; }
  async moveTo() { return this; }
  toTypedArray() { return this.values; }
  delete() {}
}
class Model {
  constructor(accelerator) { this.accelerator = accelerator; }
  async run([input]) {
    if (this.gone) throw new Error("a deleted model was run");
    await new Promise((wake) => setTimeout(wake, plan[this.accelerator]));
    const sums = [0, 0, 0];
    input.values.forEach((value, index) => { sums[index %% 3] += value; });
    const values = new Float32Array(plan.classes).fill(0.1 / (plan.classes - 1));
    values[sums.indexOf(Math.max(...sums))] = 0.9;
    if (this.accelerator === "webgpu" && ++gpuRuns > plan.right) values.reverse();
    return [new Tensor(values)];
  }
  delete() { this.gone = true; }
}
export async function loadAndCompile(content, { accelerator }) { return new Model(accelerator); }
"""
ADAPTER = """Object.defineProperty(navigator, "gpu", { value: {
  requestAdapter: async () => ({ info: { vendor: %s, isFallbackAdapter: false } }) } });"""
REAL_VENDOR = "qualcomm"


def faked(
    page: "Page", right: int = 10**6, vendor: str | None = REAL_VENDOR, wasm: int = 25, webgpu: int = 0
) -> None:
    """Gives an empty page a LiteRT.js whose WebGPU is right for so many runs; engines: ms per run."""
    classes = len(open_bundle(SHIPPED).manifest.class_names)
    plan = json.dumps({"right": right, "wasm": wasm, "webgpu": webgpu, "classes": classes})
    with_golden(page, lambda golden: None)  # the real weights' answers are not the faked ones
    page.route(
        "**/litert/core/dist/index.js",
        lambda route: route.fulfill(body=FAKE % plan, content_type="text/javascript"),
    )
    empty = gzip.compress(b"")
    page.route("**/*.wasm.gz*", lambda route: route.fulfill(body=empty, content_type="application/gzip"))
    if vendor is not None:
        page.context.add_init_script(ADAPTER % json.dumps(vendor))


def without_examples(page: "Page", **plan: Any) -> None:
    """The same on a page that names nothing until it is given a photo."""
    faked(page, **plan)
    page.route("**/examples/index.json", lambda route: route.fulfill(json=[]))


def with_golden(page: "Page", change: Callable[[Any], Any]) -> None:
    """Gives the page's engine a bundle.json with other golden answers."""

    def answer(route: "Route") -> None:
        manifest = route.fetch().json()
        manifest["golden"] = change(manifest.get("golden"))
        route.fulfill(json=manifest)

    page.route("**/bundle/bundle.json", answer)


def run_here(page: "Page") -> str:
    """Presses the button under the table; what stands under the table then."""
    page.get_by_role("button", name="Run it on this device").click()
    page.wait_for_function(HERE)
    return page.inner_text("#here-note")


def said_here(page: "Page") -> str:
    """The answer in the row of the format that this device runs first."""
    return page.inner_text("tr[data-format=dynamic_int8] td.said")


ENGINE = "await withEngine(format, async (engine) => %s)"


@NEEDS_LITERT
@pytest.mark.photographs
def test_this_device_answers_as_the_server(page: "Page", tf_flowers: PhotoDataset, shipped: Bundle) -> None:
    photos = tf_flowers.split("test")[:60]
    classifier = load_classifier(shipped.folder, "float32")
    expected = np.array([classifier.probabilities(photo.source) for photo in photos])
    answers = answers_here(page, "float32", (photo.source for photo in photos))
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).sum() >= 59  # of 60, 98 %
    assert np.abs(answers - expected).mean(axis=1).max() < 0.02


@NEEDS_LITERT
def test_a_white_drawing_lies_on_black_as_on_the_server(page: "Page", shipped: Bundle) -> None:
    drawing = Image.new("RGBA", (240, 200), (255, 255, 255, 0))
    ImageDraw.Draw(drawing).regular_polygon((120, 100, 70), 5, fill=(255, 255, 255, 255))
    file = io.BytesIO()
    drawing.save(file, "PNG")
    classifier = load_classifier(shipped.folder, "float32")
    expected = classifier.probabilities(file.getvalue())
    blank = classifier.probabilities(np.full((200, 240, 3), 255, np.uint8))
    (answer,) = answers_here(page, "float32", [file.getvalue()])
    assert np.abs(answer - expected).max() < 0.02 < np.abs(blank - expected).max()


@NEEDS_LITERT
def test_webassembly_is_checked_against_the_golden_answers(
    browser: "Browser", serve: Callable[..., str], small_bundle: Bundle, red_photo: Path
) -> None:
    page = opened(browser, serve(shown=Comparison(small_bundle)))
    give(page, red_photo)
    for name in tflite_formats():
        said = page.evaluate(f"async (format) => {ENGINE % 'engine.engine'}", name)
        assert "WebAssembly, checked with the file's test pictures" in said
    drawing = f"async ([format, seed]) => {ENGINE % '[...engine.drawn(seed)]'}"
    for seed in (0, 7, 65535):
        assert page.evaluate(drawing, ["float32", seed]) == drawn(seed, 64).ravel().tolist()
    closed(page)


@NEEDS_LITERT
def test_webassembly_that_is_off_is_told_and_not_used(
    browser: "Browser", serve: Callable[..., str], small_bundle: Bundle, red_photo: Path
) -> None:
    def off(golden: Any) -> Any:
        golden["scores"]["dynamic_int8"][0]["red"] += 0.03
        return golden

    page = opened(browser, serve(shown=Comparison(small_bundle)))
    with_golden(page, off)
    give(page, red_photo)
    note = run_here(page)
    assert "its WebAssembly gives wrong answers to the file's test pictures, off by 0.03" in note
    assert note.endswith("The server's answers do not depend on this.")
    assert timed_rows(page, 3) == []
    said = page.evaluate(f"async (format) => {ENGINE % 'engine.engine'}", "float32")
    assert "checked with the file's test pictures" in said  # whose golden answers are right
    closed(page)


REJECTS = """async ([rule, vectors]) => {
  const { rejects } = await import(new URL("device/engine.js", document.baseURI));
  return vectors.map((values) => rejects(Float32Array.from(values), rule));
}"""


def test_the_browser_rejects_as_the_rule_does(page: "Page") -> None:
    random = np.random.default_rng(0)
    for other in (None, 0, 4):
        rule = RejectionRule(0.4, 0.05, 100, other)
        vectors = random.dirichlet(np.full(5, 0.7), 40).astype(np.float32)
        theirs = page.evaluate(REJECTS, [rule.to_json(), vectors.tolist()])
        assert theirs == rule.rejects(vectors).tolist() and 0 < sum(theirs) < 40


CHECKED, WRONG = (
    "WebGPU, checked against WebAssembly",
    "WebAssembly (this browser's WebGPU gave other results)",
)
PLANS = {
    "right each time": ({}, CHECKED),
    "right on the first run alone": ({"right": 1}, WRONG),
    "right until the check is over": ({"right": 30}, WRONG),
    "emulated in software": ({"vendor": "google swiftshader"}, "emulated in software"),
    "slower than WebAssembly": ({"wasm": 0, "webgpu": 150}, "WebAssembly (faster here than WebGPU)"),
    "absent": ({"vendor": None}, "WebAssembly"),
}


@pytest.mark.parametrize("plan", PLANS)
def test_webgpu_is_used_only_where_it_agrees(
    browser: "Browser", served: str, red_photo: Path, plan: str
) -> None:
    options, said = PLANS[plan]
    # Far apart, so that a busy machine can't turn the order of the two engines round.
    plan = partial(without_examples, **{"wasm": 150, **options})
    page = opened(browser, served, prepare=plan, until=EMPTY)
    page.get_by_label("Keep photos on this device").check()
    give(page, red_photo, HERE)
    assert said in page.inner_text("#here-note")
    # Whoever answered: it is the answer for a red picture.
    assert "Dandelion" in said_here(page)
    closed(page)


def test_an_own_photo_stays_on_the_device_and_is_shown(
    browser: "Browser", served: str, photo_folder: Path
) -> None:
    page = opened(browser, served, prepare=without_examples, until=EMPTY)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    page.get_by_label("Keep photos on this device").check()
    page.set_input_files(PHOTO, photo_folder / "green" / "00.jpg")
    page.wait_for_function(HERE)
    assert page.inner_text("#here-note").startswith("This photo stayed on your device.")
    assert page.inner_text("#name") == "Daisy" and not sent
    assert page.locator("#shown").is_visible()
    assert page.eval_on_selector("#shown", "image => image.naturalWidth") > 0
    assert page.locator("#look").is_disabled()
    page.reload()
    page.wait_for_function(HERE)  # ticked for the next visit, too
    assert page.get_by_label("Keep photos on this device").is_checked() and not sent
    closed(page)


def test_the_switch_holds_in_every_tab(browser: "Browser", served: str) -> None:
    """Also in those that were open before it was moved."""
    context = browser.new_context(bypass_csp=True, service_workers="block")
    pages = [context.new_page() for _ in range(2)]
    for page in pages:
        page.set_default_timeout(PATIENCE)
        without_examples(page)
        page.goto(served)
        page.wait_for_function(EMPTY)
    for on in (True, False):
        pages[0].get_by_label("Keep photos on this device").set_checked(on)
        pages[1].wait_for_function("on => document.querySelector('#private').checked === on", arg=on)
    context.close()


def test_a_photo_that_comes_during_a_run_gets_its_own_answer(
    browser: "Browser", served: str, photo_folder: Path, red_photo: Path
) -> None:
    page = opened(browser, served, prepare=partial(without_examples, vendor=None), until=EMPTY)
    page.get_by_label("Keep photos on this device").check()
    page.set_input_files(PHOTO, red_photo)
    page.wait_for_function("document.querySelector('#status').innerText.includes('Measuring on this')")
    page.set_input_files(PHOTO, photo_folder / "blue" / "00.jpg")
    page.wait_for_function(HERE)
    assert page.inner_text("#name") == "Tulip"  # class 2: blue
    page.wait_for_timeout(1500)  # the first photo's run ends: nothing of it appears
    assert page.inner_text("#name") == "Tulip"
    assert said_here(page) == "Tulip"
    closed(page)


@NEEDS_LITERT
def test_the_camera_is_named_live(page: "Page") -> None:
    """Chromium's drawn camera; the rate is shown, and the camera stops when it is told to."""
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function(RATE)
    assert "Nothing leaves your device" in page.inner_text("#overlay")
    page.get_by_role("button", name="Stop camera").click()
    page.locator("#video").wait_for(state="hidden")
    page.wait_for_function(COMPARED)  # the example is back


def test_the_camera_stops_when_another_tab_is_shown(page: "Page") -> None:
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function(RATE)
    page.evaluate("window.tracks = document.querySelector('#video').srcObject.getTracks()")
    page.get_by_role("tab", name="Many photos").click()
    page.wait_for_function("tracks.every((track) => track.readyState === 'ended')")
    page.get_by_role("tab", name="One photo").click()
    page.wait_for_function(COMPARED)  # the example is back
    assert page.locator("#shown").is_visible() and page.locator("#video").is_hidden()


def test_a_camera_that_is_allowed_after_the_tab_was_left_does_not_stay_on(
    browser: "Browser", served: str
) -> None:
    page = opened(browser, served, prepare=lambda page: page.add_init_script(HELD_CAMERA))
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function("cameras.length === 1")
    page.get_by_role("tab", name="Many photos").click()
    page.wait_for_function(f"{COMPARED}")  # of the example again
    page.evaluate("cameras[0].allow()")
    page.wait_for_function("cameras[0].tracks.length > 0 && cameras[0].tracks[0].readyState === 'ended'")
    assert page.get_by_role("button", name="Live camera", include_hidden=True).is_enabled()
    closed(page)


def test_nothing_of_the_camera_stands_beside_a_photo(
    browser: "Browser", served: str, red_photo: Path, shipped: Bundle
) -> None:
    page = opened(browser, served, prepare=partial(without_examples, vendor=None), until=EMPTY)
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function(RATE)
    give(page, red_photo)
    assert not page.locator("#overlay").is_visible() and not page.locator("#video").is_visible()
    answer = load_classifier(shipped.folder).predict(red_photo)
    shares = [float(value) for value in page.eval_on_selector_all("#bars [role=meter]", SHARES)]
    assert shares == pytest.approx([round(score * 100) for _, score in answer.top()], abs=1)
    assert page.inner_text("#here-note") == ""
    closed(page)


def test_an_example_that_arrives_late_does_not_end_the_camera(browser: "Browser", served: str) -> None:
    page = opened(browser, served, prepare=partial(faked, vendor=None))
    page.evaluate(HELD_BODY)
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("window.arrive !== undefined")
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function(RATE)
    page.evaluate("arrive()")
    page.wait_for_timeout(300)
    assert page.locator("#video").is_visible()
    closed(page)


def test_the_first_example_does_not_end_a_camera_that_waits_for_permission(
    browser: "Browser", served: str
) -> None:
    held: list[Route] = []
    page = browser.new_page(bypass_csp=True, service_workers="block")
    page.set_default_timeout(PATIENCE)
    faked(page, vendor=None)
    page.route("**/examples/index.json", lambda route: held.append(route))
    page.add_init_script(HELD_CAMERA)
    page.goto(served)
    page.locator("#formats tbody tr").first.wait_for()
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function("window.cameras.length === 1")
    held[0].continue_()
    page.locator("#examples button").first.wait_for()
    page.evaluate("cameras[0].allow()")
    page.wait_for_function(RATE)
    assert page.locator("#video").is_visible() and page.locator("#shown").is_hidden()
    page.close()


def test_the_camera_can_be_stopped_while_its_network_loads(
    browser: "Browser", served: str, red_photo: Path
) -> None:
    page = opened(browser, served, prepare=partial(faked, vendor=None))
    held: list[Route] = []
    page.route("**/*.wasm.gz*", lambda route: held.append(route))
    page.get_by_role("button", name="Live camera").click()
    while not held:
        page.wait_for_timeout(100)
    page.get_by_role("button", name="Stop camera").click()
    page.wait_for_function(COMPARED)  # of the example again
    assert page.locator("#video").is_hidden() and page.locator("#shown").is_visible()
    give(page, red_photo)
    before = page.inner_text("#said")
    held[0].fulfill(body=gzip.compress(b""), content_type="application/gzip")
    page.wait_for_timeout(500)
    assert page.inner_text("#said") == before and page.get_attribute("#said", "aria-live") == "polite"
    closed(page)


def test_the_headline_is_one_and_steady(browser: "Browser", served: str) -> None:
    """The overlay names what the camera shows; the card beside it has no headline of its own meanwhile."""
    page = opened(browser, served, prepare=partial(without_examples, vendor=None), until=EMPTY)
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function(RATE)
    assert page.locator("#overlay strong").is_visible() and page.locator("#name").is_hidden()
    script = """async () => {
      const seen = [], headline = document.querySelector("#overlay strong");
      new MutationObserver(() => seen.push(headline.innerText)).observe(headline, { childList: true });
      await new Promise((wake) => setTimeout(wake, 3000));
      return seen.filter((name, place) => place && name !== seen[place - 1]).length;
    }"""
    assert page.evaluate(script) <= 6  # half a second each at least
    closed(page)


SHARES = "meters => meters.map((meter) => meter.getAttribute('aria-valuenow'))"
NO_CAMERA = (
    "() => { navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('x', '%s'); }; }"
)


CAMERA_ERRORS = {
    "NotFoundError": "No camera was found on this device.",
    "NotAllowedError": "Access to the camera was refused.",
    "NotReadableError": "The camera is in use by another program.",
}


def test_a_camera_that_is_not_there_is_told_and_the_answer_stays(page: "Page") -> None:
    before = page.inner_text("#answer")
    for name, sentence in CAMERA_ERRORS.items():
        page.evaluate(NO_CAMERA % name)
        page.get_by_role("button", name="Live camera").click()
        page.locator("#problem", has_text=sentence).wait_for()
        assert page.inner_text("#answer") == before
        assert page.get_by_role("button", name="Live camera").is_enabled()
    page.evaluate("() => { delete navigator.mediaDevices.getUserMedia; }")


def test_without_the_devices_files_it_says_so_and_the_rest_works(
    browser: "Browser", served: str, red_photo: Path
) -> None:
    page = opened(browser, served)
    page.route("**/litert/**", lambda route: route.fulfill(status=404))
    assert "can't be reached" in run_here(page)
    give(page, red_photo)
    assert "%" in page.inner_text("#bars")
    closed(page)


@NEEDS_LITERT
def test_offline_photos_are_still_named_on_the_device(
    page: "Page", photo_folder: Path, red_photo: Path
) -> None:
    page.get_by_label("Keep photos on this device").check()
    page.set_input_files(PHOTO, red_photo)
    page.wait_for_function(HERE)
    page.context.set_offline(True)
    page.set_input_files(PHOTO, photo_folder / "green" / "00.jpg")
    page.wait_for_function(HERE)
    assert "%" in page.inner_text("#bars")
    page.context.set_offline(False)
