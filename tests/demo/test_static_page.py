"""The page without a server: a folder, any web server, and Chromium."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest
from huggingface_hub import SpaceCard

from demo import publishing, words
from demo import site as site_files
from demo.site import index, policy
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.errors import UserError
from mobilevit_core.inference.classifier import load_classifier
from tests.demo.conftest import OPTIONS, REPOSITORY
from tests.demo.looking import (
    NARROW,
    NEEDS_LITERT,
    NO_ANSWER,
    PATIENCE,
    RATE,
    SAID,
    WIDE,
    answers_here,
    give,
    opened,
    timed_rows,
)
from tests.demo.test_browser_accessible import AXE, violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

MOST_BYTES = 7_000_000  # before the first answer
pytestmark = NEEDS_LITERT


def test_the_front_matter_is_a_static_spaces(site: Path, shipped: Bundle) -> None:
    data = SpaceCard.load(site / "README.md").data
    assert (data.sdk, data.app_file, data.models) == ("static", "index.html", [REPOSITORY])
    assert data.title == words.title(shipped.manifest) and data.license == "apache-2.0"
    assert len(data.to_dict()["short_description"]) <= publishing.LONGEST
    assert data.to_dict()["thumbnail"].endswith("/flora/flowers/resolve/main/thumbnail.png")
    assert (site / "thumbnail.png").stat().st_size < 100_000


def test_the_folder_holds_the_bundle_and_names_who_took_the_photos(site: Path, shipped: Bundle) -> None:
    copied = open_bundle(site / "bundle")
    assert list(copied.intact) == words.on_device(shipped)
    listed = json.loads((site / "examples" / "index.json").read_text(encoding="utf-8"))
    assert listed and all((site / "examples" / row["file"]).is_file() for row in listed)
    assert all("CC BY 2.0" in row["credit"] and row["url"].startswith("https://") for row in listed)
    assert "report/photos" not in "".join(path.as_posix() for path in site.rglob("*"))


def test_names_of_classes_are_text(shipped: Bundle, tmp_path: Path) -> None:
    value = shipped.manifest.to_json()
    names = ['<img src=x onerror="alert(1)">', "[a](https://b.example)", "@c|`d`", *value["class_names"][3:]]
    changes = {"class_names": names, "golden": None}  # whose scores are by the names
    other = Bundle(shipped.folder, type(shipped.manifest).from_json(value | changes))
    assert "<img src=x" not in index(other)
    publishing._describe(other, tmp_path, OPTIONS, publishing.STATIC_README, sdk="static")
    card = SpaceCard.load(tmp_path / "README.md")
    assert card.data.title == words.title(other.manifest) and "[a](https://b.example)" in card.data.title
    heading = card.text.strip().splitlines()[0].removeprefix("# ")
    assert html.unescape(heading) == card.data.title and not re.search(r"[<>`[\]|]|://|@c", heading)


def test_what_can_not_be_shown_is_refused(
    shipped: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("bundle.json", "model.keras"):
        (tmp_path / name).write_bytes((shipped.folder / name).read_bytes())
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match="Browsers run .tflite files, and this bundle has none."):
        publishing.write_static(open_bundle(tmp_path), out, OPTIONS)
    with pytest.raises(UserError, match="Add --with-keras"):
        publishing.write_gradio(open_bundle(tmp_path), out, OPTIONS)
    monkeypatch.setattr(site_files, "LITERT", tmp_path)
    with pytest.raises(UserError, match="npm ci --prefix demo/device"):
        publishing.write_static(shipped, out, OPTIONS)
    assert not list(out.iterdir())


def test_the_policy_allows_the_one_script_inside_of_the_page_and_no_eval() -> None:
    inside = re.findall(
        r"<script type=\"importmap\">(.*?)</script>", (site_files.PAGE / "index.html").read_text()
    )
    digest = base64.b64encode(hashlib.sha256(inside[0].encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy() and "'unsafe-" not in policy()
    assert "http" not in policy().replace("https://huggingface.co", "")


def test_the_dark_changes_colours_alone() -> None:
    """So nothing but colours has to be looked at twice."""
    style = (site_files.PAGE / "page.css").read_text(encoding="utf-8")
    (dark,) = re.findall(r"@media \(prefers-color-scheme: dark\) \{\s*:root \{(.*?)\}\s*\}", style, re.DOTALL)
    names = {declaration.partition(":")[0].strip() for declaration in dark.split(";") if declaration.strip()}
    assert "--ink" in names and all(name.startswith("--") for name in names)
    assert "prefers-color-scheme" not in style.replace("@media (prefers-color-scheme: dark)", "", 1)


def test_all_scripts_that_the_page_begins_with_are_asked_for_at_once() -> None:
    begun, asked = [site_files.PAGE / "main.js"], set()
    while begun:
        script = begun.pop()
        imports = re.findall(r'^import .*? from "(\..*?)";', script.read_text(encoding="utf-8"), re.MULTILINE)
        found = {(script.parent / name).resolve() for name in imports} - asked
        asked |= found
        begun += found
    page = (site_files.PAGE / "index.html").read_text(encoding="utf-8")
    preloaded = re.findall(r'rel="modulepreload" href="(.*?)"', page)
    assert {site_files.DEMO / name for name in preloaded} == asked and len(asked) > 10


def test_the_engines_version_is_the_installed_one() -> None:
    wanted = json.loads((site_files.ENGINE / "package.json").read_text())["dependencies"]["@litertjs/core"]
    assert f'const LITERT = "{wanted}"' in (site_files.ENGINE / "engine.js").read_text()


@pytest.fixture(scope="module")
def loaded(browser: "Browser", url: str) -> "Iterator[Page]":
    """What the fixture `page` shares here: the page without a server."""
    page = opened(browser, url)
    yield page
    page.close()


@pytest.mark.browser
def test_without_scripts_or_a_server_the_page_says_something(
    browser: "Browser", url: str, site: Path
) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(url)
    assert "This page needs JavaScript" in page.inner_text("main")
    assert page.locator("#starting, .stay").filter(visible=True).count() == 0
    page.close()
    page = browser.new_page()
    page.goto((site / "index.html").as_uri())
    page.get_by_text("this file was opened without a web server").wait_for()
    page.close()


@pytest.mark.browser
def test_the_answer_can_be_printed(page: "Page") -> None:
    page.emulate_media(media="print")
    assert page.locator("button, .stay, iframe").filter(visible=True).count() == 0
    assert page.locator("#shown").is_visible() and page.locator("#name").is_visible()


@pytest.mark.browser
def test_the_page_answers_by_itself_and_asks_its_own_server_alone(
    browser: "Browser", url: str, site: Path, shipped: Bundle
) -> None:
    """Under the page's own policy, with the bytes that come before the first answer."""
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    asked: list[str] = []
    problems: list[str] = []
    page.on("request", lambda request: asked.append(f"{request.method} {request.url}"))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.goto(url)
    page.locator("#bars .share").filter(has_text="%").first.wait_for()
    first = [line for line in asked if not line.startswith("GET blob:")]
    assert all(line.startswith(f"GET {url}") for line in first) and not problems
    sizes = {line: (site / line.removeprefix(f"GET {url}").split("?")[0]) for line in set(first)}
    total = sum((path / "index.html" if path.is_dir() else path).stat().st_size for path in sizes.values())
    assert 3_000_000 < total < MOST_BYTES
    files = {Path(line).name.split("?")[0] for line in first}
    assert {"litert_wasm_internal.wasm.gz", "model_dynamic_int8.tflite"} <= files
    assert "model_float32.tflite" not in files  # only when it is asked for
    picture = json.loads((site / "examples" / "index.json").read_text(encoding="utf-8"))[0]["file"]
    answer = load_classifier(site / "bundle", "dynamic_int8").predict(site / "examples" / picture)
    name = "Probably none of these" if answer.unknown else words.display(answer.label, shipped.manifest)
    assert page.inner_text("#name") == name
    page.close()


