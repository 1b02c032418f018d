"""Connections of uvicorn that ask in time: their number, the wait for a request's head, and the log.

By hand: uvicorn's `limit_concurrency` refuses the next visitor where a silent one should go; nothing limits
the time of a head. Gradio starts uvicorn and hands none of its options on; `use` puts them into its place.
"""

import asyncio
import functools
import ipaddress
import logging
import time
from types import SimpleNamespace
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

try:
    import resource
except ImportError:  # Windows has no such limit
    resource = None

MOST_CONNECTIONS = 1000
SPARE_FILES = 256  # that are open for other things
SHARE = 4  # one address has at most this part of what is there for all
HEAD_SECONDS = 20.0  # to send a request's head, and between two requests
SAME_LINE_SECONDS = 60.0  # between two lines of the log that say the same


class Connection(H11Protocol):
    """A connection that is closed unless it asks; of too many, the one that is silent or busy longest."""

    most = MOST_CONNECTIONS

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins to wait for a request."""
        super().connection_made(transport)
        self._since, self._answered = self.loop.time(), self.cycle
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look)
        others: list[Connection] = [
            each for each in self.connections if each is not self and not each.transport.is_closing()
        ]
        address = visitor_at(self.client)
        if is_public(address):
            same = [each for each in others if visitor_at(each.client) == address]
            if len(same) >= self.most // SHARE:
                transport.abort()
                return
        if len(others) >= self.most:
            # An answer may be made to last for ever: a stream, or one that is read byte by byte.
            silent = [each for each in others if each.is_silent()]
            min(silent or others, key=lambda each: each._since).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._timer.cancel()
        super().connection_lost(exc)

    def is_silent(self) -> bool:
        """Whether no request is being received or answered."""
        return self.cycle is None or self.cycle.response_complete

    def _look(self) -> None:
        """Closes the connection if nothing was asked since the last look."""
        if self.is_silent() and self.cycle is self._answered:
            self.transport.abort()
            return
        if self.is_silent():
            self._since, self._answered = self.loop.time(), self.cycle
        self._timer = self.loop.call_later(HEAD_SECONDS, self._look)


class Sparing(logging.Filter):
    """Lets the same line through once a minute only."""

    def __init__(self) -> None:
        super().__init__()
        self._told: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is told."""
        now = time.monotonic()
        self._told = {line: when for line, when in self._told.items() if now - when < SAME_LINE_SECONDS}
        told = self._told.setdefault(str(record.msg), now)
        return told == now


def visitor_at(client: tuple[str, int] | None) -> str:
    """The address of a connection as that of one visitor: of IPv6, whoever has one has the whole /64."""
    address = client[0] if client else ""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped or ipaddress.IPv6Network((int(parsed), 64), strict=False).network_address)


def is_public(address: str | None) -> bool:
    """Whether an address is one visitor's; those of this machine and its network may be a proxy's."""
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return False
    return (getattr(parsed, "ipv4_mapped", None) or parsed).is_global


def use(http_server: Any) -> None:
    """Has Gradio start uvicorn with these connections, and lets this process open as many files as it may.

    Args:
        http_server: Gradio's module of that name.
    """
    soft = MOST_CONNECTIONS + SPARE_FILES
    if resource is not None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = max(soft, min(hard, 65_536) if hard != resource.RLIM_INFINITY else 65_536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    Connection.most = max(16, min(MOST_CONNECTIONS, soft - SPARE_FILES))
    options = {"http": Connection, "ws": "none"}  # the page has no WebSockets
    http_server.uvicorn = SimpleNamespace(Config=functools.partial(uvicorn.Config, **options))
    for name in ("asyncio", "uvicorn.error"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, Sparing) for each in logger.filters):
            logger.addFilter(Sparing())
