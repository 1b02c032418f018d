"""What stands before Gradio: which hosts, routes and sizes are let in, and the headers of every answer."""

import ipaddress
import os
import time
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo import uploads

API = "/gradio_api/"
# What the page, gradio_client and MCP use. Gradio has more: a proxy for web addresses, recordings, links that
# store the page's state, a history, monitoring. What nobody needs is not there.
PLACES = set("assets static svelte device bundle report examples taught config theme.css favicon.ico".split())
PLACES |= {"manifest.json", "pwa_icon", "robots.txt"}
CALLS = set("app_id call cancel heartbeat info login_check mcp openapi.json queue reset run api".split())
CALLS |= {"startup-events", "theme.css", "token", "upload", "upload_progress", "user"}
MEASURE_SECONDS = 1.0  # between two looks at how full the upload folder is
SMALL_BODY_BYTES = 64 * 2**10
MAX_BODY_BYTES = 32 * 2**20  # of anything but an upload

UNKNOWN_HOST = "This page is not served under that host name. Its owner can allow it: --allow-host NAME."
FOREIGN = "A request from another web site is not accepted."
NOT_THERE = "There is nothing here."
TOO_LARGE = f"The request is larger than {MAX_BODY_BYTES // 2**20} MiB. Upload the photograph instead."
NO_LENGTH = "The request does not state its length (Content-Length)."
STALLED = f"The upload was ended: nothing came for {uploads.STALLED_SECONDS} seconds. Try again."
FULL = (
    "There is no room for more uploads right now: older ones are deleted within {minutes} minutes. Try later."
)

# Gradio's front end needs inline scripts and eval (for the page's own JavaScript functions and its plots).
EMBEDDERS = "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
SHARED = f"object-src 'none'; base-uri 'self'; form-action 'self'; {EMBEDDERS}"
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' data: blob:; "
    "font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; frame-src 'self'; "
    + SHARED
)
CDN = "https://cdn.jsdelivr.net"  # where the panel takes LiteRT.js from if it was not installed
DEVICE_POLICY = (
    f"default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob: {CDN}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; media-src 'self' blob:; "
    f"connect-src 'self' data: blob: {CDN}; worker-src 'self' blob:; " + SHARED
)
# A bundle's report and a visitor's file are foreign: they are shown, and run nothing.
FOREIGN_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; "
    f"form-action 'none'; sandbox; {EMBEDDERS}"
)
POLICIES = {"/device/": DEVICE_POLICY, "/report/": FOREIGN_POLICY, uploads.ROUTE: FOREIGN_POLICY}


class Guard:
    """An ASGI application around another one.

    Args:
        app: what is guarded.
        hosts: names in the Host header that are let in, `*` for any part; None for all.
        limits: of the uploads.
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None, limits: uploads.Limits) -> None:
        self.app, self.hosts, self.limits = app, hosts, limits
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
        send = _with_headers(scope["path"], send)
        refusal = await self._refusal(scope)
        if refusal:
            await refusal(scope, receive, send)
        elif _is_upload(scope):
            await self._upload(scope, receive, send)
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
        if scope["method"] not in ("POST", "PUT", "PATCH"):
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


def _with_headers(path: str, send: Send) -> Send:
    policy = next((policy for start, policy in POLICIES.items() if path.startswith(start)), POLICY)

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Content-Security-Policy"] = policy
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "same-origin"
            headers["Permissions-Policy"] = "geolocation=(), microphone=(), payment=(), usb=()"
        await send(message)

    return sending
