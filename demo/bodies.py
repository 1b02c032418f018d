"""How the body of a request comes in: in time, and counted as it comes.

uvicorn hands on whatever arrives, however slowly; Starlette and Gradio know the size of a body or of a file
alone, and look at what is in it when all of it is there.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable

import anyio
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Send

from demo import uploads

SMALL_BODY_BYTES = 256 * 2**10  # a larger one must hold a photo
MAX_UPLOAD_FILES = 100  # each takes Gradio a millisecond or two, in which it does nothing else
MAX_VALUES = 20_000  # of a body
PHOTO = b"data:"  # how one begins inside of a body
GRACE_SECONDS, LEAST_RATE = 20, 16 * 2**10  # after so long, bytes per second on the average

TOO_MANY_FILES = f"One upload may have {MAX_UPLOAD_FILES} files. Send fewer photos at once."
NOT_FILES = "An upload holds files, and nothing else."
TOO_MANY = f"The request holds more than {MAX_VALUES} values."
NO_PHOTO = f"A request of more than {SMALL_BODY_BYTES // 2**10} KiB must hold a photo."
STALLED = f"The upload was ended: nothing came for {uploads.STALLED_SECONDS} seconds. Try again."
SLOW = "The request was ended: it came too slowly. Try again."
FAILED = "Something went wrong on the server. Try again."


class Arrival:
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
        body = bytearray()  # one piece, which goes back to the system at its end; small ones stay with Python
        while length and not self._complete:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
        return bytes(body)

    async def send(self, message: Message) -> None:
        """As the connection's, but for the framework's bare 500: the guard tells the reason."""
        if message["type"] == "http.response.start":
            self._stopped = message["status"] == 500
            if self._stopped and self.refusal is None:
                self.refusal = PlainTextResponse(FAILED, 500)
        if not self._stopped and self.refusal is None:
            self.answered = True
            await self._send(message)


class Values:
    """Counts what is in a JSON body as it comes: parsing first would take the time and the memory."""

    def __init__(self) -> None:
        self._bytes = self._values = 0
        self._photo, self._end = False, b""

    def more(self, part: bytes) -> str | None:
        """Counts the next part; why the body is refused, if it is. A photo begins early in a body."""
        known = self._end + part
        self._end = known[-len(PHOTO) :]
        self._bytes += len(part)
        self._values += sum(part.count(mark) for mark in (b",", b"[", b"{", b":"))
        self._photo = self._photo or PHOTO in known
        if self._values > MAX_VALUES:
            return TOO_MANY
        return NO_PHOTO if self._bytes > SMALL_BODY_BYTES and not self._photo else None


class Parts:
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


def replayed(body: bytes, receive: Receive) -> Receive:
    """A body that has come already; then whatever the connection brings."""
    left = [body]

    async def again() -> Message:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else await receive()

    return again
