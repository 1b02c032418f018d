"""What the browser tests do with a page: open it, give it photos, wait for the answer."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from demo.site import LITERT

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Browser, Page

NEEDS_LITERT = pytest.mark.skipif(
    not LITERT.exists(), reason="no LiteRT.js. To get it: npm ci --prefix demo/device"
)
PHOTO = "#photo"
SAID = (
    "document.querySelector('#status')?.innerText === '' && document.querySelector('#name').innerText.trim()"
)
# What the page's scripts export, under its own names.
EXPORTS = """async () => {
  const names = ["base", "answer", "device", "formats", "many", "one", "prepare", "server"];
  const address = (name) => new URL(`page/${name}.js`, document.baseURI);
  for (const name of names) Object.assign(window, await import(address(name)));
}"""
COMPARED = (
    f"{SAID} && ['#speed', '#here-note'].some((place) => document.querySelector(place).innerText !== '')"
)
# The camera names what it sees; hidden, the overlay has the words of the time before.
OVERLAY = "document.querySelector('#overlay')"
RATE = f"!{OVERLAY}.hidden && {OVERLAY}.innerText.includes('pictures a second')"
NO_ANSWER = f"{SAID} === 'No answer'"
PATIENCE = 120_000  # milliseconds
LOGS = ("cc:", "XNNPACK")  # LiteRT.js writes its log there
WIDE, NARROW = {"width": 1366, "height": 768}, {"width": 390, "height": 844}  # windows, pixels
# The next body of an answer arrives when the test says so.
HELD_BODY = """() => {
  const blob = Response.prototype.blob;
  window.arrive = undefined;
  Response.prototype.blob = async function () {
    Response.prototype.blob = blob;
    const body = await blob.call(this);
    await new Promise((arrive) => { window.arrive = arrive; });
    return body;
  };
}"""
# Every request for the camera waits until the test allows it; `cameras` has them with the tracks they gave.
HELD_CAMERA = """
window.cameras = [];
const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
navigator.mediaDevices.getUserMedia = async (wanted) => {
  const one = { tracks: [] };
  window.cameras.push(one);
  await new Promise((allow) => { one.allow = allow; });
  const stream = await getUserMedia(wanted);
  one.tracks = stream.getTracks();
  return stream;
};
"""


def opened(
    browser: "Browser",
    url: str,
    size: "dict[str, int]" = WIDE,
    prepare: "Callable[[Page], None] | None" = None,
    until: str = COMPARED,
    **options: Any,
) -> "Page":
    """The page after it answered by itself; whatever fails on it fails the test in `closed`.

    Args:
        browser: Chromium.
        url: of the page.
        size: of the window.
        prepare: what to do with the empty page before it loads.
        until: what holds once it is there.
        options: of its context.
    """
    # Playwright's own waiting needs eval, which the page's policy refuses; one test looks at the policy.
    # A service worker would keep requests from `route`.
    options = {"bypass_csp": True, "service_workers": "block", **options}
    page = browser.new_page(viewport=size, **options)
    page.set_default_timeout(PATIENCE)
    page.problems = []  # type: ignore[attr-defined]
    page.on("pageerror", lambda error: page.problems.append(str(error)))  # type: ignore[attr-defined]
    if prepare:
        prepare(page)
    page.goto(url)
    page.wait_for_function(until)
    page.evaluate(EXPORTS)
    return page


def closed(page: "Page") -> None:
    """Closes the page, on which no script may have failed."""
    assert not page.problems  # type: ignore[attr-defined]
    page.close()


def give(page: "Page", photo: Path, until: str = COMPARED) -> str:
    """Chooses a photo; the text of the answer."""
    page.set_input_files(PHOTO, photo)
    page.wait_for_function(until)
    return page.inner_text("#answer")


def timed_rows(page: "Page", cell: int = 2) -> list[str]:
    """The formats that have a time on the server, or with cell 3 on this device."""
    return page.eval_on_selector_all(
        "#formats tr[data-format]",
        "(rows, cell) => rows.filter(r => r.cells[cell].innerText).map(r => r.dataset.format)",
        cell,
    )


ASK = """async ([format, encoded]) => {
  const bytes = Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0));
  return withEngine(format, async (engine) => [...(await engine.values(new Blob([bytes])))]);
}"""


def answers_here(page: "Page", format: str, photos: Iterable[bytes]) -> np.ndarray:
    """Probabilities of photos by a format on this device: (photos, classes)."""
    encoded = (base64.b64encode(photo).decode() for photo in photos)
    return np.array([page.evaluate(ASK, [format, text]) for text in encoded])
