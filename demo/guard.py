"""What stands before Gradio: which hosts, routes and sizes are let in, and the headers of every answer.

`demo.bodies` receives what is let in, `demo.uploads` has the folder that it comes to. By hand: nothing is
received before host and room are known, and a refusal is a sentence with a way out. Starlette's
TrustedHostMiddleware knows no origin and says "Invalid host header"; Gradio limits one file, not all of them.
"""

import json
import re
import time
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import anyio
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demo import uploads
from demo.bodies import MAX_VALUES, PHOTO, SMALL_BODY_BYTES, Arrival, Parts, Values, replayed
from demo.connections import SHARE, is_public, visitor_at
from mobilevit_core.errors import UserError
from mobilevit_core.files import not_writable

if TYPE_CHECKING:
    from demo.api import Api

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
MAX_BODY_BYTES = 32 * 2**20  # of anything but an upload
MAX_UPLOAD_BYTES = 128 * 2**20  # of all files of one upload
MAX_HELD_BYTES = 256 * 2**20  # of all larger bodies that are being received
MAX_NAME = 200  # characters; Gradio never forgets the name of a session whose answer nobody collects
NAMES = ("session_hash", "event_id")
MAX_PHOTOS = 20  # in a body
BODY_SECONDS = 120  # for all of a body but an upload's
FORWARDED = re.compile(rb"[\w.:, \[\]-]{1,200}", re.ASCII)  # what a proxy says; Gradio puts it into addresses
SCHEMES = re.compile(rb"https?( *, *https?)*")

UNKNOWN_HOST = "This page is not served under that host name. Its owner can allow it: --allow-host NAME."
FOREIGN = "A request from another web site is not accepted."
NOT_THERE = "There is nothing here."
TOO_LARGE = f"The request is larger than {MAX_BODY_BYTES // 2**20} MiB. Upload the photo instead."
NO_LENGTH = "The request does not state its length (Content-Length)."
TOO_LARGE_UPLOAD = f"One upload may have {MAX_UPLOAD_BYTES // 2**20} MiB. Send fewer photos at once."
TOO_MANY_PHOTOS = f"A request may hold {MAX_PHOTOS} photos. Upload them instead."
LONG_NAME = f"The name of a session may have {MAX_NAME} characters."
NO_JSON = "The request is not JSON, or holds text that is not Unicode."
NO_FUNCTION = "There is no such function. /gradio_api/info lists them."
BUSY = "The server is receiving too much at the moment. Try again in a minute."
DISK_FULL = "The server has no room on its disk right now. Try later."
FULL = (
    "There is no room for more uploads right now: older ones are deleted within {minutes} minutes. Try later."
)

EMBEDDERS = "frame-ancestors 'self' https://huggingface.co https://*.hf.space"
# A bundle's report and a visitor's file are foreign: they are shown, and run nothing.
FOREIGN_POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'unsafe-inline'; base-uri 'none'; "
    f"form-action 'none'; sandbox; {EMBEDDERS}"
)


