"""What stands before Gradio: which hosts, routes and sizes are let in, and the headers of every answer.

Every limit on what a visitor may send is here; `demo.uploads` has the folder that it comes to.
"""

import contextlib
import ipaddress
import json
import os
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import anyio
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo import uploads
from demo.connections import SHARE, is_public, visitor_at
from mobilevit_core.errors import UserError
from mobilevit_core.files import not_writable

API = "/gradio_api/"
# What the page, gradio_client and MCP use. Gradio has more: its own front end, a proxy for web addresses,
# recordings, links that store the page's state, a history, monitoring. What nobody needs is not there.
PLACES = set(
    "page device bundle report examples trunk config favicon.ico robots.txt sw.js index.html".split()
)
CALLS = set("app_id call cancel heartbeat info login_check mcp openapi.json queue reset".split())
CALLS |= {"startup-events", "token", "upload", "user"}
MCP = set("http sse messages schema".split())  # below /gradio_api/mcp; a longer path would stand on its page
WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
MEASURE_SECONDS = 1.0  # between two looks at how full the upload folder is
SMALL_BODY_BYTES = 256 * 2**10  # a larger one must hold a photograph
MAX_BODY_BYTES = 32 * 2**20  # of anything but an upload
MAX_UPLOAD_BYTES = 128 * 2**20  # of all files of one upload
MAX_UPLOAD_FILES = 100  # each takes Gradio a millisecond or two, in which it does nothing else
MAX_HELD_BYTES = 256 * 2**20  # of all larger bodies that are being received
MAX_VALUES = 20_000  # of a body
MAX_NAME = 200  # characters; Gradio never forgets the name of a session whose answer nobody collects
NAMES = ("session_hash", "event_id")
PHOTOGRAPH, MAX_PHOTOGRAPHS = b"data:", 20  # how one begins inside of a body; how many it may hold
BODY_SECONDS = 120  # for all of a body but an upload's
GRACE_SECONDS, LEAST_RATE = 20, 16 * 2**10  # after so long, bytes per second on the average
FORWARDED = re.compile(rb"[\w.:, \[\]-]{1,200}", re.ASCII)  # what a proxy says; Gradio puts it into addresses
SCHEMES = re.compile(rb"https?( *, *https?)*")

UNKNOWN_HOST = "This page is not served under that host name. Its owner can allow it: --allow-host NAME."
FOREIGN = "A request from another web site is not accepted."
NOT_THERE = "There is nothing here."
TOO_LARGE = f"The request is larger than {MAX_BODY_BYTES // 2**20} MiB. Upload the photograph instead."
NO_LENGTH = "The request does not state its length (Content-Length)."
TOO_LARGE_UPLOAD = f"One upload may have {MAX_UPLOAD_BYTES // 2**20} MiB. Send fewer photographs at once."
TOO_MANY_FILES = f"One upload may have {MAX_UPLOAD_FILES} files. Send fewer photographs at once."
TOO_MANY_PHOTOGRAPHS = f"A request may hold {MAX_PHOTOGRAPHS} photographs. Upload them instead."
TOO_MANY = f"The request holds more than {MAX_VALUES} values."
NOT_FILES = "An upload holds files, and nothing else."
LONG_NAME = f"The name of a session may have {MAX_NAME} characters."
NO_PHOTOGRAPH = f"A request of more than {SMALL_BODY_BYTES // 2**10} KiB must hold a photograph."
NO_JSON = "The request is not JSON, or holds text that is not Unicode."
NO_FUNCTION = "There is no such function. /gradio_api/info lists them."
BUSY = "The server is receiving too much at the moment. Try again in a minute."
STALLED = f"The upload was ended: nothing came for {uploads.STALLED_SECONDS} seconds. Try again."
SLOW = "The request was ended: it came too slowly. Try again."
DISK_FULL = "The server has no room on its disk right now. Try later."
FAILED = "Something went wrong on the server. Try again."
FULL = (
    "There is no room for more uploads right now: older ones are deleted within {minutes} minutes. Try later."
)

EMBEDDERS = "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
# A bundle's report and a visitor's file are foreign: they are shown, and run nothing.
FOREIGN_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; "
    f"form-action 'none'; sandbox; {EMBEDDERS}"
)


