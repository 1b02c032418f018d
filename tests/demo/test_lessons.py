"""Teaching through the page's functions: what is let in, what comes out, and that nothing stays."""

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from demo import lessons, server, uploads, words
from demo.comparison import Comparison
from demo.lessons import FEWEST, MOST, Lessons, admitted
from demo.server import build
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.commands.verify import verify
from mobilevit_core.errors import UserError
from mobilevit_core.inference.classifier import load_classifier
from tests.demo.test_gate import forged
from tests.demo.visitor import Visitor

COLOURS = ("red", "blue")


@dataclass
class Class:
    """A page on which something was taught."""

    visitor: Visitor
    lessons: Lessons
    told: dict[str, Any]
    uploaded: list[Path]

    @property
    def folder(self) -> Path:
        return self.lessons.find(self.told["token"]).folder


def sent(visitor: Visitor, folder: Path, count: int = 7) -> list[dict[str, Any]]:
    """Uploads some photographs of every colour; what `/teach` takes."""
    return [
        {"name": name, "photos": [visitor.upload(path) for path in sorted((folder / name).iterdir())[:count]]}
        for name in COLOURS
    ]


@pytest.fixture(scope="module")
def taught(small_bundle: Bundle, photo_folder: Path) -> Iterator[Class]:
    """One training that the tests of this file look at."""
    made: list[Lessons] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("demo.server.Lessons", lambda bundle: made.append(Lessons(bundle)) or made[0])
        page = build(Comparison(small_bundle), teach=True)
    url = page.start(block=False, mcp=True)
    with Visitor(base_url=url, timeout=600) as visitor:
        classes = sent(visitor, photo_folder)
        bad = photo_folder.parent / "holiday.jpg"
        bad.write_text("no photograph")
        classes[1]["photos"].append(visitor.upload(bad) | {"orig_name": "holiday.jpg"})
        (told,) = visitor.call("teach", classes)
        yield Class(visitor, made[0], told, [Path(p["path"]) for one in classes for p in one["photos"]])
    page.close()
    made[0].close()


def test_a_training_tells_how_good_it_is(taught: Class) -> None:
    told = taught.told
    low, high = told["interval_95"]
    assert told["stage"] == "ready" and told["class_names"] == list(COLOURS) and told["photos"] == 14
    assert low < told["accuracy"] <= high <= 1 and told["accuracy"] > 0.8
    (unreadable,) = told["unreadable"]
    assert unreadable["class"] == "blue" and unreadable["problem"].startswith("holiday.jpg is not a JPEG")


def test_the_photographs_are_deleted_once_they_are_learned(taught: Class) -> None:
    assert len(taught.uploaded) == 15 and not any(path.exists() for path in taught.uploaded)


def test_the_new_classes_answer_at_once(taught: Class, photo_folder: Path) -> None:
    for name in COLOURS:
        photo = photo_folder / name / "09.jpg"
        (answer,) = taught.visitor.call("try_taught", taught.told["token"], taught.visitor.upload(photo))
        assert answer["label"] == name and set(answer["scores"]) == set(COLOURS)
        expected = load_classifier(taught.folder / "bundle").predict(photo)
        assert answer["scores"][name] == pytest.approx(expected.score, abs=1e-5)