class Guard:
    """An ASGI application around another one.

    Args:
        app: what is guarded.
        hosts: names in the Host header that are let in, `*` for any part; None for all.
        limits: of the uploads.
        api: whose calls are handed on.
        policy: Content-Security-Policy of the page.
    """

    def __init__(
        self, app: ASGIApp, hosts: Sequence[str] | None, limits: uploads.Limits, api: "Api", policy: str
    ) -> None:
        self.app, self.hosts, self.limits, self.api = app, hosts, limits, api
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
        counted = Values()

        async def hold(part: bytes) -> Response | None:
            self._held[address] += len(part)
            if problem := counted.more(part):
                return PlainTextResponse(problem, 413)
            full = self._held[address] > own or self._held.total() > MAX_HELD_BYTES
            return PlainTextResponse(BUSY, 503) if full and length > SMALL_BODY_BYTES else None

        visitor = Arrival(receive, send, hold, BODY_SECONDS)
        try:
            body = await visitor.whole(length)
            plain = visitor.refusal if body is None else await self._checked(scope, body)
            if isinstance(plain, Response):
                await plain(scope, receive, send)
            elif plain is not None:  # else the visitor is gone
                headers = [(key, value) for key, value in scope["headers"] if key != b"content-length"]
                scope = {**scope, "headers": [*headers, (b"content-length", b"%d" % len(plain))]}
                await self.app(scope, replayed(plain, receive), send)
        finally:
            self._held[address] -= visitor.bytes
            if not self._held[address]:
                del self._held[address]

    async def _checked(self, scope: Scope, body: bytes) -> bytes | Response:
        """A body as it is handed on, or why it is not."""
        name = _called(scope["path"])
        if name is not None and self.api.is_full(name):
            return JSONResponse({"detail": self.api.full}, 503)
        if not body:
            return body
        try:
            value, photos = await anyio.to_thread.run_sync(_parsed, body)
            if photos > MAX_PHOTOS:
                return PlainTextResponse(TOO_MANY_PHOTOS, 413)
            if photos:
                refusal = await self._photo_refusal(scope, name, len(body) + photos * uploads.FILE_BYTES)
                if refusal:
                    return refusal
            return await anyio.to_thread.run_sync(self._plain, name, value)
        except (ValueError, RecursionError):  # lone surrogates are a ValueError, too
            return JSONResponse({"detail": NO_JSON}, 422)
        except OSError:
            return PlainTextResponse(DISK_FULL, 507)

    async def _photo_refusal(self, scope: Scope, name: str | None, cost: int) -> PlainTextResponse | None:
        if name is None:  # MCP, where Gradio stores the photos
            return await self._take(scope, cost)
        refusal = await self._room_refusal(scope, cost)
        self._count_share(_address(scope), cost)
        return refusal

    def _plain(self, name: str | None, value: Any) -> bytes | Response:
        """A call's body without the marks by which Gradio would open or fetch what a reference names.

        The API itself looks at the references. Values at the end may be missing. Photos inside of the
        body become uploads, so that no memory is held while the call waits.

        Args:
            name: of the function; "" where the body names it, None where none is called.
            value: what came in.
        """
        if name is None:
            return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
        value = _unmarked(value)
        count = self.api.parameters.get(name, 0)
        if isinstance(value, dict):
            if any(isinstance(value.get(key), str) and len(value[key]) > MAX_NAME for key in NAMES):
                return JSONResponse({"detail": LONG_NAME}, 422)
            number = value.get("fn_index", 0)
            if number is not None and (type(number) is not int or not 0 <= number < MAX_VALUES):
                return JSONResponse({"error": NO_FUNCTION}, 404)
            sent = value.get("data")
            if isinstance(sent, list):
                if len(sent) > count and count:
                    told = f"{name} takes at most {count} values; these are {len(sent)}."
                    return JSONResponse({"detail": told}, 422)
                sent += [None] * (count - len(sent))
        return json.dumps(value, ensure_ascii=False).encode()

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Receives an upload; what is left of one that was broken off is deleted."""
        counted = Parts(Headers(scope=scope).get("content-type", ""))

        async def take(part: bytes) -> Response | None:
            files = counted.more(part)
            if counted.refusal:
                return counted.refusal
            return await self._take(scope, len(part) + files * uploads.FILE_BYTES)

        upload = object()
        async with self._entrance:
            self.receiving[upload] = time.time()
        complete, visitor = False, Arrival(receive, send, take)
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


def _parsed(body: bytes) -> tuple[Any, int]:
    """What a body holds, and how many photos are in it, however they are written.

    Raises:
        ValueError: it is not JSON in UTF-8; Python would take UTF-16, too, in which nothing was counted.
    """
    value = json.loads(body.decode())
    if b"\\u" in body:  # an escape may hide how a photo begins
        body = json.dumps(value, ensure_ascii=False).encode()
    return value, body.count(PHOTO)


def _unmarked(value: Any) -> Any:
    if isinstance(value, dict):
        if not value.get("path") and str(value.get("url"))[:5] == PHOTO.decode():
            try:
                return {"path": str(uploads.admit({"url": value["url"]}))}
            except UserError:
                return {"path": ""}  # which the API refuses in the same words
        return {key: _unmarked(item) for key, item in value.items() if key != "meta"}
    return [_unmarked(item) for item in value] if isinstance(value, list) else value


def _is_served(path: str) -> bool:
    if path.startswith(uploads.ROUTE):
        return not path.removeprefix(uploads.ROUTE).lstrip("/").startswith(("http:", "https:"))
    if path.startswith(API):
        first, *rest = path.removeprefix(API).rstrip("/").split("/")
        return first in CALLS and (first != "mcp" or not rest or rest[0] in MCP and len(rest) == 1)
    return path == "/" or path.split("/")[1] in PLACES


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
