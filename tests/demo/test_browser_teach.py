"""Teaching in a real browser, on the live page and on the one without a server: camera, files, link."""

import base64
import re
import struct
import time
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.bundle.weight_formats import tflite_formats
from mobilevit_core.commands.verify import verify
from mobilevit_core.inference.classifier import load_classifier
from mobilevit_core.training.transfer import GENERAL_FOLDER
from tests.demo.looking import NARROW, NEEDS_LITERT, PATIENCE, WIDE, closed, opened
from tests.demo.test_browser_accessible import violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, NEEDS_LITERT]

THINGS = ("cup", "ball", "pen")
STEPS = 3  # places that every thing is shown at
HELD_MS = 600  # at each of them
SECONDS = 5.0  # from the last photo to the right answer, on two cores with much other work
CLOSE = 0.01  # probability, between the page's float16 features and those of the float formats
CLOSE_LINK = 0.03  # of a head in 8 bits
SAID = "document.querySelector('#lens-said').innerText"
STATUS = "document.querySelector('#teach-status').innerText"
TABS = ("One photo", "Many photos", "Teach it", "How good is it?")
# A camera that shows a drawn scene; `show(thing, step)` changes it, and nothing moves by itself.
CAMERA = """(() => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 640, height: 480 });
  const pen = canvas.getContext("2d");
  let scene = "room", step = 0;
  const colour = (value) => { pen.fillStyle = pen.strokeStyle = value; };
  const things = {
    room: () => {},
    cup: () => { colour("#c22"); pen.fillRect(-80, -100, 160, 200); pen.lineWidth = 24; pen.beginPath(); pen.arc(90, 0, 50, -1.5, 1.5); pen.stroke(); },
    ball: () => { colour("#26c"); pen.beginPath(); pen.arc(0, 0, 120, 0, 7); pen.fill(); },
    pen: () => { colour("#171"); pen.rotate(0.5); pen.fillRect(-200, -18, 360, 36); },
  };
  const draw = () => {
    pen.resetTransform();
    colour("#b9b0a0"); pen.fillRect(0, 0, 640, 480);
    colour("#8a7f70"); pen.fillRect(0, 340, 640, 140);
    pen.translate(260 + 40 * step, 220 + 12 * step);
    things[scene]();
  };
  window.show = (thing, place = 0) => { [scene, step] = [thing, place]; draw(); };
  setInterval(draw, 40);
  navigator.mediaDevices.getUserMedia = async () => canvas.captureStream(25);
})();"""  # noqa: E501
SHOWN = """async ([thing, step]) => {
  const video = document.querySelector("#lens-video");
  show(thing, step);
  for (let frame = 0; frame < 4; frame++) await new Promise((wake) => video.requestVideoFrameCallback(wake));
}"""
COUNT = "(place) => document.querySelectorAll('#lesson > li')[place].querySelectorAll('.shots li').length"
SEEN = """() => {
  const video = document.querySelector("#lens-video"), canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  canvas.getContext("2d").drawImage(video, 0, 0);
  return canvas.toDataURL("image/png").split(",")[1];
}"""
# What the page's model says about every photo that it was taught with, and how sure of all it is.
ANSWERS = """async (features) => {
  const [{ model }, { probabilities }] = await Promise.all(
    ["lesson", "learn"].map((name) => import(new URL(`page/${name}.js`, document.baseURI))));
  return features.map((one) => probabilities(model(), Float32Array.from(one)));
}"""
FEATURES = """async () => {
  const { lesson } = await import(new URL("page/lesson.js", document.baseURI));
  return lesson.classes.map(({ photos }) => photos.map(({ features }) => [...features]));
}"""


@dataclass
class Taught:
    """A page on which three things were taught with the camera."""

    page: "Page"
    url: str
    asked: list[str]
    seconds: float = 0.0
    photos: list[bytes] = field(default_factory=list)  # what the camera showed, for each photo
    features: list[list[float]] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)

    def stop_camera(self) -> None:
        """What comes next needs the processors."""
        stop = self.page.get_by_role("button", name="Stop camera")
        if stop.count():
            stop.click()

    def answers(self, page: "Page | None" = None) -> np.ndarray:
        """Probabilities of all photos by what a page has learned."""
        return np.array((page or self.page).evaluate(ANSWERS, self.features))