def test_the_zip_is_a_bundle_whose_files_agree(taught: Class, tmp_path: Path) -> None:
    answer = taught.visitor.get(f"taught/{taught.told['token']}/taught.zip")
    assert answer.status_code == 200 and len(answer.content) == taught.told["archive_bytes"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        archive.extractall(tmp_path)
    bundle = open_bundle(tmp_path / "bundle")
    assert bundle.manifest.class_names == COLOURS
    assert set(taught.told["formats"]) == set(bundle.present) - {"keras"}
    assert all(one.agrees for one in verify(bundle.folder))
    assert " by cross-validation, with" in words.tiles(bundle)[0]["text"]
    assert "/" not in str(bundle.manifest.data["notes"])  # no path of the server


def test_only_a_lessons_own_files_are_served(taught: Class) -> None:
    visitor, token = taught.visitor, taught.told["token"]
    served = [visitor.get(f"taught/{token}/{name}") for name in ("bundle.json", "model_int8.tflite")]
    assert [answer.status_code for answer in served] == [200, 200]
    assert served[0].json()["class_names"] == list(COLOURS)
    for address in (
        f"taught/{token}/provenance.txt",
        f"taught/{token}/..%2Fbundle%2Fbundle.json",
        f"taught/{token}/%2Fetc%2Fhostname",
        "taught/another/bundle.json",
        "taught/",
        f"taught/{token}/",
    ):
        assert visitor.get(address).status_code == 404, address
    assert visitor.call("try_taught", "another", visitor.upload_bytes("a.jpg", b"x")) == lessons.GONE
    assert "text of at most 64 characters" in visitor.call("try_taught", "a" * 65, None)
    assert "text of at most 64 characters" in visitor.call("try_taught", {"path": "/etc/hostname"}, None)


def test_programs_do_not_see_its_functions(taught: Class) -> None:
    endpoints = taught.visitor.get("gradio_api/info").json()["named_endpoints"]
    assert set(endpoints) == {"/classify", "/compare", "/explain", "/benchmark"}
    assert "teach" not in taught.visitor.get("gradio_api/mcp/schema").text


def test_what_nobody_uploaded_is_not_learned(taught: Class, photo_folder: Path) -> None:
    photo = photo_folder / "red" / "00.jpg"
    good = sent(taught.visitor, photo_folder)
    for reference in forged(photo)[::5]:
        lesson = [good[0], {"name": "blue", "photos": [*good[1]["photos"], reference]}]
        assert taught.visitor.call("teach", lesson) == uploads.REFUSED, reference
        assert taught.visitor.call("try_taught", taught.told["token"], reference) == uploads.REFUSED


def test_limits_are_told() -> None:
    def said(value: Any) -> str:
        with pytest.raises(UserError) as error:
            admitted(value)
        return str(error.value)

    for form in (
        None,
        {},
        "classes",
        [1, 2],
        [{"name": 3, "photos": []}] * 2,
        [{"name": "a", "photos": {}}] * 2,
    ):
        assert said(form) == lessons.FORM
    assert "These are 1 classes. Teach it 2 to 10." in said([{}])
    assert "These are 11 classes" in said([{}] * 11)
    assert "a name of 1 to 40 characters" in said([{"name": " ", "photos": []}] * 2)
    assert "a name of 1 to 40 characters" in said([{"name": "x" * 41, "photos": []}] * 2)
    assert f"has 4 photographs. Give it {FEWEST} to {MOST}." in said([{"name": "a", "photos": [1] * 4}] * 2)
    assert f"has 51 photographs. Give it {FEWEST} to {MOST}." in said([{"name": "a", "photos": [1] * 51}] * 2)


def test_photographs_have_a_limit_together(
    monkeypatch: pytest.MonkeyPatch, photo_folder: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(lessons, "MOST_BYTES", 20_000)
    place = uploads.use_own_folder() / "limit"
    place.mkdir()
    (place / "a.jpg").write_bytes(bytes(5000))
    lesson = [{"name": name, "photos": [{"path": str(place / "a.jpg")}] * 5} for name in COLOURS]
    with pytest.raises(UserError, match="Take fewer or smaller ones"):
        admitted(lesson)
    (place / "a.jpg").write_bytes(bytes(1000))
    assert [one["name"] for one in admitted(lesson)] == list(COLOURS)
    lesson[0]["name"] = "none of these"  # comes last, so that it is known for what it is
    assert [one["name"] for one in admitted(lesson)] == ["blue", "none of these"]
    (place / "a.jpg").unlink()
    place.rmdir()


def test_too_few_readable_photographs_are_told(taught: Class) -> None:
    lesson = [
        {
            "name": name,
            "photos": [taught.visitor.upload_bytes(f"{n}.jpg", f"{name} {n}".encode()) for n in range(5)],
        }
        for name in COLOURS
    ]
    said = taught.visitor.call("teach", lesson)
    assert said.startswith("Of \u201cred\u201d, 0 photographs can be read; at least 5 are needed.")
    assert "is not a JPEG" in said and str(uploads.use_own_folder()) not in said


@pytest.fixture
def own(small_bundle: Bundle) -> Iterator[Lessons]:
    """Lessons of which one is there, without a training."""
    lessons_ = Lessons(small_bundle)
    folder = Path(lessons_._root.name) / "name"
    folder.mkdir()
    classifier = load_classifier(small_bundle.folder)
    lessons_._lessons["name"] = lessons.Lesson(folder, classifier, time.monotonic())
    yield lessons_
    lessons_.close()


def test_an_idle_lesson_is_removed_with_its_files(own: Lessons, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = own.find("name").folder
    own.sweep()
    assert folder.is_dir() and own.find("name")
    monkeypatch.setattr(lessons, "IDLE_SECONDS", -1)
    own.sweep()
    assert not folder.exists()
    with pytest.raises(UserError, match="no longer on the server"):
        own.find("name")


def test_whoever_leaves_takes_the_lesson_along(own: Lessons) -> None:
    folder = own.find("name").folder
    with TestClient(Starlette(routes=server._lesson_routes(own))) as visitor:
        assert visitor.post("/taught/another/forget").status_code == 204 and folder.exists()
        assert visitor.post("/taught/name/forget").status_code == 204 and not folder.exists()
        assert visitor.get("/taught/name/bundle.json").status_code == 404


def test_who_leaves_during_the_export_leaves_no_lesson(
    own: Lessons, small_bundle: Bundle, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through Gradio, which closes a training's iterator when its visitor is gone."""
    monkeypatch.setattr("demo.server.Lessons", lambda _: own)
    page = build(Comparison(small_bundle), teach=True)
    kept: list[Path] = []

    def keep(_: Any) -> dict[str, Any]:
        wait_until(
            lambda: (
                not any(event.alive for job in page.get_blocks()._queue.active_jobs for event in job or ())
            )
        )
        kept.append(Path(own._root.name) / "late")
        kept[0].mkdir()
        own._lessons["late"] = lessons.Lesson(kept[0], own.find("name").classifier, time.monotonic())
        return {"token": "late"}

    monkeypatch.setattr(own, "_open_network", lambda: SimpleNamespace(rule=None))
    monkeypatch.setattr(own, "_read", lambda *_: ({}, []))
    monkeypatch.setattr(own, "_keep", keep)
    monkeypatch.setattr(lessons, "_figures", lambda _: {})
    monkeypatch.setattr("mobilevit_core.training.head.fit_head", lambda *_: None)
    url = page.start(block=False)
    with Visitor(base_url=url, timeout=60) as visitor:
        lesson = sent(visitor, photo_folder, FEWEST)
        begun = visitor.post("gradio_api/call/teach", json={"data": [lesson]}).json()
        with visitor.stream("GET", f"gradio_api/call/teach/{begun['event_id']}") as events:
            assert any("exporting" in line for line in events.iter_lines())  # and then it leaves
    wait_until(lambda: kept)  # the server knows that nobody listens any more
    wait_until(lambda: "late" not in own._lessons and not kept[0].exists())
    assert own.find("name")
    page.close()


def wait_until(holds: Callable[[], Any]) -> None:
    """Returns once it holds; fails where it does not within a minute."""
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_nothing_is_left_when_the_server_ends(own: Lessons) -> None:
    root = Path(own._root.name)
    assert root.is_dir() and root.parent == uploads.use_own_folder().parent
    own.close()
    assert not root.exists()


def test_a_full_server_says_so(own: Lessons, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lessons, "MOST_LESSONS", 1)
    with pytest.raises(UserError, match="are teaching already"):
        list(own.teach([]))


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [
        ([], True),
        (["--host", "0.0.0.0"], False),
        (["--host", "0.0.0.0", "--teach"], True),
        (["--allow-host", "demo.example.org"], False),
    ],
)
def test_a_hosted_page_offers_it_only_where_allowed(
    arguments: list[str], offered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[bool] = []

    def stop(*_: Any, teach: bool, **__: Any) -> Any:
        told.append(teach)
        raise UserError("enough")

    monkeypatch.setattr(server, "Comparison", lambda *_: None)
    monkeypatch.setattr(server, "build", stop)
    monkeypatch.delenv("GRADIO_SERVER_NAME", raising=False)
    assert server.main(arguments) == 2 and told == [offered]


def test_without_it_there_is_no_tab_and_no_function(
    serve: Callable[..., str], comparison: Comparison
) -> None:
    with Visitor(base_url=serve()) as visitor:
        assert "no such function" in visitor.call("teach", [])
        assert visitor.post("taught/name/forget").status_code == 404
