"""The page in a real browser: a photo goes in, one answer and a table of formats come out."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from demo import gallery, site, words
from demo.comparison import Comparison, compared_first
from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.images.preprocessing import crop_box
from tests.demo.looking import (
    COMPARED,
    HELD_BODY,
    NARROW,
    NO_ANSWER,
    PHOTO,
    WIDE,
    closed,
    give,
    opened,
    timed_rows,
)
from tests.demo.visitor import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser
MEASURED = f"{COMPARED} && !document.querySelector('#measure').disabled"


def test_the_page_opens_answered(page: "Page", shipped: Bundle) -> None:
    assert page.title() == page.inner_text("h1") == "Name that flower"
    assert page.locator("#examples button").first.get_attribute("aria-pressed") == "true"
    assert page.locator("#bars [role=meter]").count() == 5
    assert timed_rows(page) == list(compared_first())
    assert page.inner_text("#speed").startswith(f"{FORMATS[compared_first()[1]].title} is ")


def test_without_the_engine_the_server_answers_and_nothing_else_is_asked_for(
    browser: "Browser", served: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after `pip install` alone: LiteRT.js comes with `npm ci`."""
    monkeypatch.setattr(site, "LITERT", tmp_path / "litertjs")
    told: list[str] = []

    def listen(page: "Page") -> None:
        page.on("console", lambda line: told.append(line.text) if line.type == "error" else None)

    page = opened(browser, served, prepare=listen)
    assert page.inner_text("#name") and len(timed_rows(page)) == 2
    assert not page.locator("#live, #run-here, #private").filter(visible=True).count()
    assert not told
    closed(page)


def test_what_the_browser_reads_is_sent_as_jpeg_and_what_the_server_reads_is_named(
    page: "Page", tmp_path: Path
) -> None:
    """GIF is none of the server's formats; HEIC is none of Chromium's."""
    gif, heic = tmp_path / "red.gif", Path(__file__).parents[1] / "hostile" / "heic" / "plain.heic"
    Image.new("RGB", (300, 200), (200, 30, 30)).save(gif)
    assert "%" in give(page, gif) and page.locator("#shown").is_visible()
    assert "%" in give(page, heic)
    assert page.inner_text("#stage") == "This browser can't show the photo."
    page.locator("#private").check()
    page.wait_for_function(NO_ANSWER)
    assert "on an iPhone: Settings, Camera, Formats, Most Compatible" in page.inner_text("#sure")


@pytest.mark.photographs
def test_a_flower_gets_an_answer_from_every_format(
    page: "Page", tf_flowers: PhotoDataset, shipped: Bundle, tmp_path: Path
) -> None:
    flower, classifier = tmp_path / "flower.jpg", load_classifier(shipped.folder)
    for photo in tf_flowers.split("test"):  # the first that is no close call: that has a headline of its own
        flower.write_bytes(photo.source)
        expected = classifier.predict(flower)
        if expected.score > 0.9:
            break
    give(page, flower)
    shown = words.display(expected.label, shipped.manifest)
    assert page.inner_text("#name") == ("Probably none of these" if expected.unknown else shown)
    page.get_by_role("button", name="Measure all formats").click()
    page.wait_for_function(MEASURED)
    assert timed_rows(page) == list(FORMATS)
    page.locator("#look").fill("60")
    page.wait_for_function("document.querySelector('#looked').innerText.startsWith('for a')")
    assert page.locator("#map").is_visible()
    assert float(page.eval_on_selector("#map", "map => map.style.opacity")) == 0.6


def test_a_text_file_gets_a_sentence_and_the_page_goes_on(
    page: "Page", no_photo: Path, red_photo: Path
) -> None:
    assert "is not a JPEG" in give(page, no_photo, NO_ANSWER)
    assert not timed_rows(page) and "%" not in page.inner_text("#bars")  # no older answer beside it
    for size in (WIDE, NARROW):
        page.set_viewport_size(size)
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    give(page, red_photo)
    assert "%" in page.inner_text("#bars")