def on_teach(browser: "Browser", url: str, size: dict[str, int] = WIDE) -> "tuple[Page, list[str]]":
    """A page with the drawn camera on its tab, and what it asks for."""
    asked: list[str] = []

    def prepare(page: "Page") -> None:
        page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
        page.on("dialog", lambda dialog: dialog.accept())
        page.add_init_script(CAMERA)

    page = opened(browser, url, size, prepare, accept_downloads=True)
    asked.clear()  # what the other tabs asked for
    page.get_by_role("tab", name="Teach it").click()
    page.get_by_text("200 everyday photos").wait_for()
    return page, asked


def press(page: "Page", place: int) -> int:
    """Holds a thing's button with the mouse; how many photos that took, at least one."""
    before = counted(page, place)
    button = page.locator("#lesson .shoot").nth(place)
    button.scroll_into_view_if_needed()
    box = button.bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.wait_for_timeout(HELD_MS)
    page.mouse.up()
    page.wait_for_function(
        f"([place, before]) => ({COUNT})(place) > before", arg=[place, before]
    )  # a short press gets the next picture
    return counted(page, place) - before


def counted(page: "Page", place: int) -> int:
    return page.evaluate(COUNT, place)


def teach(taught: Taught) -> None:
    page = taught.page
    page.locator("#lens-toggle").click()
    page.wait_for_function("document.querySelector('#lens-video').videoWidth > 0")
    for label, name in enumerate(THINGS):
        if label == 2:
            page.get_by_role("button", name="Add a thing").click()
        page.locator("#lesson input[type=text]").nth(label).fill(name)
        for step in range(STEPS):
            page.evaluate(SHOWN, [name, step])
            more = press(page, label)
            photo = base64.b64decode(page.evaluate(SEEN))
            taught.photos += [photo] * more
            taught.labels += [label] * more
    start = time.monotonic()
    page.wait_for_function(f"{SAID} === 'pen'", polling=50)
    taught.seconds = time.monotonic() - start
    taught.features = [one for thing in page.evaluate(FEATURES) for one in thing]


@pytest.fixture(scope="module", params=[("live", WIDE), ("static", NARROW)], ids=["live", "static"])
def taught(request: pytest.FixtureRequest, browser: "Browser") -> Iterator[Taught]:
    kind, size = request.param
    url = request.getfixturevalue("served" if kind == "live" else "url")
    page, asked = on_teach(browser, url, size)
    assert all(page.get_by_role("tab", name=name).is_visible() for name in TABS)  # none hides in a menu
    taught = Taught(page, url, asked)
    teach(taught)
    yield taught
    closed(page)


def test_it_answers_at_once_and_tells_how_good_it_is(taught: Taught) -> None:
    page = taught.page
    assert taught.seconds < SECONDS
    assert len(taught.labels) > 3 * STEPS  # more than one photo for each time that the button was held
    for name in THINGS:
        page.evaluate("(thing) => show(thing, 1.5)", name)  # where it was not shown before
        page.wait_for_function(f"{SAID} === '{name}'")
    assert page.locator("#guess [role=meter]").count() == 4  # none of these is one of them
    page.wait_for_function("document.querySelector('#taught-how').innerText.includes('right on')")
    told = page.locator("#taught-how li").all_inner_texts()
    counts = [taught.labels.count(label) for label in range(3)]
    assert [re.sub(r"right on \d+", "right on", line) for line in told] == [
        f"{name}: right on of {count} photos that it had not seen"
        for name, count in zip(THINGS, counts, strict=True)
    ]
    assert (taught.answers().argmax(axis=1) == taught.labels).all()
    page.evaluate(SHOWN, ["room", 0])
    press(page, 3)  # none of these: a photo or two of the empty room
    page.wait_for_function(f"{SAID} === 'Probably none of these'")
    for name in THINGS:
        page.evaluate(SHOWN, [name, 1])
        page.wait_for_function(f"{SAID} === '{name}'")


