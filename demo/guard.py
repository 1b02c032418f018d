"""What stands before Gradio: which hosts, routes and sizes are let in, and the headers of every answer.

Every limit on what a visitor may send is here; `demo.uploads` has the folder that it comes to.
"""

import ipaddress
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo import uploads

API = "/gradio_api/"
# What the page, gradio_client and MCP use. Gradio has more: its own front end, a proxy for web addresses,
# recordings, links that store the page's state, a history, monitoring. What nobody needs is not there.
PLACES = set(
    "page device bundle report examples taught config favicon.ico robots.txt sw.js index.html".split()
)
CALLS = set("app_id call cancel heartbeat info login_check mcp openapi.json queue reset".split())
CALLS |= {"startup-events", "token", "upload", "upload_progress", "user"}
WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
MEASURE_SECONDS = 1.0  # between two looks at how full the upload folder is
SMALL_BODY_BYTES = 64 * 2**10
MAX_BODY_BYTES = 32 * 2**20  # of anything but an upload
MAX_VALUES = 20_000  # of a call's body; a lesson with 500 photographs has 4,000
BODY_SECONDS = 120  # for all of a call's body

UNKNOWN_HOST = "This page is not served under that host name. Its owner can allow it: --allow-host NAME."
FOREIGN = "A request from another web site is not accepted."
NOT_THERE = "There is nothing here."
TOO_LARGE = f"The request is larger than {MAX_BODY_BYTES // 2**20} MiB. Upload the photograph instead."
NO_LENGTH = "The request does not state its length (Content-Length)."
TOO_MANY = f"The request holds more than {MAX_VALUES} values."
NO_JSON = "The request is not JSON."
STALLED = f"The upload was ended: nothing came for {uploads.STALLED_SECONDS} seconds. Try again."
SLOW = f"The request took longer than {BODY_SECONDS} seconds."
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
        self.receiving: dict[object, float] = {}  # those that are being received, and when each began
        self._entrance = anyio.Lock()  # held while what was broken off is deleted
        self._broken_off = False
        self.announced_bytes = 0  # of the uploads that are being received
        self.used_bytes, self.measured = 0, -MEASURE_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request, or hands it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        foreign = scope["path"].startswith(("/report/", uploads.ROUTE))
        send = _with_headers(FOREIGN_POLICY if foreign else self._policy, send)
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
        text = headers.get("content-length", "" if "transfer-encoding" in headers else "0")
        if not text.isdecimal():
            return PlainTextResponse(NO_LENGTH, 411)
        if not _is_upload(scope):
            if int(text) > MAX_BODY_BYTES:
                return PlainTextResponse(TOO_LARGE, 413)
            if int(text) < SMALL_BODY_BYTES:
                return None  # holds no photograph
        if time.monotonic() - self.measured >= MEASURE_SECONDS:
            self.measured = time.monotonic()
            self.used_bytes = await anyio.to_thread.run_sync(uploads.total_bytes)
        if self.used_bytes + self.announced_bytes + int(text) > self.limits.total_bytes:
            minutes = -(-self.limits.lifetime_seconds // 60)
            return PlainTextResponse(FULL.format(minutes=minutes), 507)
        return None

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receives the body of a call, and hands it on as `_plain` makes it."""
        parts: list[bytes] = []
        left = int(Headers(scope=scope).get("content-length", 0))
        with anyio.move_on_after(BODY_SECONDS):
            while left:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                parts.append(message.get("body", b""))
                left = left if message.get("more_body") else 0
        if left:
            await PlainTextResponse(SLOW, 408)(scope, receive, send)
            return
        body, refusal = b"".join(parts), None
        if sum(body.count(mark) for mark in (b",", b"[", b"{", b":")) > MAX_VALUES:
            refusal = PlainTextResponse(TOO_MANY, 413)
        elif (name := _called(scope["path"])) is not None:
            if self.calls.is_full(name):
                refusal = JSONResponse({"detail": self.calls.full}, 503)
            else:
                body, refusal = await anyio.to_thread.run_sync(self._plain, name, body)
        if refusal:
            await refusal(scope, receive, send)
            return
        headers = [(key, value) for key, value in scope["headers"] if key != b"content-length"]
        scope = {**scope, "headers": [*headers, (b"content-length", b"%d" % len(body))]}
        await self.app(scope, _Replay(body, receive).receive, send)

    def _plain(self, name: str, body: bytes) -> tuple[bytes, Response | None]:
        """A call's body without the marks by which Gradio would open or fetch what a reference names.

        The API itself looks at the references. Values at the end may be missing.

        Args:
            name: of the function; "" where the body names it.
            body: as it came in.
        """
        try:
            value = _unmarked(json.loads(body))
            count = self.calls.parameters.get(name, 0)
            if isinstance(value, dict) and isinstance(value.get("data"), list):
                sent = value["data"]
                if len(sent) > count and count:
                    told = f"{name} takes at most {count} values; these are {len(sent)}."
                    return body, JSONResponse({"detail": told}, 422)
                sent += [None] * (count - len(sent))
            return json.dumps(value).encode(), None
        except (ValueError, RecursionError):
            return body, PlainTextResponse(NO_JSON, 422)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receives an upload; what is left of one that was broken off is deleted."""
        length = int(Headers(scope=scope).get("content-length", 0))
        upload = object()
        async with self._entrance:
            self.receiving[upload] = time.time()
        self.announced_bytes += length
        complete, visitor = False, _Impatient(receive, send)
        try:
            await self.app(scope, visitor.receive, visitor.send)
            complete = True
        except ClientDisconnect:
            if visitor.stalled:
                await PlainTextResponse(STALLED, 408)(scope, receive, send)
        finally:
            del self.receiving[upload]
            self.announced_bytes -= length
            self.used_bytes += length  # until it is measured again
            self._broken_off |= not complete
            await self._drop_unfinished()

    async def _drop_unfinished(self) -> None:
        """Deletes what was broken off, once nothing is being received; a new upload waits for it."""
        if self._broken_off and not self.receiving:
            with anyio.CancelScope(shield=True):
                async with self._entrance:
                    if not self.receiving:
                        self._broken_off = False
                        await anyio.to_thread.run_sync(uploads.drop_unfinished)

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


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
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
        return path.removeprefix(API).split("/")[0] in CALLS
    return path == "/" or path.split("/")[1] in PLACES


class _Impatient:
    """A visitor's connection on which an upload may not stand still; one that does counts as gone."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self.stalled = False

    async def receive(self) -> Message:
        with anyio.move_on_after(uploads.STALLED_SECONDS):
            return await self._receive()
        self.stalled = True
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if not self.stalled:  # else it is the framework's bare 500; the guard tells the reason
            await self._send(message)


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
