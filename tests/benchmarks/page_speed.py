"""Seconds that a visitor waits for the page, on networks of three speeds; medians of fresh visits.

Starts app.py on this machine and opens it in Chromium, which is told to be on such a network
(Network.emulateNetworkConditions). Every visit is a first one: nothing is cached, no service worker.

    python -m tests.benchmarks.page_speed [--visits 3]     about three minutes; needs Chromium

From `python app.py` to the page, and memory: tests.benchmarks.startup.
"""

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tests.benchmarks.startup import APP, running
from tests.demo.conftest import CAMERA, CHROMIUM, QUIET

if TYPE_CHECKING:
    from playwright.sync_api import Browser

# Bits per second from and to the server, milliseconds per round trip: WebPageTest's "4G" and "3G Fast".
NETWORKS = {"not throttled": None, "4G": (9e6, 9e6, 170), "3G": (1.6e6, 768e3, 150)}
STEPS = ("page usable", "first answer", "own photo", "live camera")
SIDES = (4000, 3000)  # of the own photo: 12 megapixels
# Seconds since the visit's begin at which the examples could be tapped and the first answer stood there.
WATCH = """
window.seen = {};
const look = () => {
  const text = (id) => document.getElementById(id)?.innerText.trim();
  if (document.querySelector("#examples button")) seen.usable ??= performance.now() / 1000;
  if (text("name")) seen.answer ??= performance.now() / 1000;
};
new MutationObserver(look).observe(document, { childList: true, subtree: true, characterData: true });
"""
SAID = "document.getElementById('name')?.innerText.trim()"
QUIET_AGAIN = """!document.getElementById('status')?.innerText.trim()
  && document.getElementById('speed')?.innerText.trim()"""
NAMED_LIVE = "document.querySelector('#overlay strong')?.innerText"


def own_photo() -> bytes:
    """A JPEG as a phone writes it: 12 megapixels, some 4 MB."""
    numbers = np.random.default_rng(0)
    rough = numbers.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(rough).resize(SIDES, Image.Resampling.BICUBIC), np.int16)
    noisy = smooth + numbers.integers(-12, 13, (*smooth.shape[:2], 1), dtype=np.int16)
    file = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(file, "JPEG", quality=85)
    return file.getvalue()


def visit(
    browser: "Browser", url: str, network: tuple[float, float, float] | None, photo: Path
) -> list[float]:
    """Seconds of one first visit, in the order of `STEPS`."""
    context = browser.new_context(bypass_csp=True, service_workers="block")
    page = context.new_page()
    page.set_default_timeout(300_000)
    if network:
        down, up, latency = network
        values = {"downloadThroughput": down / 8, "uploadThroughput": up / 8, "latency": latency}
        session = context.new_cdp_session(page)
        session.send("Network.enable")
        session.send("Network.emulateNetworkConditions", {"offline": False, **values})
    page.add_init_script(WATCH)
    page.goto(url)
    page.wait_for_function(f"{SAID} && {QUIET_AGAIN}")
    seen = page.evaluate("window.seen")
    begin = time.perf_counter()
    page.set_input_files("#photo", photo)
    page.wait_for_function(SAID)
    own = time.perf_counter() - begin
    page.wait_for_function(QUIET_AGAIN)
    begin = time.perf_counter()
    page.click("#live")
    page.wait_for_function(NAMED_LIVE)
    live = time.perf_counter() - begin
    context.close()
    return [seen["usable"], seen["answer"], own, live]


def main() -> None:
    """Prints every median as a table, and all values."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--visits", type=int, default=3, help="of each network (default: %(default)s)")
    parser.add_argument("--app", type=Path, default=APP, help="app.py of another clone, to compare")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, running(app=arguments.app) as (_, url, _):
        photo = Path(folder, "IMG_0001.jpg")
        photo.write_bytes(own_photo())
        print(f"own photo: {photo.stat().st_size / 1e6:.1f} MB\n\n| s | {' | '.join(STEPS)} |")
        print("| --- |" + " ---: |" * len(STEPS))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *CAMERA])
            visit(browser, url, None, photo)  # the server loads Keras after its first answer
            for name, network in NETWORKS.items():
                rows = zip(
                    *(visit(browser, url, network, photo) for _ in range(arguments.visits)), strict=True
                )
                told = [f"{statistics.median(row):.2f} ({min(row):.2f} to {max(row):.2f})" for row in rows]
                print(f"| {name} | {' | '.join(told)} |", flush=True)
            browser.close()


if __name__ == "__main__":
    main()