@dataclass(frozen=True)
class Calls:
    """What the guard knows of the API.

    Attributes:
        parameters: function -> how many values it takes.
        is_full: whether the next call of a function has to come again later.
        full: what it is told then.
    """

    parameters: Mapping[str, int]
    is_full: Callable[[str], bool]
    full: str


class Guard:
    """An ASGI application around another one.

    Args:
        app: what is guarded.
        hosts: names in the Host header that are let in, `*` for any part; None for all.
        limits: of the uploads.
        calls: what the API takes.
        policy: Content-Security-Policy of the page.
    """

    def __init__(
        self, app: ASGIApp, hosts: Sequence[str] | None, limits: uploads.Limits, calls: Calls, policy: str
    ) -> None:
        self.app, self.hosts, self.limits, self.calls = app, hosts, limits, calls
        self._policy = f"{policy}; {EMBEDDERS}"
        self.receiving: dict[object, float] = {}  # uploads that are being received, and when each began
        self._entrance = anyio.Lock()  # held while what was broken off is deleted
        self._broken_off = False
        self._held: Counter[str] = Counter()  # address -> bytes of larger bodies that are being received
        self._shares: dict[str, tuple[float, float]] = {}  # address -> bytes that it has sent, and when

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or hands it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        foreign = scope["path"].startswith(("/report/", uploads.ROUTE))
        send = _with_headers(FOREIGN_POLICY if foreign else self._policy, send)
        scope = {**scope, "headers": [pair for pair in scope["headers"] if _is_harmless(*pair)]}
        refusal = await self._refusal(scope)
        if refusal:
            await refusal(scope, receive, send)
        elif _is_upload(scope):
            await self._upload(scope, receive, send)
        elif scope["method"] in WITH_BODY:
            await self._call(scope, receive, send)
        else:
            await self.app(scope, receive, send)

    async def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if self.hosts is not None:
            if not self._known(f"//{headers.get('host', '')}"):
                return PlainTextResponse(UNKNOWN_HOST, 400)
            origin = headers.get("origin")
            if scope["method"] not in ("GET", "HEAD") and origin and not self._known(origin):
                return PlainTextResponse(FOREIGN, 403)
        if not _is_served(scope["path"]):
            return PlainTextResponse(NOT_THERE, 404)
        return await self._size_refusal(scope, headers)

    def _known(self, address: str) -> bool:
        try:
            parts = urlsplit(address)
            name = parts.hostname or ""
        except ValueError:
            return False
        return any(fnmatchcase(name, allowed.lower().strip("[]")) for allowed in self.hosts or ())

    async def _size_refusal(self, scope: Scope, headers: Headers) -> PlainTextResponse | None:
        if scope["method"] not in WITH_BODY:
            return None
        text = "" if "transfer-encoding" in headers else headers.get("content-length", "0")
        if not text.isdecimal():
            return PlainTextResponse(NO_LENGTH, 411)
        length, upload = int(text), _is_upload(scope)
        if length > (MAX_UPLOAD_BYTES if upload else MAX_BODY_BYTES):
            return PlainTextResponse(TOO_LARGE_UPLOAD if upload else TOO_LARGE, 413)
        if length > SMALL_BODY_BYTES or upload:  # what can't fit need not come; nobody else waits for it
            return await self._room_refusal(scope, length)
        return None

    async def _room_refusal(self, scope: Scope, size: int) -> PlainTextResponse | None:
        """Takes no room, and says so where there is none for so many bytes, or this address has its share."""
        usage, total = uploads.USAGE, self.limits.total_bytes
        if usage.bytes + size > total and time.monotonic() - usage.measured >= MEASURE_SECONDS:
            await anyio.to_thread.run_sync(usage.measure)
        address = _address(scope)
        if usage.bytes + size <= total and (
            not is_public(address) or self._sent(address) + size <= total // SHARE
        ):
            return None
        minutes = -(-self.limits.lifetime_seconds // 60)
        return PlainTextResponse(FULL.format(minutes=minutes), 507)

    def _sent(self, address: str) -> float:
        """Bytes that an address has in the folder, about: its share comes back over the lifetime."""
        sent, when = self._shares.get(address, (0.0, 0.0))
        rate = self.limits.total_bytes / SHARE / self.limits.lifetime_seconds
        return max(0.0, sent - rate * (time.monotonic() - when))

    async def _take(self, scope: Scope, size: int) -> PlainTextResponse | None:
        """Takes room for so many bytes that have come, or says that there is none."""
        refusal = await self._room_refusal(scope, size)
        if refusal is None:
            uploads.USAGE.add(size)
            self._count_share(_address(scope), size)
        return refusal

    def _count_share(self, address: str, size: int) -> None:
        if is_public(address):
            self._shares[address] = self._sent(address) + size, time.monotonic()
            if len(self._shares) > MAX_VALUES:
                self._shares = {key: value for key, value in self._shares.items() if self._sent(key) > 0}

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receives the body of a call, and hands it on as `_plain` makes it."""
        length = int(Headers(scope=scope).get("content-length", 0))
        address = _address(scope)
        own = MAX_HELD_BYTES // SHARE if is_public(address) else MAX_HELD_BYTES
        counted = _Values()

        async def hold(part: bytes) -> Response | None:
            self._held[address] += len(part)
            if problem := counted.more(part):
                return PlainTextResponse(problem, 413)
            full = self._held[address] > own or self._held.total() > MAX_HELD_BYTES
            return PlainTextResponse(BUSY, 503) if full and length > SMALL_BODY_BYTES else None

        visitor = _Arrival(receive, send, hold, BODY_SECONDS)
        try:
            body, refusal = await visitor.whole(length), visitor.refusal
            if body is not None:
                body, refusal = await self._checked(scope, body)
            if refusal:
                await refusal(scope, receive, send)
            elif body is not None:
                headers = [(key, value) for key, value in scope["headers"] if key != b"content-length"]
                scope = {**scope, "headers": [*headers, (b"content-length", b"%d" % len(body))]}
                await self.app(scope, _Replay(body, receive).receive, send)
        finally:
            self._held[address] -= visitor.bytes
            if not self._held[address]:
                del self._held[address]

    async def _checked(self, scope: Scope, body: bytes) -> tuple[bytes, Response | None]:
        """A body as it is handed on, or why it is not."""
        name = _called(scope["path"])
        if name is not None and self.calls.is_full(name):
            return body, JSONResponse({"detail": self.calls.full}, 503)
        if b"\\u" in body:  # an escape may hide how a photograph begins
            body, refusal = await anyio.to_thread.run_sync(_unescaped, body)
            if refusal:
                return body, refusal
        photographs = body.count(PHOTOGRAPH)
        if photographs > MAX_PHOTOGRAPHS:
            return body, PlainTextResponse(TOO_MANY_PHOTOGRAPHS, 413)
        if photographs:
            cost = len(body) + photographs * uploads.FILE_BYTES
            if name is None:  # MCP, where Gradio stores them
                refusal = await self._take(scope, cost)
            else:
                refusal = await self._room_refusal(scope, cost)
                self._count_share(_address(scope), cost)
            if refusal:
                return body, refusal
        return await anyio.to_thread.run_sync(self._plain, name, body) if body else (body, None)

    def _plain(self, name: str | None, body: bytes) -> tuple[bytes, Response | None]:
        """A call's body without the marks by which Gradio would open or fetch what a reference names.

        The API itself looks at the references. Values at the end may be missing. Photographs inside of the
        body become uploads, so that no memory is held while the call waits.

        Args:
            name: of the function; "" where the body names it, None where none is called.
            body: as it came in.
        """
        try:
            value = json.loads(body)
            if name is None:
                return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), None
            value = _unmarked(value)
            count = self.calls.parameters.get(name, 0)
            if isinstance(value, dict):
                if any(isinstance(value.get(key), str) and len(value[key]) > MAX_NAME for key in NAMES):
                    return body, JSONResponse({"detail": LONG_NAME}, 422)
                number = value.get("fn_index", 0)
                if number is not None and (type(number) is not int or not 0 <= number < MAX_VALUES):
                    return body, JSONResponse({"error": NO_FUNCTION}, 404)
                sent = value.get("data")
                if isinstance(sent, list):
                    if len(sent) > count and count:
                        told = f"{name} takes at most {count} values; these are {len(sent)}."
                        return body, JSONResponse({"detail": told}, 422)
                    sent += [None] * (count - len(sent))
            return json.dumps(value, ensure_ascii=False).encode(), None
        except (ValueError, RecursionError):
            return body, JSONResponse({"detail": NO_JSON}, 422)
        except OSError:
            return body, PlainTextResponse(DISK_FULL, 507)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receives an upload; what is left of one that was broken off is deleted."""
        counted = _Parts(Headers(scope=scope).get("content-type", ""))

        async def take(part: bytes) -> Response | None:
            files = counted.more(part)
            if counted.refusal:
                return counted.refusal
            return await self._take(scope, len(part) + files * uploads.FILE_BYTES)

        upload = object()
        async with self._entrance:
            self.receiving[upload] = time.time()
        complete, visitor = False, _Arrival(receive, send, take)
        scope = {**scope, "query_string": b""}  # a name for the upload's progress, which Gradio never forgets
        try:
            await self.app(scope, visitor.receive, visitor.send)
            complete = True
        except ClientDisconnect:
            pass
        except OSError as error:
            if not not_writable(error):
                raise
            visitor.refusal = PlainTextResponse(DISK_FULL, 507)
        finally:
            del self.receiving[upload]
            self._broken_off |= not complete or visitor.refusal is not None
            await self._drop_unfinished()
        if visitor.refusal and not visitor.answered:
            await visitor.refusal(scope, receive, send)

    async def _drop_unfinished(self) -> None:
        """Deletes what was broken off, once nothing is being received; a new upload waits for it."""
        if self._broken_off and not self.receiving:
            with anyio.CancelScope(shield=True):
                async with self._entrance:
                    if not self.receiving:
                        self._broken_off = False
                        await anyio.to_thread.run_sync(uploads.drop_unfinished)
                        await anyio.to_thread.run_sync(uploads.USAGE.measure)

    def receiving_since(self) -> float | None:
        """When the oldest upload began that is still being received, in seconds since the epoch."""
        return min(self.receiving.values(), default=None)


def is_loopback(address: str | None = None) -> bool:
    """Whether only this machine reaches an address; default: the one in GRADIO_SERVER_NAME."""
    name = (address or os.environ.get("GRADIO_SERVER_NAME") or "localhost").strip("[]")
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _is_upload(scope: Scope) -> bool:
    return scope["method"] == "POST" and scope["path"].rstrip("/") == f"{API}upload"


def _called(path: str) -> str | None:
    """The function that a request calls; "" where its body tells, None where it calls none."""
    parts = path.removeprefix(API).strip("/").split("/") if path.startswith(API) else []
    if parts[:1] == ["call"] and len(parts) in (2, 3):
        return "" if parts[1] == "v2" else parts[1]
    return "" if parts[:1] == ["queue"] else None


def _address(scope: Scope) -> str:
    """Of the visitor; uvicorn has put there what a proxy on this machine says."""
    return visitor_at(scope.get("client"))


def _is_harmless(name: bytes, value: bytes) -> bool:
    """Whether a header is none of a proxy's, or is what a proxy would say."""
    if not name.startswith(b"x-forwarded-"):
        return True
    return bool((SCHEMES if name.endswith(b"-proto") else FORWARDED).fullmatch(value))


def _unescaped(body: bytes) -> tuple[bytes, Response | None]:
    try:
        return json.dumps(json.loads(body), ensure_ascii=False).encode(), None
    except (ValueError, RecursionError):  # lone surrogates are a ValueError, too
        return body, JSONResponse({"detail": NO_JSON}, 422)


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        if not value.get("path") and str(value.get("url"))[:5] == PHOTOGRAPH.decode():
            try:
                return {"path": str(uploads.admit({"url": value["url"]}))}
            except UserError:
                return {"path": ""}  # which the API refuses in the same words
        return {key: _unmarked(item) for key, item in value.items() if key != "meta"}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


class _Replay:
    """A body that has come already; then whatever the connection brings."""

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def receive(self) -> Message:
        if self._body is None:
            return await self._receive()
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}