def test_nothing_leaves_the_device_and_axe_finds_nothing(taught: Taught) -> None:
    page = taught.page
    taught.stop_camera()
    page.locator("#code summary").click()
    page.wait_for_function("document.querySelector('#code canvas').width > 300")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    own = tuple(f"GET {taught.url}{place}/" for place in ("page", "device", "trunk"))
    assert [line for line in taught.asked if not line.startswith((*own, "GET blob:", "GET data:"))] == []


def test_the_files_answer_in_python_as_the_page(taught: Taught, tmp_path: Path) -> None:
    page, expected = taught.page, taught.answers()
    taught.stop_camera()
    page.select_option("#taught-format", label=page.locator("#taught-format option").last.inner_text())
    with page.expect_download() as saved:
        page.locator("#taught-file").click()
    with zipfile.ZipFile(saved.value.path()) as archive:
        archive.extractall(tmp_path)
        assert archive.read("taught/labels.txt").decode().split("\n") == [*THINGS, "none of these"]
    bundle = open_bundle(tmp_path / "taught")
    assert bundle.intact == tuple(tflite_formats())
    assert all(one.agrees for one in verify(bundle.folder))
    own = open_bundle(GENERAL_FOLDER).manifest.files["keras"].sha256
    assert bundle.manifest.start and bundle.manifest.start["weights_sha256"] == own
    for name in tflite_formats():
        classifier = load_classifier(bundle.folder, name)
        answers = {photo: classifier.probabilities(photo) for photo in set(taught.photos)}
        found = np.array([answers[photo] for photo in taught.photos])
        assert (found.argmax(axis=1) == expected.argmax(axis=1)).all(), name
        if name.startswith("float"):
            assert np.abs(found - expected).max() < CLOSE, name
    page.select_option("#taught-format", "float32")
    with page.expect_download() as saved:
        page.locator("#taught-file").click()
    alone = tmp_path / saved.value.suggested_filename
    saved.value.save_as(alone)
    assert alone.read_bytes() == bundle.weights("float32").read_bytes()


def test_the_link_gives_the_same_answers_to_whoever_opens_it(
    taught: Taught, browser: "Browser", tmp_path: Path
) -> None:
    taught.stop_camera()
    link = taught.page.evaluate(LINK_OF)
    assert link.startswith(f"{taught.url}#taught=b") and len(link) < 3000
    page = opened(browser, link, NARROW, lambda page: page.add_init_script(CAMERA), accept_downloads=True)
    page.locator("#opened").get_by_text("This link knows: cup, ball, pen, none of these.").wait_for()
    assert page.get_by_role("tab", name="Teach it").get_attribute("aria-selected") == "true"
    found, expected = taught.answers(page), taught.answers()
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).all()
    assert np.abs(found - expected).max() < CLOSE_LINK
    page.locator("#lens-toggle").click()
    for name in THINGS:
        page.evaluate("(thing) => show(thing, 1)", name)
        page.wait_for_function(f"{SAID} === '{name}'")
    assert violations(page) == []
    page.locator("#taught-format option[value=float32]").wait_for(state="attached")
    assert not page.locator("#taught-format option[value=int8]").count()  # it needs photos
    page.select_option("#taught-format", "float32")
    with page.expect_download() as saved:
        page.locator("#taught-file").click()
    saved.value.save_as(tmp_path / "link.tflite")
    (one,) = verify(tmp_path / "link.tflite")
    assert one.agrees
    page.get_by_role("button", name="Teach it something else").click()
    assert page.url.endswith("#teach") and page.locator("#lesson input[type=text]").count() == 2
    closed(page)


