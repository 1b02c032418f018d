"""What other sites show of a link to the page: Open Graph tags in place of Gradio's own."""

import os
import re
from html import escape

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

GRADIOS = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>')
PICTURE = "examples/preview.png"


class Preview:
    """An ASGI application around another one that describes the page `/`.

    Args:
        app: what serves the page.
        title: of the page.
        description: one line.
    """

    def __init__(self, app: ASGIApp, title: str, description: str) -> None:
        self.app = app
        self.tags = tags(title, description).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http" or scope["path"] != "/" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        plain = [(name, value) for name, value in scope["headers"] if name != b"accept-encoding"]
        await self.app({**scope, "headers": plain}, receive, self._describing(send))

    def _describing(self, send: Send) -> Send:
        """Holds the answer back until it is complete, and changes its head."""
        start: list[Message] = []
        body: list[bytes] = []

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.append(message)
                return
            body.append(message.get("body", b""))
            if message.get("more_body"):
                return
            content = GRADIOS.sub(b"", b"".join(body)).replace(b"<head>", b"<head>" + self.tags, 1)
            MutableHeaders(scope=start[0])["content-length"] = str(len(content))
            await send(start[0])
            await send({"type": "http.response.body", "body": content})

        return sending


def tags(title: str, description: str, picture: str | None = None) -> str:
    """The tags, as HTML.

    Args:
        title: of the page.
        description: one line.
        picture: its address; default: the server's own, complete where the server knows its name (on Hugging
            Face Spaces).
    """
    host = os.environ.get("SPACE_HOST")
    picture = picture or (f"https://{host}/{PICTURE}" if host else f"/{PICTURE}")
    values = {"og:type": "website", "og:title": title, "og:description": description, "og:image": picture}
    shown = [f'<meta property="{name}" content="{escape(value)}">' for name, value in values.items()]
    shown.append('<meta name="twitter:card" content="summary_large_image">')
    shown.append(f'<meta name="description" content="{escape(description)}">')
    return "".join(shown)