def _is_served(path: str) -> bool:
    if path.startswith(uploads.ROUTE):
        return not path.removeprefix(uploads.ROUTE).lstrip("/").startswith(("http:", "https:"))
    if path.startswith(API):
        first, *rest = path.removeprefix(API).rstrip("/").split("/")
        return first in CALLS and (first != "mcp" or not rest or rest[0] in MCP and len(rest) == 1)
    return path == "/" or path.split("/")[1] in PLACES


class _Arrival:
    """What a visitor sends, as it comes: in time, and only as long as there is room. Else it counts as gone.

    Args:
        receive: of the connection.
        send: of the connection.
        take: is told each part, and says why it can't be taken, if so.
        seconds: for all of it; None where the rate alone counts.

    Attributes:
        bytes: that have come.
        refusal: why no more is received.
        answered: whether the application has begun to answer.
    """

    def __init__(
        self,
        receive: Receive,
        send: Send,
        take: Callable[[bytes], Awaitable[Response | None]],
        seconds: float | None = None,
    ) -> None:
        self._receive, self._send, self._take, self._seconds = receive, send, take, seconds
        self._start, self._stopped = time.monotonic(), False
        self.bytes = 0
        self.refusal: Response | None = None
        self.answered = self._complete = False

    async def receive(self) -> Message:
        """As the connection's; a disconnection once something is refused."""
        if self._complete:
            return await self._receive()
        now = time.monotonic()
        left = self._start + GRACE_SECONDS + self.bytes / LEAST_RATE - now
        if self._seconds is not None:
            left = min(left, self._start + self._seconds - now)
        with anyio.move_on_after(max(0.0, min(left, uploads.STALLED_SECONDS))):
            message = await self._receive()
            part = message.get("body", b"")
            self.bytes += len(part)
            self._complete = not message.get("more_body")
            if message["type"] == "http.request":
                self.refusal = await self._take(part)
            return {"type": "http.disconnect"} if self.refusal else message
        stalled = left > uploads.STALLED_SECONDS
        self.refusal = PlainTextResponse(STALLED if stalled else SLOW, 408)
        return {"type": "http.disconnect"}

    async def whole(self, length: int) -> bytes | None:
        """All of a body, None where it does not come."""
        parts: list[bytes] = []
        while length and not self._complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
        return b"".join(parts)

    async def send(self, message: Message) -> None:
        """As the connection's, but for the framework's bare 500: the guard tells the reason."""
        if message["type"] == "http.response.start":
            self._stopped = message["status"] == 500
            if self._stopped and self.refusal is None:
                self.refusal = PlainTextResponse(FAILED, 500)
        if not self._stopped and self.refusal is None:
            self.answered = True
            await self._send(message)