LINK_OF = """async () => {
  const [{ model }, { packHead, toText, LINK }, { withTrunk }] = await Promise.all(
    ["lesson", "link", "trunk"].map((name) => import(new URL(`page/${name}.js`, document.baseURI))));
  const { weights_sha256 } = await withTrunk((engine) => engine.manifest());
  const head = packHead(model(), weights_sha256);
  return `${document.baseURI.split("#")[0]}${LINK}${toText(head)}`;
}"""
WIDTH = 320
DAMAGED = "This link is damaged or not one of this page: nothing was opened. Ask for it again."
OTHERS = "This link was made with other weights than this page has"


def packed(
    names: list[bytes],
    weights: str,
    flags: int = 0,
    scale: float = 0.1,
    bias: float = 0.0,
    count: int | None = None,
) -> bytes:
    """A link's bytes with a right checksum, whatever is in them."""
    head = bytes([1, *bytes.fromhex(weights[:8]), flags, 128, len(names) if count is None else count])
    head += b"".join(bytes([len(name)]) + name for name in names)
    head += (struct.pack("<ff", bias, scale) + bytes(WIDTH)) * (len(names) - 1)
    return head + struct.pack("<I", zlib.crc32(head))


def as_link(content: bytes) -> str:
    return f"#taught=b{base64.urlsafe_b64encode(content).decode().rstrip('=')}"


def bad_links(weights: str) -> dict[str, str]:
    """Links that open nothing: what is wrong with each -> what stands in the address."""
    good = packed([b"a", b"b"], weights)
    flipped = bytearray(good)
    flipped[40] ^= 1
    names = {
        "markup": b"<img src=x>",
        "turned around": "a\u202eb".encode(),
        "invisible": "a\u200bb".encode(),
        "blank": b"  ",
        "a letter that looks like nothing": "\u3164".encode(),
        "an accent alone": "\u0301".encode(),
        "twice": b"b",
        "none without its flag": b"none of these",
        "no UTF-8": b"\xff\xfe",
        "too long": b"a" * 41,
    }
    return {
        "cut": as_link(good[:-9]),
        "a flipped bit": as_link(bytes(flipped)),
        "no base64": "#taught=b%%%",
        "nothing": "#taught=",
        "another letter": "#taught=x00",
        "huge": "#taught=b" + "A" * 40_000,
        "huge number": "#taught=d" + "9" * 29_000,
        "one class": as_link(packed([b"a"], weights)),
        "many classes": as_link(packed([str(n).encode() for n in range(60)], weights)),
        "a wrong count": as_link(packed([b"a", b"b"], weights, count=3)),
        "NaN": as_link(packed([b"a", b"b"], weights, scale=float("nan"))),
        "infinite": as_link(packed([b"a", b"b"], weights, bias=float("inf"))),
        "more than float16 holds": as_link(packed([b"a", b"b"], weights, bias=70_000.0)),
        "a scale over that": as_link(packed([b"a", b"b"], weights, scale=600.0)),
        "flags": as_link(packed([b"a", b"b"], weights, flags=6)),
        **{kind: as_link(packed([name, b"b"], weights)) for kind, name in names.items()},
    }


@pytest.fixture(scope="module")
def fresh(browser: "Browser", served: str) -> "Iterator[Page]":
    page, _ = on_teach(browser, served)
    yield page
    closed(page)


def test_bad_links_are_refused_in_a_sentence(fresh: "Page") -> None:
    weights = open_bundle(GENERAL_FOLDER).manifest.files["keras"].sha256
    links = bad_links(weights)
    links["other weights"] = as_link(packed([b"a", b"b"], "0" * 64))
    for kind, link in links.items():
        fresh.evaluate("() => { document.querySelector('#teach-status').textContent = ''; }")
        fresh.evaluate("(hash) => { location.hash = hash; }", link)
        fresh.wait_for_function(f"{STATUS} !== ''")
        said = fresh.inner_text("#teach-status")
        assert said.startswith(OTHERS) if kind == "other weights" else said == DAMAGED, kind
        assert fresh.locator("#opened").is_hidden() and fresh.locator("#taught").is_hidden(), kind
    fresh.evaluate("(hash) => { location.hash = hash; }", as_link(packed([b"a", b"b"], weights)))
    fresh.locator("#opened").get_by_text("This link knows: a, b.").wait_for()  # so nothing else was wrong
    fresh.get_by_role("button", name="Teach it something else").click()


