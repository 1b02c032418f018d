"""A page that is really served, and a browser to look at it."""

import shutil
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from demo.comparison import Comparison
from demo.server import build
from demo.uploads import Limits
from mobilevit_core.bundle.bundle import Bundle
from tests.demo.visitor import Visitor

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="session")
def comparison(shipped: Bundle) -> Comparison:
    return Comparison(shipped)


@pytest.fixture
def serve(comparison: Comparison) -> Iterator[Callable[..., str]]:
    """Starts a page with its own limits and options, until the end of the test; returns its address.

    All pages of a process share one upload folder, so one with a short lifetime must not outlive its test.
    """
    pages = []

    def start(
        limits: Limits | None = None, shown: Comparison | None = None, teach: bool = False, **options: Any
    ) -> str:
        page = build(shown or comparison, limits, teach=teach)
        pages.append(page)
        return page.start(block=False, **options)

    yield start
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def served(comparison: Comparison) -> Iterator[str]:
    page = build(comparison)
    yield page.start(block=False, mcp=True)
    page.close()


@pytest.fixture
def visitor(served: str) -> Iterator[Visitor]:
    with Visitor(base_url=served, timeout=120) as visitor:
        yield visitor


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