@pytest.mark.browser
def test_formats_side_by_side(page: "Page", shipped: Bundle, red_photo: Path) -> None:
    give(page, red_photo)
    assert timed_rows(page, 3) == ["dynamic_int8"]
    page.get_by_role("button", name="Measure all formats").click()
    page.wait_for_selector("#measure:not([disabled])")
    assert timed_rows(page, 3) == words.on_device(shipped)
    for name in words.on_device(shipped):
        answer = load_classifier(shipped.folder, name).predict(red_photo)
        said = "None of these" if answer.unknown else words.display(answer.label, shipped.manifest)
        assert page.inner_text(f"tr[data-format={name}] td.said") == said
    assert timed_rows(page)[0] == "keras" and "recorded" in page.inner_text("#there").lower()
    assert "not on this device" in page.inner_text("#speed")
    assert page.locator("#look").is_hidden() and page.locator("#private").is_hidden()
    assert "Photos stay on this device" in page.inner_text("#title")


@pytest.mark.browser
@pytest.mark.photographs
def test_it_answers_as_the_bundle(page: "Page", tf_flowers: PhotoDataset, shipped: Bundle) -> None:
    photos = tf_flowers.split("test")
    classifier = load_classifier(shipped.folder, "dynamic_int8")
    expected = np.array([classifier.probabilities(photo.source) for photo in photos])
    answers = answers_here(page, "dynamic_int8", (photo.source for photo in photos))
    assert (answers.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.98
    assert np.abs(answers - expected).mean(axis=1).max() < 0.02


@pytest.mark.browser
def test_many_photos_camera_and_report(page: "Page", photo_folder: Path, tmp_path: Path) -> None:
    page.get_by_role("button", name="Live camera").click()
    page.wait_for_function(RATE)
    bad = tmp_path / "bad.jpg"
    bad.write_text("no photo")
    page.get_by_role("tab", name="One photo").press("ArrowRight")
    page.set_input_files("#photos", [*sorted((photo_folder / "red").iterdir())[:3], bad])
    page.wait_for_function("document.querySelector('#many-status').innerText.startsWith('4 photos:')")
    assert "1 unreadable" in page.inner_text("#many-status")
    assert "This photo can't be read here. Save it as JPEG" in page.inner_text("#groups .unreadable")
    assert page.locator("#groups img").count() == 3
    assert page.evaluate("document.querySelector('#video').srcObject") is None  # it gave way
    page.get_by_role("tab", name="How good is it?").click()
    assert "95 % interval" in page.inner_text("#tiles")
    report = page.frame_locator("#evidence iframe")
    report.get_by_role("heading").first.wait_for()
    assert page.locator("#one").is_hidden()


@pytest.mark.browser
def test_on_a_phone_in_the_dark(page: "Page") -> None:
    page.set_viewport_size(NARROW)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 18, 16)"
    answer = page.locator("#name").bounding_box()
    assert answer and answer["y"] + answer["height"] < 844  # on the first screen