def test_every_example_answers(page: "Page", shipped: Bundle) -> None:
    listed = gallery.pictures(shipped.manifest)
    assert page.locator("#examples button").count() == len(listed) >= 2
    for button, picture in zip(page.locator("#examples button").all(), listed, strict=True):
        with page.expect_response(lambda response: "/call/compare/" in response.url):
            button.click()
        page.wait_for_function(COMPARED)
        assert button.get_attribute("aria-pressed") == "true"
        expected = load_classifier(shipped.folder).predict(picture.path)
        name = words.display(expected.label, shipped.manifest)
        shown = page.inner_text("#name")
        assert shown == ("Probably none of these" if expected.unknown else name) or shown.endswith("?")
        right = expected.unknown if picture.label is None else expected.label == picture.label
        assert page.inner_text("#verdict").startswith("✓ right" if right else "✗ wrong: this is ")
    assert page.inner_text("#tally").endswith(f"of {len(listed)} examples right so far.")


def test_an_example_that_arrives_late_does_not_replace_an_own_photo(page: "Page", red_photo: Path) -> None:
    page.evaluate(HELD_BODY)
    page.locator("#examples button").nth(1).click()
    page.wait_for_function("window.arrive !== undefined")
    before = give(page, red_photo)
    page.evaluate("arrive()")
    page.wait_for_timeout(300)
    assert page.inner_text("#answer") == before
    assert page.locator("#examples [aria-pressed=true]").count() == 0


def test_an_example_that_cannot_be_had_is_told_and_the_answer_stays(page: "Page") -> None:
    before = page.inner_text("#answer")
    second = page.locator("#examples button").nth(1)
    for fails, told in (
        (lambda route: route.fulfill(status=404), "no such example any more"),
        (lambda route: route.abort(), "The server can't be reached."),
    ):
        page.route("**/examples/*", fails)
        second.click()
        page.wait_for_function(f"document.querySelector('#problem').innerText.includes({told!r})")
        assert page.inner_text("#answer") == before and second.get_attribute("aria-pressed") == "false"
        page.unroute("**/examples/*")
    second.click()
    page.wait_for_function("document.querySelectorAll('#examples button')[1].ariaPressed === 'true'")
    assert page.locator("#problem").is_hidden()


def test_a_phone_sees_buttons_photo_and_answer_first(page: "Page") -> None:
    page.set_viewport_size(NARROW)
    for button in (page.locator("#live"), page.locator("label.primary").first):
        box = button.bounding_box()
        assert box and box["height"] >= 48 and box["y"] < 250
    answer, examples = page.locator("#bars").bounding_box(), page.locator("#examples").bounding_box()
    assert answer and examples and answer["y"] + answer["height"] <= 844 < examples["y"] + 844
    assert answer["y"] < examples["y"] < page.locator("#formats").bounding_box()["y"]  # type: ignore[index]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for name in ("Many photos", "How good is it?", "One photo"):
        page.get_by_role("tab", name=name).click()


def test_nothing_jumps_while_it_measures(page: "Page", red_photo: Path) -> None:
    before = page.locator("#formats").bounding_box()
    page.set_input_files(PHOTO, red_photo)
    page.wait_for_function("document.querySelector('#status').innerText.startsWith('Measuring')")
    during = page.locator("#formats").bounding_box()
    page.wait_for_function(COMPARED)
    assert before and during and before["y"] == during["y"] == page.locator("#formats").bounding_box()["y"]  # type: ignore[index]


def test_the_square_that_the_network_sees_is_outlined(page: "Page", shipped: Bundle, tmp_path: Path) -> None:
    for size in ((300, 800), (800, 300), (400, 400)):
        photo = tmp_path / f"{size[0]}.png"
        Image.new("RGB", size, (200, 30, 30)).save(photo)
        give(page, photo)
        frame, crop = page.locator("#frame").bounding_box(), page.locator("#crop").bounding_box()
        assert frame and crop
        left, top, right, bottom = crop_box(*size, shipped.manifest.rule)
        scale = frame["width"] / size[0]
        assert frame["height"] == pytest.approx(size[1] * scale, abs=2)
        shown = (crop["x"] - frame["x"], crop["y"] - frame["y"], crop["width"], crop["height"])
        expected = (left * scale, top * scale, (right - left) * scale, (bottom - top) * scale)
        assert shown == pytest.approx(expected, abs=1.5)


