"""What a stranger sends too much of, too slowly, or in too many pieces; every neighbour goes on.

All of it goes to 127.0.0.1, and is bounded in count and time.
"""

import base64
import gc
import json
import logging
import resource
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse

from demo import bodies, connections, guard, uploads
from demo.guard import Guard
from demo.uploads import Limits
from tests.demo.visitor import Visitor, run_apart
from tests.hostile.requests import ODD

JSON = {"content-type": "application/json"}
STRANGER = "8.8.8.8"  # as a proxy would name it; nothing is sent there
BOUNDARY = b"x"


class Sender:
    """A connection whose body comes as the test wants it.

    Args:
        parts: of the body.
        pause: seconds before each part but the first.
        ends: whether the last part comes at all.
    """

    def __init__(self, parts: Iterator[bytes] | list[bytes], pause: float = 0, ends: bool = True) -> None:
        self.parts, self.pause, self.ends = iter(parts), pause, ends
        self.sent, self.status, self.answer = 0, 0, b""

    async def receive(self) -> dict[str, Any]:
        if self.sent:
            await anyio.sleep(self.pause)
        part = next(self.parts, None)
        if part is None and not self.ends:
            await anyio.sleep_forever()
        self.sent += len(part or b"")
        return {"type": "http.request", "body": part or b"", "more_body": part is not None}

    async def send(self, message: dict[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self.answer += message.get("body", b"")


async def echo(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answers with the body that arrived."""
    body = await Request(scope, receive).body()
    text = body.decode(errors="replace") if len(body) < 1000 else f"{len(body)} bytes"
    await JSONResponse({"body": text})(scope, receive, send)


def asked(
    guarded: Guard, sender: Sender, path: str, length: int, address: str = "127.0.0.1", **more: Any
) -> Sender:
    """One request through a guard."""
    kind = "multipart/form-data; boundary=x" if path == "upload" else "application/json"
    headers = {"content-length": str(length), "content-type": kind, "host": "localhost"}
    scope = {
        "type": "http",
        "method": "POST",
        "path": f"{guard.API}{path}",
        "query_string": b"",
        "headers": [(key.encode(), value.encode()) for key, value in headers.items()],
        "client": (address, 1),
        **more,
    }

    async def ask() -> None:
        with anyio.fail_after(60):
            await guarded(scope, sender.receive, sender.send)

    run_apart(ask)
    return sender


@pytest.fixture
def guarded() -> Guard:
    """A guard before an echo, with 10 MB of room beside what is there."""
    uploads.use_own_folder()
    uploads.USAGE.measure()
    api: Any = SimpleNamespace(parameters={"classify": 2}, is_full=lambda name: False)
    return Guard(echo, None, Limits(60, uploads.total_bytes() + 10_000_000), api, "default-src 'self'")


def multipart(files: int, content: bytes) -> list[bytes]:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    return [head + content + b"\r\n"] * files + [b"--x--\r\n"]


def test_a_promise_takes_no_room(guarded: Guard) -> None:
    """1: an announced length is no stored byte; neighbours upload as before."""
    waiting = Sender([b"--x\r\n"], ends=False)

    async def both() -> int:
        async with anyio.create_task_group() as tasks:
            scope = {"type": "http", "method": "POST", "path": f"{guard.API}upload", "query_string": b""}
            scope |= {"headers": [(b"content-length", b"9000000")], "client": ("127.0.0.1", 1)}
            tasks.start_soon(guarded, scope, waiting.receive, waiting.send)
            await anyio.sleep(0.1)
            other = Sender([b"a" * 1_000_000] * 8)
            scope = {**scope, "headers": [(b"content-length", b"8000000")]}
            await guarded(scope, other.receive, other.send)
            tasks.cancel_scope.cancel()
        return other.status

    assert run_apart(both) == 200 and waiting.sent == 5


def test_an_upload_has_a_limit_and_takes_room_as_it_comes(guarded: Guard) -> None:
    """1 and 7: by bytes, by files, and for each address."""
    told = asked(guarded, Sender([]), "upload", guard.MAX_UPLOAD_BYTES + 1)
    assert (told.status, told.answer.decode()) == (413, guard.TOO_LARGE_UPLOAD)
    told = asked(guarded, Sender([]), "upload", 11_000_000)
    assert told.status == 507 and told.sent == 0
    lying = Sender([b"a" * 100_000] * 200)
    told = asked(guarded, lying, "upload", 1000)
    assert told.status == 507 and lying.sent <= 10_100_000
    uploads.USAGE.measure()
    many = Sender(multipart(bodies.MAX_UPLOAD_FILES + 1, b"8 bytes."))
    told = asked(guarded, many, "upload", 500_000)
    assert (told.status, told.answer.decode()) == (413, bodies.TOO_MANY_FILES)
    uploads.USAGE.measure()
    statuses = [
        asked(guarded, Sender(multipart(bodies.MAX_UPLOAD_FILES, b"8 bytes.")), "upload", 9000).status
        for _ in range(13)  # 1,300 files and their folders take more than 10 MB
    ]
    assert statuses[:10] == [200] * 10 and 507 in statuses
    uploads.USAGE.measure()
    share = 10_000_000 // connections.SHARE
    mine = asked(guarded, Sender([b"a" * 100_000] * 200), "upload", 1000, STRANGER)
    assert mine.status == 507 and mine.sent <= guarded.limits.total_bytes // connections.SHARE + 100_000
    assert asked(guarded, Sender([b"a" * share]), "upload", share).status == 200


def test_an_upload_holds_files_alone(guarded: Guard) -> None:
    """4: Gradio holds any other field in memory."""
    head = b'--x\r\nContent-Disposition: form-data; name="files"\r\nX-Filename: filename="a"\r\n\r\n'
    for cut in (1, 20, 70, len(head)):
        field = Sender([head[:cut], head[cut:], *[b"a" * 100_000] * 50, b"\r\n--x--\r\n"])
        told = asked(guarded, field, "upload", 5_000_100)
        assert (told.status, told.answer.decode()) == (400, bodies.NOT_FILES) and told.sent <= len(head)
    files = multipart(2, b"8 bytes. \r\n--y filename")
    told = asked(guarded, Sender(files), "upload", 1000, query_string=b"upload_id=a")
    assert told.status == 200
    later = asked(guarded, Sender([*files[:1], head, b"a"]), "upload", 1000)
    assert later.status == 400


@pytest.mark.parametrize("path", ["upload", "call/classify", "queue/join", "mcp/", "cancel", "reset"])
def test_every_body_comes_in_time(path: str, guarded: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """1 and 4: too slow by the average, silent, or too long altogether."""
    monkeypatch.setattr(bodies, "GRACE_SECONDS", 0.5)
    for sender in (Sender([b"a"] * 1000, pause=0.1), Sender([b"a" * 100], ends=False)):
        start = time.monotonic()
        told = asked(guarded, sender, path, 5000)
        assert told.status == 408 and told.answer.decode() == bodies.SLOW and time.monotonic() - start < 10
    if path != "upload":  # where the rate gives the time for the whole
        monkeypatch.setattr(guard, "BODY_SECONDS", 1.0)
        quick = asked(guarded, Sender([b'"data:' + b"a" * 30_000] * 100, pause=0.05), path, 4_000_000)
        assert (quick.status, quick.answer.decode()) == (408, bodies.SLOW)
    assert not guarded.receiving and not guarded._held


@pytest.mark.parametrize("path", ["upload", "call/classify", "mcp/"])
def test_a_body_in_chunks_has_no_length(path: str, guarded: Guard) -> None:
    """4: whatever else the request states; a body in chunks is as long as its sender likes."""
    headers = [(b"content-length", b"10"), (b"transfer-encoding", b"chunked")]
    endless = Sender([b'{"data": [{"url": "data:', *[b"a" * 2**20] * 50])
    told = asked(guarded, endless, path, 10, headers=headers)
    assert (told.status, told.answer.decode(), told.sent) == (411, guard.NO_LENGTH, 0)


def test_bodies_that_are_held_have_a_common_limit(guarded: Guard, monkeypatch: pytest.MonkeyPatch) -> None:
    """4: what waits for its last byte takes no more memory than that."""
    monkeypatch.setattr(guard, "MAX_HELD_BYTES", 4_000_000)
    photo = b'{"data": [{"url": "data:image/jpeg;base64,' + b"a" * 1_000_000
    senders = [Sender([photo], ends=False) for _ in range(6)]

    async def ask() -> list[int]:
        async with anyio.create_task_group() as tasks:
            scope = {"type": "http", "method": "POST", "path": f"{guard.API}call/classify"}
            scope |= {"headers": [(b"content-length", b"2000000")], "query_string": b""}
            scope |= {"client": ("127.0.0.1", 1)}
            for sender in senders:
                tasks.start_soon(guarded, scope, sender.receive, sender.send)
            await anyio.sleep(0.3)
            small = Sender([b'{"data": []}'])
            await guarded({**scope, "headers": [(b"content-length", b"12")]}, small.receive, small.send)
            tasks.cancel_scope.cancel()
        return [small.status, *(sender.status for sender in senders)]

    assert sorted(run_apart(ask)) == [0, 0, 0, 200, 503, 503, 503]
    assert not guarded._held


ATTACKS = {
    "lists": b'{"data": [' + b"[]," * (10 * 2**20) + b"[]]}",
    "objects": b'{"data": [' + b"{}," * (10 * 2**20) + b"{}]}",
    "numbers": b'{"data": [' + b"1," * (15 * 2**20) + b"1]}",
    "keys": b'{"data": [], ' + b'"a":1,' * (5 * 2**20) + b'"a":1}',
    "levels": b"[" * (30 * 2**20),
    "text": b'{"data": ["' + b"a" * (30 * 2**20) + b'"]}',
    "a photo and lists": b'{"data": ["data:",' + b"[]," * (10 * 2**20) + b"[]]}",
}


@pytest.mark.parametrize("kind", ATTACKS)
def test_values_are_counted_before_they_are_parsed(kind: str, guarded: Guard) -> None:
    """2: what freezes a parser never comes to one."""
    guarded.limits = Limits(60, 2**40)
    start = time.process_time()
    body = ATTACKS[kind]
    parts = [body[place : place + 2**16] for place in range(0, len(body), 2**16)]
    told = asked(guarded, Sender(parts), "call/classify", len(body))
    assert told.sent <= 6 * 2**16  # the rest is not waited for
    assert told.status == 413 and told.answer.decode() in (bodies.TOO_MANY, bodies.NO_PHOTO)
    assert time.process_time() - start < 1


def test_a_photo_in_a_call_waits_on_the_disk(guarded: Guard) -> None:
    """4: a call that waits for its turn holds no photo in memory."""
    url = "data:image/jpeg;base64," + base64.b64encode(b"photo").decode()
    body = json.dumps({"data": [{"path": None, "url": url, "meta": {"_type": "gradio.FileData"}}]}).encode()
    told = asked(guarded, Sender([body]), "call/classify", len(body))
    sent = json.loads(json.loads(told.answer)["body"])["data"]
    assert Path(sent[0]["path"]).read_bytes() == b"photo" and sent[1] is None
    assert Path(sent[0]["path"]).is_relative_to(uploads.folder()) and set(sent[0]) == {"path"}


@pytest.mark.parametrize("path", ["call/classify", "mcp/"])
@pytest.mark.parametrize("start", ["data:", "\\u0064ata:", "d\\u0061t\\u0061\\u003A"], ids=ascii)
def test_a_body_holds_few_photos(start: str, path: str, guarded: Guard) -> None:
    """7: however they are written."""
    urls = ", ".join(f'{{"url": "{start}image/jpeg;base64,{n:04}"}}' for n in range(guard.MAX_PHOTOS + 1))
    body = f'{{"data": [{urls}]}}'.encode()
    before = uploads.total_bytes()
    told = asked(guarded, Sender([body]), path, len(body))
    assert (told.status, told.answer.decode()) == (413, guard.TOO_MANY_PHOTOS)
    assert uploads.total_bytes() == before


@pytest.mark.parametrize("start", ["data:", "\\u0064ata:"], ids=ascii)
def test_photos_in_calls_take_room_however_small(start: str, guarded: Guard) -> None:
    """7: a thousand small ones are as much as a large one."""
    statuses = []
    for number in range(700):
        content = base64.b64encode((start + f"{number:06}").encode() * 1500).decode()
        body = f'{{"data": [{{"url": "{start}image/jpeg;base64,{content}"}}]}}'.encode()
        statuses.append(asked(guarded, Sender([body]), "call/classify", len(body)).status)
        if statuses[-1] == 507:
            break
    assert statuses[-1] == 507 and uploads.total_bytes() <= guarded.limits.total_bytes


@pytest.mark.parametrize(("place", "body"), ODD, ids=[f"{p}-{n}" for n, (p, _) in enumerate(ODD)])
def test_odd_values_are_refused_in_a_sentence(visitor: Visitor, place: str, body: bytes) -> None:
    """11: NaN, lone surrogates and numbers of functions; never a bare 500."""
    answer = visitor.post(f"gradio_api/{place}", content=body, headers=JSON)
    assert answer.status_code in (404, 422) and len(answer.text) < 300
    assert any(text in answer.text for text in (guard.NO_JSON, guard.NO_FUNCTION, guard.LONG_NAME))


def test_what_a_proxy_says_is_never_markup(visitor: Visitor) -> None:
    """11: Gradio builds addresses of it."""
    names = (
        "x-forwarded-proto",
        "x-forwarded-host",
        "x-forwarded-prefix",
        "x-forwarded-for",
        "x-forwarded-port",
    )
    evil = dict.fromkeys(names, 'https"><script>alert(1)</script>')
    for place in ("", "config", "gradio_api/info", "bundle/page.json"):
        answer = visitor.get(place, headers=evil)
        assert answer.status_code == 200 and "alert(1)" not in answer.text
    assert "javascript" not in visitor.get("config", headers={"x-forwarded-proto": "javascript"}).text
    honest = {"x-forwarded-proto": "https", "x-forwarded-host": "demo.example.org"}
    assert "https://demo.example.org" in visitor.get("config", headers=honest).text


def test_what_one_visitor_names_is_told_to_no_other(serve: Callable[..., str]) -> None:
    """A first visitor's address would stand in the description of the API until the server ends."""
    with Visitor(base_url=serve(), timeout=60) as fresh:
        for place in ("gradio_api/info", "gradio_api/openapi.json", "config"):
            named = fresh.get(place, headers={"x-forwarded-host": "evil.example"})
            assert named.status_code == 200
            assert "evil.example" not in fresh.get(place).text


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # Gradio's, that it could not write
def test_a_full_disk_is_told(served: str) -> None:
    """11: a limit on the size of files stands for the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Visitor(base_url=served, timeout=60) as visitor:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
        try:
            answer = visitor.post("gradio_api/upload", files={"files": ("a.jpg", b"a" * 3_000_000)})
            url = "data:image/jpeg;base64," + "a" * 1_000_000
            inside = visitor.post("gradio_api/call/classify", json={"data": [{"url": url}]})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert (answer.status_code, answer.text) == (507, guard.DISK_FULL)
        assert (inside.status_code, inside.text) == (507, guard.DISK_FULL)
        assert visitor.upload_bytes("a.jpg", b"a" * 3_000_000)["path"]
    gc.collect()


MARK = b"sent by the test of traffic"


def elsewhere() -> set[Path]:
    """Files outside of the upload folder, where programs leave things behind."""
    folders = {Path(tempfile.gettempdir()), uploads.folder().parent, Path.home() / ".cache", Path.cwd()}
    found = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    found |= set((Path(tempfile.gettempdir()) / "gradio").rglob("*"))
    return {path for path in found - {uploads.folder()} if path.is_file()}


def test_nothing_else_on_the_disk_changes(served: str, red_photo: Path) -> None:
    """3: what comes by upload, in a call or by MCP lies in the one folder, and is swept."""
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    photo = red_photo.read_bytes()
    url = f"data:image/jpeg;base64,{base64.b64encode(photo + MARK).decode()}"

    async def ask() -> bool:
        async with (
            streamable_http_client(f"{served}gradio_api/mcp/") as (read, write, *_),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return (await session.call_tool("explain", {"photo": url})).isError

    before, held = elsewhere(), {path for path, _ in uploads._entries()}
    with Visitor(base_url=served, timeout=120) as visitor:
        assert not run_apart(ask)
        visitor.call("explain", {"path": None, "url": url})
        visitor.call("classify", visitor.upload_bytes("a.jpg", photo + MARK))
    new = {path for path, _ in uploads._entries()} - held
    assert sum(path.is_file() and MARK in path.read_bytes() for path in new) >= 3
    # Others write there, too, but not these photos.
    assert not [path for path in elsewhere() - before if path.is_file() and MARK in path.read_bytes()]
    assert uploads.folder().stat().st_mode & 0o077 == 0
    uploads.sweep(-1)  # as if their lifetime were over
    assert not any(path.is_file() for path in new)


def test_silent_connections_keep_nobody_out(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """6: of too many connections, those are closed that ask nothing."""
    monkeypatch.setattr(connections.Connection, "most", 30)
    splits = urlsplit(served)
    with ExitStack() as stack:
        silent = []
        for number in range(100):
            connection = stack.enter_context(socket.create_connection((splits.hostname, splits.port), 10))
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localh" if number % 2 else b"")
            silent.append(connection)
        with Visitor(base_url=served, timeout=20) as visitor:
            assert all(visitor.get("config").status_code == 200 for _ in range(3))
        closed = sum(is_closed(connection) for connection in silent)
        assert closed >= 70


def test_answers_without_an_end_keep_nobody_out(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """6: of too many connections that are all being answered, the oldest is closed."""
    monkeypatch.setattr(connections.Connection, "most", 30)
    splits = urlsplit(served)
    with ExitStack() as stack:
        for number in range(60):
            connection = stack.enter_context(socket.create_connection((splits.hostname, splits.port), 10))
            head = f"GET /gradio_api/heartbeat/{number} HTTP/1.1\r\nHost: localhost\r\n\r\n"
            connection.sendall(head.encode())
            assert connection.recv(12) == b"HTTP/1.1 200"
        with Visitor(base_url=served, timeout=20) as visitor:
            assert all(visitor.get("config").status_code == 200 for _ in range(3))


def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_the_head_of_a_request_has_a_time(served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """6: also the second one of a connection, and one that comes byte by byte."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    splits = urlsplit(served)
    for first in (b"", b"GET /bundle/page.json HTTP/1.1\r\nHost: localhost\r\n\r\n"):
        with socket.create_connection((splits.hostname, splits.port), 20) as connection:
            connection.sendall(first)
            start = time.monotonic()
            with pytest.raises(OSError):  # noqa: PT011 (closed while it writes)
                while time.monotonic() - start < 20:
                    connection.sendall(b"G")
                    time.sleep(0.1)
            assert time.monotonic() - start < 15
    with Visitor(base_url=served, timeout=20) as visitor:
        assert visitor.get("config").status_code == 200


def test_files_and_lines_of_the_log_are_bounded(served: str, caplog: pytest.LogCaptureFixture) -> None:
    """6: as many open files as the system allows, and one line of a kind per minute."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert soft >= min(hard, 65_536) and connections.Connection.most + connections.SPARE_FILES <= soft
    sparing = connections.Sparing()
    told = [
        sparing.filter(logging.LogRecord("asyncio", 40, "", 0, message, (), None))
        for message in ["no more files"] * 1000 + ["another"] * 2
    ]
    assert sum(told) == 2 and told[0] and told[1000]
    caplog.set_level(logging.WARNING)
    splits = urlsplit(served)
    for _ in range(20):
        with socket.create_connection((splits.hostname, splits.port), 10) as connection:
            connection.sendall(b"nonsense\r\n\r\n")
            connection.recv(100)
    assert len([record for record in caplog.records if "Invalid HTTP" in record.message]) <= 1


def test_one_address_has_a_share_of_the_connections() -> None:
    assert connections.is_public(STRANGER) and connections.is_public("2001:4860::1")
    assert connections.is_public("::ffff:8.8.8.8") and not connections.is_public("::ffff:10.0.0.7")
    for address in ("127.0.0.1", "::1", "10.0.0.7", "192.168.1.1", "", None, "nonsense"):
        assert not connections.is_public(address)
    neighbours = [connections.visitor_at((f"2001:4860:0:1:{n}::{n}", 1)) for n in (1, 2)]
    assert neighbours[0] == neighbours[1] != connections.visitor_at(("2001:4860:0:2::1", 1))
    assert connections.visitor_at(("::ffff:8.8.8.8", 1)) == connections.visitor_at((STRANGER, 1)) == STRANGER
    assert connections.visitor_at(None) == "" and not connections.is_public("")


def test_a_report_is_sent_by_name(visitor: Visitor) -> None:
    """5: named files only."""
    assert (
        visitor.get("report/index.html").status_code == visitor.get("report/report.json").status_code == 200
    )
    for name in (
        "",
        "etc/passwd",
        "photos",
        "photos/../../bundle.json",
        "..%2fbundle.json",
        "%2fetc%2fpasswd",
    ):
        assert visitor.get(f"report/{name}").status_code == 404, name