def test_keys_and_screen_readers_take_photos_too(fresh: "Page") -> None:
    """Space is held, a click without a pointer takes one photo, and what is removed comes back."""
    first = fresh.locator("#lesson .shoot").nth(0)
    first.focus()
    fresh.keyboard.down(" ")
    fresh.locator("#lesson .count").nth(0).get_by_text(re.compile(r"[2-9] photos")).wait_for()
    fresh.keyboard.up(" ")
    fresh.wait_for_function(f"{STATUS}.startsWith('“Thing 1”: ')")
    before = counted(fresh, 0)
    for more in (1, 2):
        first.evaluate("(button) => button.click()")
        fresh.locator("#lesson .count").nth(0).get_by_text(f"{before + more} photos").wait_for()
    fresh.wait_for_timeout(600)
    assert counted(fresh, 0) == before + 2
    fresh.get_by_role("button", name="Remove photo 1 of Thing 1").press("Enter")
    assert counted(fresh, 0) == before + 1
    fresh.get_by_role("button", name="Undo").press("Enter")
    assert counted(fresh, 0) == before + 2
    fresh.locator("#lesson input[type=text]").nth(0).press_sequentially("\u202e<b>mug")
    assert fresh.get_by_role("button", name="Hold to take photos of bmug").count() == 1
    fresh.get_by_role("button", name="Remove bmug").click()
    assert fresh.locator("#lesson > li").count() == 2
    fresh.get_by_role("tab", name="One photo").click()  # the camera stops with its tab
    assert fresh.evaluate("document.querySelector('#lens-video').srcObject") is None
    fresh.get_by_role("tab", name="Teach it").click()


def test_photos_from_files_and_what_is_not_learned(fresh: "Page", photo_folder: Path, no_photo: Path) -> None:
    """The same photos as two things: no better than guessing, with those that it got wrong."""
    while fresh.locator("#lesson input[type=text]").count():
        fresh.locator("#lesson .named button").first.click()
    shown = sorted((photo_folder / "red").iterdir())[:5]
    for place, name in enumerate(("one", "other")):
        fresh.get_by_role("button", name="Add a thing").click()
        fresh.keyboard.type(name)
        card = fresh.locator("#lesson > li").nth(place)
        card.locator("input[type=file]").set_input_files([*shown, no_photo])
        fresh.wait_for_function(f'{STATUS}.startsWith("Can\'t be read here: holiday.jpg. ")')
        card.get_by_text("5 photos").wait_for()
    fresh.wait_for_function(
        "document.querySelector('#taught-how').innerText.includes('no better than guessing yet')"
    )
    assert fresh.locator("#mistaken canvas").count() >= 1
    assert re.search("(one|other): “(one|other|none of these)”", fresh.inner_text("#mistaken"))
    fresh.set_input_files("#try-photo", shown[0])
    fresh.wait_for_function(f"{STATUS}.startsWith('{shown[0].name}: ')")
    assert violations(fresh) == []
    fresh.locator("#lesson input[type=text]").nth(1).fill("one")
    fresh.wait_for_function(
        f"{STATUS} === 'Two things can’t both be called “one”. Rename one.'".replace("’", "\\'")
    )
    assert fresh.locator("#taught").is_hidden()


def test_a_browser_without_webassembly_gets_a_sentence(browser: "Browser", served: str) -> None:
    page = browser.new_page(service_workers="block")
    page.set_default_timeout(PATIENCE)
    page.add_init_script("delete window.WebAssembly")
    page.goto(f"{served}#teach")
    page.get_by_text("This browser has no WebAssembly, which learning on this device needs.").wait_for()
    page.close()
