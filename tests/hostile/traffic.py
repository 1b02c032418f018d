"""Attackers of a page, each a function that goes on until it is told to end; all of them to 127.0.0.1.

None sends more than `LOOPS` requests per second, and none holds more than `HELD` connections.
"""

import base64
import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from urllib.parse import urlsplit

import httpx

LOOPS, HELD = 2.0, 200
PATIENCE = 30.0  # seconds that an attacker waits for an answer
JSON = {"content-type": "application/json"}

Attack = Callable[[str, threading.Event], None]


def _connected(url: str, stack: ExitStack) -> socket.socket:
    splits = urlsplit(url)
    assert splits.hostname == "127.0.0.1" and splits.port
    return stack.enter_context(socket.create_connection((splits.hostname, splits.port), 10))


def _head(place: str, length: int, kind: str = "application/json") -> bytes:
    lines = [f"POST /gradio_api/{place} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}"]
    return "\r\n".join([*lines, f"Content-Length: {length}", "", ""]).encode()


def _posting(place: str, content: Callable[[], bytes], headers: dict[str, str] = JSON) -> Attack:
    """Sends a body again and again."""

    def attack(url: str, end: threading.Event) -> None:
        with httpx.Client(base_url=url, timeout=PATIENCE) as client:
            while not end.wait(1 / LOOPS):
                with suppress(httpx.HTTPError):
                    client.post(f"gradio_api/{place}", content=content(), headers=headers)

    return attack


def _holding(first: bytes, then: bytes = b"", count: int = HELD) -> Attack:
    """Holds many connections that have begun something, and opens closed ones again."""

    def attack(url: str, end: threading.Event) -> None:
        while not end.is_set():
            with ExitStack() as stack, suppress(OSError):
                held = []
                for _ in range(count):
                    held.append(_connected(url, stack))
                    held[-1].sendall(first)
                while not end.wait(1.0):
                    for connection in held:
                        connection.sendall(then)

    return attack


def _photo(size: int) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(os.urandom(size)).decode()


def _small_files() -> bytes:
    head = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n'
    return b"".join(head + os.urandom(8) + b"\r\n" for _ in range(100)) + b"--x--\r\n"


def _tool(photo: str) -> bytes:
    call = '{"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "classify", "arguments": '
    return f'{call}{{"photo": "{photo}"}}}}}}'.encode()


MULTIPART = "multipart/form-data; boundary=x"
ATTACKS: dict[str, Attack] = {
    "promises of uploads": _holding(_head("upload", 2**27 - 1, MULTIPART) + b"--x\r\n", b"a"),
    "bodies without an end": _holding(
        _head("call/classify", 2**25 - 1) + b'{"data": [{"url": "data:' + b"a" * 2**20, b"", 30
    ),
    "half heads": _holding(b"GET / HTTP/1.1\r\nHost: local"),
    "lists": _posting("call/classify", lambda: b'{"data": [' + b"[]," * (10 * 2**20) + b"[]]}"),
    "objects": _posting("queue/join", lambda: b'{"data": [' + b"{}," * (10 * 2**20) + b"{}]}"),
    "small photos": _posting(
        "call/classify", lambda: f'{{"data": [{{"url": "{_photo(40_000)}"}}]}}'.encode()
    ),
    "small files": _posting("upload", _small_files, {"content-type": MULTIPART}),
    "photos by MCP": _posting(
        "mcp/",
        lambda: _tool(_photo(1_000_000)),
        {**JSON, "accept": "application/json, text/event-stream"},
    ),
}


class Attackers:
    """All of them at once, until the end of the block."""

    def __init__(self, url: str) -> None:
        self._end = threading.Event()
        self._threads = [
            threading.Thread(target=attack, args=(url, self._end), daemon=True) for attack in ATTACKS.values()
        ]

    def __enter__(self) -> "Attackers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        end = time.monotonic() + 2 * PATIENCE
        for thread in self._threads:
            thread.join(max(0.1, end - time.monotonic()))