def test_words_never_claim_too_much(page: "Page") -> None:

    def said(unknown: bool, **scores: float) -> dict[str, str]:
        rows = [{"label": name.replace("_", " "), "score": score} for name, score in scores.items()]
        script = """(answer) => {
          const { rejection } = facts;
          facts.rejection = { threshold: 0.5, false_rejection_rate: 0.05 };
          showAnswer(answer);
          facts.rejection = rejection;
          const text = (id) => byId(id).innerText;
          const state = byId("answer").className;
          return { name: text("name"), sure: text("sure"), why: text("why"), state };
        }"""
        return page.evaluate(script, {**rows[0], "unknown": unknown, "predictions": rows})

    sure = said(False, roses=0.8, tulips=0.1)
    assert sure["name"] == "Rose" and sure["state"] == "card"
    assert sure["sure"].startswith("80\N{NO-BREAK SPACE}% sure, if it is one of the five")
    near = said(False, roses=0.42, dandelion=0.39)
    assert near["name"] == "Rose or dandelion?" and near["state"] == "card close"
    assert near["sure"] == "A close call: 42\N{NO-BREAK SPACE}% and 39\N{NO-BREAK SPACE}%."
    unsure = said(True, roses=0.4)
    like, rest = "Looks most like a rose. ", "It knows five flowers; this is probably none of them."
    assert unsure["name"] == "Probably none of these" and unsure["sure"] == like + rest
    assert unsure["why"].startswith("Not sure: under ") and "%" not in unsure["name"] + unsure["sure"]
    assert unsure["why"].endswith("Only about 1 in 20 real photos of these flowers scores this low.")
    learned = said(True, none_of_these=0.9, roses=0.08)
    assert learned["sure"] == rest  # 8 % is like nothing


def test_a_speed_ratio_is_claimed_only_for_medians_that_differ(page: "Page") -> None:

    def said(low: float, high: float, p95: float = 12) -> str:
        def row(p50: float, p95: float, interval: list[float], size: int) -> dict[str, Any]:
            latency = {"p50": p50, "p95": p95, "p50_range": interval, "threads": 2}
            return {
                "engine": "LiteRT 2",
                "label": "roses",
                "unknown": False,
                "size_bytes": size,
                "latency_ms": latency,
            }

        keras = row(10, p95, [9, 11], 4_000_000)
        answers = {"keras": keras, "dynamic_int8": row(low + 1, low + 2, [low, high], 1_000_000)}
        return page.evaluate("(answers) => compared(answers)", answers)

    assert "4.0x smaller than Keras float32, 3.3x faster, same answer." in said(2, 4)
    assert "faster" not in said(8, 10) and "4.0x smaller" in said(8, 10)
    busy = said(2, 4, p95=21)
    assert "faster" not in busy and busy.endswith("The server is busy: these times say little.")


def test_the_evidence_is_the_bundles_report(page: "Page", shipped: Bundle) -> None:
    page.get_by_role("tab", name="How good is it?").click()
    result = shipped.manifest.metrics["test"]["formats"]["keras"]
    weakest = min(result["per_class"], key=lambda name: result["per_class"][name]["recall"])
    headline = page.inner_text("#tiles")
    assert f"{result['accuracy'] * 100:.1f} %" in headline
    assert words.display(weakest, shipped.manifest) in headline
    report = page.frame_locator("#evidence iframe")
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        report.get_by_text(f"{result['accuracy'] * 100:.2f} %").first.wait_for()


HOSTILE = ("<img src=x onerror=window.hacked=1>", "**bold**", "=1+1", "${alert(1)}{{x}}", "<b>x</b>$$y$$")
REPORT = """<!doctype html><p>Figures</p><script>document.body.append("scripted"); parent.hacked = 1</script>
<img src=x onerror="parent.hacked = 1"><a href="javascript:parent.hacked = 1">here</a>"""
MARKUP = "document.querySelectorAll('img[src=x], #title b, #one b, #many b, .katex, #tiles img').length"


