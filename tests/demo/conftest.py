"""A page that is really served, and a browser to look at it."""

import functools
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from demo import publishing
from demo.comparison import Comparison
from demo.server import PageServer
from demo.uploads import Limits
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.publishing.pages import PageOptions
from tests.demo.looking import EXPORTS, SAID, WIDE, opened
from tests.demo.visitor import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]

REPOSITORY = "flora/flowers"
OPTIONS = PageOptions(REPOSITORY, (REPOSITORY,))


@pytest.fixture
def red_photo(photo_folder: Path) -> Path:
    return photo_folder / "red" / "00.jpg"


@pytest.fixture
def no_photo(tmp_path: Path) -> Path:
    """A text file that calls itself a JPEG."""
    path = tmp_path / "holiday.jpg"
    path.write_text("no photo")
    return path


@pytest.fixture(scope="session")
def comparison(shipped: Bundle) -> Comparison:
    return Comparison(shipped)


@pytest.fixture
def serve(comparison: Comparison) -> Iterator[Callable[..., str]]:
    """Starts a page with its own limits and options, until the end of the test; returns its address.

    All pages of a process share one upload folder, so one with a short lifetime must not outlive its test.
    """
    pages = []

    def start(limits: Limits | None = None, shown: Comparison | None = None, **options: Any) -> str:
        page = PageServer(shown or comparison, limits)
        pages.append(page)
        return page.start(block=False, **options)

    yield start
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def quick_start(shipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Options of app.py for tests of its start and end: no TensorFlow to load, nothing to fetch."""
    without = shutil.ignore_patterns("model.keras")
    folder = shutil.copytree(shipped.folder, tmp_path_factory.mktemp("quick") / "bundle", ignore=without)
    return ["--bundle", str(folder), "--no-mcp", "--no-examples"]


@pytest.fixture(scope="session")
def served(comparison: Comparison) -> Iterator[str]:
    page = PageServer(comparison)
    yield page.start(block=False, mcp=True)
    page.close()


@pytest.fixture
def visitor(served: str) -> Iterator[Visitor]:
    with Visitor(base_url=served, timeout=120) as visitor:
        yield visitor


class Quiet(SimpleHTTPRequestHandler):
    """Python's own web server, which knows nothing of the page."""

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="session")
def site(shipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page without a server."""
    folder = tmp_path_factory.mktemp("static") / "site"
    folder.mkdir()
    publishing.write_static(shipped, folder, OPTIONS)
    return folder


@pytest.fixture(scope="session")
def url(site: Path) -> Iterator[str]:
    """Where Python's own web server shows it."""
    handler = functools.partial(Quiet, directory=site)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> "Iterator[Browser]":
    """Chromium, with a camera that shows a drawn picture."""
    if CHROMIUM is None:
        pytest.skip("no Chromium. To get it on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*QUIET, *CAMERA])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def loaded(browser: "Browser", served: str) -> "Iterator[Page]":
    page = opened(browser, served, permissions=["clipboard-read", "clipboard-write"])
    page.on("dialog", lambda dialog: dialog.accept())  # that answers would be lost
    yield page
    page.close()


@pytest.fixture
def page(loaded: "Page") -> "Iterator[Page]":
    """A page that the tests of a module share, because it takes seconds to load; no script may fail on it."""
    loaded.set_viewport_size(WIDE)
    loaded.emulate_media(media="screen", color_scheme="light")
    loaded.evaluate(EXPORTS)
    loaded.get_by_role("tab", name="One photo").click()
    loaded.wait_for_function(SAID)
    yield loaded
    loaded.evaluate("document.querySelectorAll('#private:checked').forEach((box) => box.click())")
    problems, loaded.problems = loaded.problems, []  # type: ignore[attr-defined]
    assert not problems