@pytest.mark.browser
def test_a_load_that_fails_is_told_and_can_be_repeated(browser: "Browser", url: str, red_photo: Path) -> None:
    page = browser.new_page(bypass_csp=True, service_workers="block")
    page.set_default_timeout(PATIENCE)
    page.route("**/*.wasm.gz*", lambda route: route.fulfill(status=404))
    page.goto(url)
    page.wait_for_function(NO_ANSWER)
    said = page.inner_text("#sure")
    assert "can't" in said and "server" not in said
    page.unroute("**/*.wasm.gz*")
    assert "%" in give(page, red_photo, SAID)
    page.close()


@pytest.mark.browser
@pytest.mark.skipif(not AXE.exists(), reason="no axe-core. To get it: npm ci --prefix tests/demo")
def test_axe_finds_nothing(page: "Page") -> None:
    looks: list[tuple[dict[str, int], Literal["light", "dark"]]] = [(WIDE, "light"), (NARROW, "dark")]
    for size, scheme in looks:
        page.set_viewport_size(size)
        page.emulate_media(color_scheme=scheme)
        for tab in page.get_by_role("tab").all():
            tab.click()
            assert violations(page) == []


@pytest.mark.browser
def test_the_next_visit_works_offline(browser: "Browser", url: str) -> None:
    page = opened(browser, url, service_workers="allow")
    page.evaluate("navigator.serviceWorker.ready")
    page.reload()
    page.wait_for_function(SAID)  # everything went through the service worker
    page.context.set_offline(True)
    page.reload()
    page.wait_for_function(f"{SAID} && document.querySelector('#name').innerText !== 'No answer'")
    assert "%" in page.inner_text("#bars")
    page.close()