class _Values:
    """Counts what is in a JSON body as it comes: parsing first would take the time and the memory."""

    def __init__(self) -> None:
        self._bytes = self._values = 0
        self._photograph, self._end = False, b""

    def more(self, part: bytes) -> str | None:
        """Counts the next part; why the body is refused, if it is. A photograph begins early in a body."""
        known = self._end + part
        self._end = known[-len(PHOTOGRAPH) :]
        self._bytes += len(part)
        self._values += sum(part.count(mark) for mark in (b",", b"[", b"{", b":"))
        self._photograph = self._photograph or PHOTOGRAPH in known
        if self._values > MAX_VALUES:
            return TOO_MANY
        return NO_PHOTOGRAPH if self._bytes > SMALL_BODY_BYTES and not self._photograph else None


class _Parts:
    """Looks at the parts of an upload as they come, each of which becomes a file in a folder of its own.

    Gradio holds what is no file in memory.

    Args:
        content_type: names what stands between them.

    Attributes:
        refusal: why no more is received.
    """

    def __init__(self, content_type: str) -> None:
        self.refusal: Response | None = None
        self._parts = 0
        self._name = self._value = self._disposition = b""
        reactions = {
            "on_part_begin": self._begin,
            "on_header_field": self._in_name,
            "on_header_value": self._in_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
        }
        self._parser: MultipartParser | None = None
        with contextlib.suppress(ValueError):  # Gradio has the same parser, and refuses it
            boundary = parse_options_header(content_type)[1].get(b"boundary")
            self._parser = MultipartParser(boundary, reactions) if boundary else None

    def more(self, part: bytes) -> int:
        """How many begin in the next part of the body."""
        before = self._parts
        try:
            if self._parser:
                self._parser.write(part)
        except ValueError:
            self._parser = None
        return self._parts - before

    def _begin(self) -> None:
        self._parts += 1
        self._disposition = b""
        if self._parts > MAX_UPLOAD_FILES:
            self.refusal = PlainTextResponse(TOO_MANY_FILES, 413)

    def _in_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _in_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name = self._value = b""

    def _end_headers(self) -> None:
        if b"filename" not in parse_options_header(self._disposition)[1]:
            self.refusal = self.refusal or PlainTextResponse(NOT_FILES, 400)


def _with_headers(policy: str, send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
            headers["Permissions-Policy"] = "geolocation=(), microphone=(), payment=(), usb=()"
        await send(message)

    return sending
