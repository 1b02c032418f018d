"""Every state of the page at every size, in light and dark: nothing is cut, axe-core finds nothing."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.demo.looking import NO_ANSWER, closed, give, opened

if TYPE_CHECKING:
    from typing import Literal

    from playwright.sync_api import Browser, Page

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
SIZES = ((320, 640), (390, 844), (683, 384), (820, 1180), (821, 600), (1024, 768), (1366, 768), (1920, 1080))
# By axe-core, too, and in which colours: nothing else is another in the dark. In SIZES, 683 is 1366 at 200 %.
CHECKED: "dict[int, Literal['light', 'dark']]" = {1366: "light", 320: "dark"}
# The page and everything in it but the report.
RUN = "() => axe.run({ exclude: [['iframe']] })"
# What sticks out of the window or of its own box, and text that lies over other text.
CUT = """() => {
  const seen = (element) => element.checkVisibility({ visibilityProperty: true });
  const all = [...document.querySelectorAll("main *:not(#examples *, #crop *, #crop, pre *)")].filter(seen);
  const out = all.map((e) => [e, e.getBoundingClientRect()])
    .filter(([, { left, right }]) => right > innerWidth + 1 || left < -1).map(([e]) => e);
  const wide = [document.documentElement, ...document.querySelectorAll("table, .card, #sheet")].filter(
    (e) => e.checkVisibility() && e.scrollWidth > e.clientWidth + 1);
  const texts = `#status, #name, #verdict, #sure, #why, #bars li, #loading p, #share, h1, #title p, .stay,
    [role=tab], #formats :is(h2, th, td)`;
  const told = [...document.querySelectorAll(texts)].filter((e) => seen(e) && e.innerText.trim());
  const boxes = told.map((e) => {
    const range = document.createRange();
    range.selectNodeContents(e);
    return [e, range.getBoundingClientRect()];
  });
  const over = boxes.filter(([e, a], place) => boxes.slice(place + 1).some(([other, b]) => !e.contains(other)
    && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1));
  return [...out, ...wide, ...over.map(([e]) => e)].map((e) => e.outerHTML.slice(0, 120));
}"""
ANSWERS = {  # state -> what the page is told
    "named": {"label": "roses", "score": 0.97, "unknown": False},
    "a close call": {"label": "roses", "score": 0.42, "unknown": False},
    "rejected": {"label": "roses", "score": 0.42, "unknown": True},
}
SHOW = """(answer) => showAnswer({ ...answer, predictions: [answer, { label: "tulips", score: 0.39 }] },
  { right: false, text: "✗ wrong: this is a dandelion" })"""
BUSY = """(text) => { say(text); byId("loading").hidden = !text.includes("onto");
  byId("loading").lastElementChild.textContent = "Loading onto this device: 3.1 of 10.5 MB"; }"""
REFUSED = """() => {
  navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("", "NotAllowedError"); };
}"""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not AXE.exists(), reason="no axe-core. To get it: npm ci --prefix tests/demo"),
]


def violations(page: "Page") -> list[str]:
    """What axe-core finds: rule, and the first element that breaks it."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(RUN)
    assert len(found["passes"]) > 10
    return [f"{rule['id']}: {rule['nodes'][0]['html'][:200]}" for rule in found["violations"]]


def look_at(page: "Page", state: str) -> None:
    """Nothing is cut or covered at any size, and axe-core finds nothing."""
    for width, height in SIZES:
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=CHECKED.get(width, "light"))
        assert page.evaluate(CUT) == [], (state, width)
        if width in CHECKED:
            assert violations(page) == [], (state, width)


def test_every_state_is_whole_and_accessible_at_every_size(
    browser: "Browser", served: str, photo_folder: Path, no_photo: Path, red_photo: Path
) -> None:
    photos = [red_photo, photo_folder / "green" / "00.jpg", no_photo]

    page = opened(browser, served)
    page.get_by_role("button", name="Measure all formats").click()
    page.wait_for_function("!document.querySelector('#measure').disabled")
    look_at(page, "all formats")
    for state, answer in ANSWERS.items():
        page.evaluate(SHOW, answer)
        look_at(page, state)
    for told in ("Loading Keras on the server ...", "Loading the network onto this device ...", ""):
        page.evaluate(BUSY, told)
        look_at(page, told)
    if page.locator("#live").is_visible():  # with LiteRT.js
        page.locator("#live").click()
        page.wait_for_function("document.querySelector('#overlay strong').innerText")
        look_at(page, "camera")
        page.locator("#live").click()
        page.evaluate(REFUSED)
        page.locator("#live").click()
        page.locator("#problem").wait_for()
        look_at(page, "camera refused")
    give(page, no_photo, NO_ANSWER)
    look_at(page, "error")
    page.evaluate(
        "() => { clearAnswer(); document.querySelectorAll('details').forEach((e) => { e.open = true; }); }"
    )
    look_at(page, "empty, and everything unfolded")
    page.get_by_role("tab", name="Many photos").click()
    look_at(page, "no photos yet")
    page.set_input_files("#photos", photos)
    page.get_by_text("3 photos: ").wait_for()
    look_at(page, "many photos")
    page.get_by_role("button", name="Table").click()
    look_at(page, "their table")
    page.get_by_role("tab", name="How good is it?").click()
    page.locator("#tiles").wait_for()
    look_at(page, "report")
    closed(page)


def test_everything_is_reached_by_keyboard_and_seen(page: "Page") -> None:
    page.locator("h1").click()  # from there on
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        state = page.evaluate(
            """() => { const e = document.activeElement, shown = e.closest('.big') ?? e;
            return [e.id, getComputedStyle(shown).outlineStyle !== 'none']; }"""
        )
        if state[0]:
            reached.append(tuple(state))
    ids = {name for name, _ in reached}
    assert {"live", "photo", "private", "look", "examples", "measure", "run-here", "share"} <= ids
    own = {"live", "photo", "private", "look", "examples", "measure", "run-here", "share"}
    assert [name for name, visible in reached if name in own and not visible] == []


def test_reduced_motion_is_respected(page: "Page") -> None:
    page.emulate_media(reduced_motion="reduce")
    moving = """() => [...document.querySelectorAll('#one *')].filter((element) => {
      const { transitionDuration, animationName } = getComputedStyle(element);
      return transitionDuration.split(', ').some((time) => parseFloat(time) > 0) || animationName !== 'none';
    }).length"""
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) > 0
