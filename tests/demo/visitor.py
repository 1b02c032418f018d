"""What a stranger without a browser sends to the page."""

import json
import socket
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import httpx

FILE = {"_type": "gradio.FileData"}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Visitor(httpx.Client):
    """Raw HTTP against a page."""

    def upload(self, path: Path) -> dict[str, Any]:
        """Sends a file; returns the reference for calls."""
        return self.upload_bytes(path.name, path.read_bytes())

    def upload_bytes(self, name: str, content: bytes) -> dict[str, Any]:
        answer = self.post("gradio_api/upload", files={"files": (name, content)})
        assert answer.status_code == 200, answer.text
        return {"path": answer.json()[0], "meta": FILE}

    def call(self, function: str, *data: Any) -> Any:
        """The answer of an API function, or the text of its error."""
        content = json.dumps({"data": data})  # allows NaN, as Python and careless clients do
        headers = {"content-type": "application/json"}
        answer = self.post(f"gradio_api/call/{function}", content=content, headers=headers)
        if answer.status_code != 200:
            told = answer.json()
            return told.get("detail") or told["error"]
        return _result(self.get(f"gradio_api/call/{function}/{answer.json()['event_id']}").text)


def _result(events: str) -> Any:
    blocks = [block.split("\n") for block in events.strip().split("\n\n")]
    kind, data = blocks[-1]
    answer = json.loads(data.removeprefix("data: "))
    return answer if kind == "event: complete" else answer["error"]


def run_apart(function: Callable[[], Awaitable[Any]]) -> Any:
    """Runs a coroutine in a thread of its own: Playwright keeps an event loop in the tests' own thread."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(anyio.run, function).result()