@pytest.fixture
def hostile(shipped: Bundle, red_photo: Path, tmp_path: Path) -> Comparison:
    """The shipped weights as somebody might hand them on who means harm."""
    folder = shutil.copytree(shipped.folder, tmp_path / "bundle")
    (folder / "report" / "index.html").write_text(REPORT)
    theirs = Comparison(open_bundle(folder))
    theirs.run(red_photo, 1)  # everything is loaded
    names = (*HOSTILE, theirs.bundle.manifest.other_class)
    manifest = theirs.bundle.manifest.model_copy(update={"class_names": names})
    theirs.bundle = replace(theirs.bundle, manifest=manifest)
    for name in theirs.names:
        theirs._loading[name].result().bundle = theirs.bundle
    return theirs


def test_a_bundle_puts_no_markup_on_the_page(
    browser: "Browser", serve: Callable[..., str], hostile: Comparison, photo_folder: Path, red_photo: Path
) -> None:
    page = opened(browser, serve(shown=hostile))
    assert page.inner_text("h1").startswith("What is it? <img src=x onerror=window.hacked=1>, **bold**, =1+1")
    give(page, red_photo)
    bars = page.inner_text("#bars")
    shown = [theirs for theirs in HOSTILE if theirs[1:] in bars]
    assert len(shown) >= 4 and len(bars.split("%")) == 6  # the five best of six classes
    page.get_by_role("tab", name="Many photos").click()
    page.set_input_files("#photos", sorted((photo_folder / "red").glob("*.jpg"))[:3])
    page.get_by_text("3 photos: ").wait_for()
    page.get_by_role("tab", name="How good is it?").click()
    report = page.frame_locator("#evidence iframe")
    report.get_by_text("Figures").wait_for()
    report.get_by_text("here").click()
    page.wait_for_timeout(500)
    assert not report.get_by_text("scripted").count()
    assert page.evaluate(MARKUP) == 0 and page.evaluate("window.hacked === undefined")
    # The report by itself, without the frame, runs nothing either.
    address = page.url.partition("#")[0] + "report/index.html"
    page.close()
    page = browser.new_page()
    page.goto(address)
    assert "scripted" not in page.inner_text("body")
    page.close()


def test_a_full_queue_is_told_and_waited_for(
    page: "Page", served: str, comparison: Comparison, red_photo: Path
) -> None:
    with Visitor(base_url=served, timeout=60) as others:
        sent = others.upload(red_photo)
        with comparison._measuring:  # a measurement that takes its time
            while others.post("gradio_api/call/classify", json={"data": [sent]}).status_code != 503:
                pass
            page.set_input_files(PHOTO, red_photo)
            page.get_by_text("Busy right now").wait_for()
        page.wait_for_function(COMPARED)
        assert "%" in page.inner_text("#bars")


def test_without_connection_it_says_so(page: "Page", photo_folder: Path, red_photo: Path) -> None:
    page.context.set_offline(True)
    assert "You are offline." in give(page, red_photo, NO_ANSWER)
    page.context.set_offline(False)
    assert "%" in give(page, photo_folder / "red" / "01.jpg")


def test_another_bundle_has_words_of_its_own(
    browser: "Browser", serve: Callable[..., str], small_bundle: Bundle, red_photo: Path
) -> None:
    page = opened(browser, serve(shown=Comparison(small_bundle)))
    assert page.title() == page.inner_text("h1") == "What is it? Blue, green or red"
    give(page, red_photo)
    assert "flower" not in page.inner_text("body").lower().replace("tf_flowers", "")
    assert page.locator("#bars li").count() == 3
    closed(page)


def test_a_photo_is_shrunk_before_it_is_sent_and_gets_the_same_answer(
    page: "Page", shipped: Bundle, red_photo: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.png"
    with Image.open(red_photo) as image:
        pixels = np.asarray(image.resize((2400, 1800), Image.Resampling.BICUBIC)).astype(int)
    noise = np.random.default_rng(0).integers(-9, 10, pixels.shape)
    Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(large)
    with page.expect_request("**/gradio_api/upload") as sent:
        give(page, large)
    assert large.stat().st_size > 3_000_000 > 300_000 > len(sent.value.post_data_buffer or b"")
    expected = dict(load_classifier(shipped.folder).predict(large).top())
    meters = "all => all.map((one) => [one.ariaLabel, Number(one.ariaValueNow)])"
    shown = dict(page.eval_on_selector_all("#bars [role=meter]", meters))
    for label, score in expected.items():
        assert shown[words.display(label, shipped.manifest)] == pytest.approx(100 * score, abs=3)
