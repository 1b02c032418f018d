"""Hosts, headers and routes of the page, the room for uploads, and what is left on the disk."""

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import httpx
import pytest

from demo import api, bodies, guard, server, uploads
from demo.comparison import Comparison
from demo.server import PageServer
from demo.uploads import Limits
from mobilevit_core.escaping import plain
from tests.demo.visitor import Visitor

PLACES = ["", "config", "report/index.html", "device/engine.js", "bundle/bundle.json", "bundle/page.json"]
PLACES += ["examples/index.json", "gradio_api/info"]


@pytest.mark.parametrize("place", [*PLACES, "none"])
def test_every_answer_has_its_headers(visitor: Visitor, place: str) -> None:
    headers = visitor.get(place).headers
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'self' https://huggingface.co https://*.hf.space" in policy
    assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "same-origin"
    assert ("sandbox" in policy) == (place.startswith("report"))
    assert "object-src 'none'" in policy or "default-src 'none'" in policy


def test_a_foreign_file_runs_nothing(visitor: Visitor) -> None:
    sent = visitor.upload_bytes("page.html", b"<script>alert(1)</script>")
    answer = visitor.get(f"gradio_api/file={sent['path']}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_unknown_hosts_are_refused(visitor: Visitor, served: str) -> None:
    port = urlsplit(served).port
    for host in (f"localhost:{port}", "LOCALHOST", f"127.0.0.1:{port}", f"[::1]:{port}"):
        assert visitor.get("", headers={"Host": host}).status_code == 200, host
    unknown = (
        "evil.example",
        f"evil.example:{port}",
        "localhost.evil.example",
        "[::1",
        "@",
        "",
        "127.0.0.1.x",
    )
    for host in unknown:
        answer = visitor.get("config", headers={"Host": host})
        assert (answer.status_code, answer.text) == (400, guard.UNKNOWN_HOST), host
    evil = {"Host": "evil.example", "Origin": "http://evil.example"}
    assert visitor.post("gradio_api/call/classify", json={"data": []}, headers=evil).status_code == 400
    for origin in ("http://evil.example", "null", "https://localhost.evil.example"):
        answer = visitor.post("gradio_api/call/classify", json={"data": []}, headers={"Origin": origin})
        assert (answer.status_code, answer.text) == (403, guard.FOREIGN)


def test_a_proxys_name_can_be_allowed(serve: Callable[..., str]) -> None:
    url = serve(allow_hosts=["demo.example.org", "*.inside.example"])
    for host, status in {"demo.example.org": 200, "a.inside.example:80": 200, "evil.example": 400}.items():
        assert httpx.get(url, headers={"Host": host}).status_code == status, host


def test_a_page_for_others_is_reached_by_any_name(
    serve: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert server.is_local() and server.is_local("::1") and not server.is_local("0.0.0.0")
    url = serve(host="0.0.0.0")
    assert httpx.get(url, headers={"Host": "demo.example.org"}).status_code == 200
    monkeypatch.setenv("GRADIO_SERVER_NAME", "0.0.0.0")
    assert not server.is_local()
    monkeypatch.setenv("GRADIO_SERVER_NAME", "127.0.0.1")
    monkeypatch.setenv("SYSTEM", "spaces")
    monkeypatch.setenv("SPACE_ID", "someone/demo")
    assert not server.is_local()


UNUSED = [
    "gradio_api/file=http://127.0.0.1:1/a.jpg",
    "gradio_api/file=https://example.org/a.jpg",
    "gradio_api/file=/https://example.org/a.jpg",
    "gradio_api/file/https://example.org/a.jpg",
    "gradio_api/proxy=https://example.org/a.jpg",
    "gradio_api/deep_link?session_hash=a",
    "gradio_api/runs",
    "gradio_api/run/classify",
    "assets/index.js",
    "theme.css",
    "gradio_api/vibe-code",
    "gradio_api/upload_progress?upload_id=a",
    "gradio_api/mcp/%3Cb%3E/gradio_api/mcp",
    "monitoring/summary",
    "login",
]


@pytest.mark.parametrize("place", UNUSED)
def test_what_nobody_needs_is_not_there(visitor: Visitor, place: str) -> None:
    answer = visitor.get(place)
    assert (answer.status_code, answer.text) == (404, guard.NOT_THERE)


def test_the_frames_serve_their_files_alone(visitor: Visitor) -> None:
    for place in ("bundle/history.csv", "bundle/model.keras", "bundle/..%2fserver.py", "examples/none.jpg"):
        assert visitor.get(place).status_code == 404, place
    for place in ("device/..%2fserver.py", "report/..%2fbundle.json", "gradio_api/file=/etc/hostname"):
        assert visitor.get(place).status_code in (403, 404), place
    assert visitor.get("examples/flower.jpg").headers["content-type"] == "image/jpeg"


@contextmanager
def half_sent(url: str, size: int = 2**20) -> Iterator[socket.socket]:
    """An upload of which only the first half comes; the connection is dropped at the end of the block."""
    splits = urlsplit(url)
    with socket.create_connection((splits.hostname, splits.port)) as connection:
        head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
        connection.sendall(
            b"POST /gradio_api/upload HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; "
            b"boundary=x\r\nContent-Length: %d\r\n\r\n" % (2 * size) + head + b"a" * size
        )
        yield connection


def unfinished() -> list[Path]:
    return [path for path in Path(uploads.folder()).iterdir() if path.is_file()]


def wait_until(condition: Callable[[], bool], seconds: float = 20) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def test_uploads_that_are_broken_off_leave_nothing(served: str, visitor: Visitor, red_photo: Path) -> None:
    for _ in range(5):
        with half_sent(served):
            time.sleep(0.2)
    assert wait_until(lambda: not unfinished()), unfinished()
    assert visitor.call("classify", visitor.upload(red_photo))


def test_no_upload_takes_a_neighbours_file_away(served: str, caplog: pytest.LogCaptureFixture) -> None:
    """One that ends while another begins: the file system's clock is some milliseconds behind."""

    def send(client: int) -> list[str]:
        with Visitor(base_url=served, timeout=60) as visitor:
            return [visitor.upload_bytes("a.jpg", b"%d of %d" % (i, client))["path"] for i in range(150)]

    with ThreadPoolExecutor(3) as pool:
        sent = [path for paths in pool.map(send, range(3)) for path in paths]
    assert len(set(sent)) == 450 and all(Path(path).exists() for path in sent)
    assert not caplog.records and not unfinished()


def test_files_of_an_upload_that_goes_on_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first photo of many waits in the folder until the last one has come."""
    first = uploads.use_own_folder() / "first-of-many"
    first.write_bytes(b"a")
    written = time.time()
    monkeypatch.setattr(uploads, "time", SimpleNamespace(time=lambda: written + 1000))
    uploads.sweep(3600, receiving_since=written - 1)
    assert first.exists()
    uploads.sweep(3600, receiving_since=written + 2 * uploads.STALLED_SECONDS)
    assert not first.exists()


def test_an_upload_that_stands_still_is_ended(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "STALLED_SECONDS", 1)
    with half_sent(served) as connection:
        assert wait_until(lambda: bool(unfinished()))
        assert connection.recv(100).startswith(b"HTTP/1.1 408")
    assert wait_until(lambda: not unfinished()), unfinished()


def test_everything_is_gone_after_its_lifetime(
    serve: Callable[..., str], comparison: Comparison, photo_folder: Path
) -> None:
    comparison.explain(photo_folder / "red" / "01.jpg")  # loads TensorFlow
    with Visitor(base_url=serve(Limits(lifetime_seconds=4)), timeout=60) as visitor:
        sent = visitor.upload(photo_folder / "red" / "01.jpg")
        assert visitor.call("classify", sent)
        map_ = visitor.call("explain", sent)[0]["path"]
        kept = [Path(sent["path"]), Path(map_)]
        assert all(path.exists() for path in kept)
        assert wait_until(lambda: not any(path.exists() for path in kept))
        assert visitor.call("classify", sent) == uploads.REFUSED
        assert visitor.get("examples/flower.jpg").status_code == 200  # the page's own stays


def test_a_full_folder_is_told(serve: Callable[..., str], photo_folder: Path) -> None:
    room = uploads.total_bytes() + 200_000
    with Visitor(base_url=serve(Limits(120, room)), timeout=60) as visitor:
        files = {"files": ("a.jpg", b"a" * 150_000)}
        assert visitor.post("gradio_api/upload", files=files).status_code == 200
        answer = visitor.post("gradio_api/upload", files={"files": ("b.jpg", b"b" * 150_000)})
        assert answer.status_code == 507 and "within 2 minutes" in answer.text
        inside = {"data": [{"path": None, "url": "data:image/jpeg;base64," + "a" * 150_000}]}
        assert visitor.post("gradio_api/call/classify", json=inside).status_code == 507
        small = visitor.upload(photo_folder / "red" / "02.jpg")  # what still fits is taken
        assert visitor.call("classify", small)


def test_bodies_have_a_limit_and_a_length(visitor: Visitor) -> None:
    large = b'{"data": ["' + b"a" * guard.MAX_BODY_BYTES + b'"]}'
    headers = {"content-type": "application/json"}
    assert visitor.post("gradio_api/call/classify", content=large, headers=headers).status_code == 413
    for place in ("gradio_api/call/classify", "gradio_api/upload"):
        answer = visitor.post(place, content=iter([b"{}"]), headers=headers)
        assert (answer.status_code, answer.text) == (411, guard.NO_LENGTH)


def test_the_folder_is_this_programs_own() -> None:
    folder = uploads.use_own_folder()
    assert folder == uploads.folder() and folder.name.startswith(uploads.PREFIX)
    assert folder.stat().st_mode & 0o077 == 0


def test_sessions_and_places_are_bounded(serve: Callable[..., str], comparison: Comparison) -> None:
    page = PageServer(comparison)
    url = page.start(block=False)
    try:
        with Visitor(base_url=url, timeout=60) as visitor:
            for _ in range(server.MAX_SESSIONS + 20):
                assert visitor.call("classify") != []
            assert len(page.state_holder.session_data) <= server.MAX_SESSIONS
            with comparison._measuring:  # a measurement that takes its time
                answers = [
                    visitor.post("gradio_api/call/benchmark", json={"data": [1]})
                    for _ in range(api.AT_ONCE + api.MAX_WAITING + 3)
                ]
                full = [answer for answer in answers if answer.status_code == 503]
                assert full and all(api.Api.full in answer.text for answer in full)
                # Another kind of call has places of its own.
                assert "no photo yet" in visitor.call("explain")
    finally:
        page.close()


def test_markup_is_shown_letter_by_letter() -> None:
    import html

    markup = ("<img src=x onerror=alert(1)>", "**bold**", "# a", "[a](http://b)", "$$x$$", "`a`", "rose 2")
    for text in markup:
        assert not re.search(r"[<>*`\[\]$\"':/]", plain(text)) and html.unescape(plain(text)) == text


def test_no_private_member_of_gradio_is_used() -> None:
    folder = Path(server.__file__).parent
    private = re.compile(
        r"\b(?:gr|gradio|blocks|get_blocks\(\)|server|app)\._\w|\._queue|setattr\(gr|middleware_stack ="
    )
    found = {path.name: private.findall(path.read_text(encoding="utf-8")) for path in folder.glob("*.py")}
    assert {name: used for name, used in found.items() if used} == {}


def test_bodies_of_many_values_are_refused_before_they_are_parsed(visitor: Visitor) -> None:
    started = time.monotonic()
    content = b'{"data": [' + b"[]," * (10 * 2**20 // 3) + b"[]]}"
    answer = visitor.post("gradio_api/call/classify", content=content)
    assert (answer.status_code, answer.text) == (413, bodies.TOO_MANY) and time.monotonic() - started < 5
    assert visitor.post("gradio_api/call/classify", content=b"[" * 15_000).status_code == 422
