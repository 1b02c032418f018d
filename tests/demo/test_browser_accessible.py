"""axe-core finds nothing to complain about, in light and dark, at three sizes, in every state."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.demo.looking import NO_ANSWER, closed, give, opened

if TYPE_CHECKING:
    from typing import Literal

    from playwright.sync_api import Browser, Page

AXE = Path(__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
SIZES = (390, 768, 1366)
# The page and everything in it but the report.
RUN = "() => axe.run({ exclude: [['iframe']] })"
UNKNOWN = """() => showAnswer({
  label: "roses", score: 0.4, unknown: true, predictions: [{ label: "roses", score: 0.4 }],
})"""

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


@pytest.mark.parametrize("width", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(
    browser: "Browser",
    served: str,
    photo_folder: Path,
    tmp_path: Path,
    width: int,
    scheme: "Literal['light', 'dark']",
) -> None:
    page = opened(browser, served, width, color_scheme=scheme)
    assert violations(page) == []
    page.evaluate(UNKNOWN)
    assert violations(page) == []
    text = tmp_path / "holiday.jpg"
    text.write_text("no photograph")
    give(page, text, NO_ANSWER)
    assert violations(page) == []
    page.get_by_role("tab", name="Many photos").click()
    assert violations(page) == []
    page.set_input_files(
        "#photos", [photo_folder / "red" / "00.jpg", photo_folder / "green" / "00.jpg", text]
    )
    page.get_by_text("3 photos: ").wait_for()
    assert violations(page) == []
    page.get_by_role("button", name="Table").click()
    assert violations(page) == []
    page.get_by_role("tab", name="How good is it?").click()
    page.locator("#tiles").wait_for()
    assert violations(page) == []
    closed(page)


def test_everything_is_reached_by_keyboard_and_seen(browser: "Browser", served: str) -> None:
    page = opened(browser, served)
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
    closed(page)


def test_reduced_motion_is_respected(browser: "Browser", served: str) -> None:
    page = opened(browser, served, reduced_motion="reduce")
    moving = """() => [...document.querySelectorAll('#one *')].filter((element) => {
      const { transitionDuration, animationName } = getComputedStyle(element);
      return transitionDuration.split(', ').some((time) => parseFloat(time) > 0) || animationName !== 'none';
    }).length"""
    assert page.evaluate(moving) == 0
    page.emulate_media(reduced_motion="no-preference")
    assert page.evaluate(moving) > 0
    closed(page)
