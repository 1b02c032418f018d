"""Starts the page: its options, the bundle, and Gradio's server behind one guard."""

import argparse
import contextlib
import ipaddress
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from demo import connections, gallery, site, uploads, words
from demo.comparison import Comparison
from demo.guard import Guard
from demo.reach import directly, in_brackets
from mobilevit_core.bundle.download import find_bundle
from mobilevit_core.bundle.files import REPORT
from mobilevit_core.errors import UserError
from mobilevit_core.images.reading import MAX_FILE_BYTES

uploads.use_own_folder()  # before Gradio is imported, which reads the place once
# Nobody looks at statistics of the calls, and nothing is asked of another server.
os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_ANALYTICS_MAX_EVENTS": "1"}
os.environ |= {"GRADIO_ANALYTICS_CACHE_FREQUENCY": str(2**62)}

import gradio as gr  # noqa: E402
from gradio import http_server  # noqa: E402
from gradio.route_utils import FnIndexInferError  # noqa: E402
from gradio.utils import get_space  # noqa: E402

from demo.api import Api  # noqa: E402

WEIGHTS = Path(__file__).parent / "weights"
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")
MAX_SESSIONS = 128  # Gradio keeps 0.1 MB for each; a call of the API is a session of its own
MAX_CALLS = 128  # in Gradio's hands at a time; more than all functions together let in
_described: ContextVar[Any] = ContextVar("described", default=None)
HOSTS = """\
A page that listens on this machine alone (the default) answers only under the names localhost, 127.0.0.1
and [::1], so that no other web site can reach it through a host name of its own. Behind a proxy that hands
on the public name, allow that name: --allow-host demo.example.org. With --host 0.0.0.0 (or
GRADIO_SERVER_NAME), and on Hugging Face Spaces, every name is let in unless some are named with
--allow-host.
"""


class PageServer(gr.Server):
    """Gradio's server with one bundle's page and API, and a guard around all of it.

    Args:
        comparison: the bundle's classifiers.
        limits: of the uploads; default: two gibibytes, each deleted after an hour.
    """

    def __init__(self, comparison: Comparison, limits: uploads.Limits | None = None) -> None:
        routes = [*_page_routes(comparison), *gallery.routes(comparison.bundle)]
        explained = {error: _explain for error in (TypeError, KeyError, FnIndexInferError)}
        super().__init__(
            routes=routes, exception_handlers=explained, docs_url=None, redoc_url=None, openapi_url=None
        )
        self.limits = limits or uploads.Limits()
        self.api_of_page = Api(self, comparison)
        self.hosts: Sequence[str] | None = None
        self.guard: Guard | None = None

    @property
    def api_info(self) -> Any:
        """What `/info` tells, per request: Gradio would tell all of them the address that the first named."""
        return _described.get()

    @api_info.setter
    def api_info(self, described: Any) -> None:
        _described.set(described)

    def build_middleware_stack(self) -> Guard:
        """Everything behind the guard, so that no answer of any layer leaves without its headers."""
        inner = super().build_middleware_stack()
        self.guard = Guard(inner, self.hosts, self.limits, self.api_of_page, site.policy())
        return self.guard

    def start(
        self,
        host: str | None = None,
        port: int | None = None,
        *,
        allow_hosts: Sequence[str] = (),
        mcp: bool = False,
        block: bool = True,
    ) -> str:
        """Starts the server.

        Args:
            host: address to listen on.
            port: default: 7860 or the next free one.
            allow_hosts: names under which the page is reached, besides this machine's own.
            mcp: offer the functions as MCP tools.
            block: wait until the server is stopped.

        Returns:
            The page's address.
        """
        if allow_hosts or is_local(host):
            self.hosts = (*LOCAL_HOSTS, *allow_hosts)
        connections.use(http_server)
        _, url, _ = self.launch(
            server_name=host,
            server_port=port,
            mcp_server=mcp,
            prevent_thread_lock=not block,
            quiet=not block,
            max_threads=MAX_CALLS,
            state_session_capacity=MAX_SESSIONS,
            max_file_size=MAX_FILE_BYTES,
            app_kwargs={"lifespan": self._lifespan},
            enable_monitoring=False,
            run_history=False,
            ssr_mode=False,
            pwa=False,
        )
        return url

    def close(self) -> None:
        """Stops the server."""
        self.get_blocks().close()

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Any) -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._clean)
            yield
            tasks.cancel_scope.cancel()

    async def _clean(self) -> None:
        """Deletes old uploads, in time and as long as the server runs; forgets what is gone."""
        await anyio.to_thread.run_sync(uploads.USAGE.measure)
        while True:
            await anyio.sleep(min(uploads.STALLED_SECONDS, self.limits.lifetime_seconds / 4))
            since = self.guard.receiving_since() if self.guard else None
            empty = await anyio.to_thread.run_sync(uploads.sweep, self.limits.lifetime_seconds, since)
            uploads.drop_empty(empty)
            await anyio.to_thread.run_sync(uploads.USAGE.measure)
            for paths in self.get_blocks().temp_file_sets:
                paths.intersection_update({path for path in list(paths) if os.path.lexists(path)})


async def _explain(request: Request, error: Exception) -> Response:
    """Answers a call whose form is wrong; Gradio's own answer would be a bare 500."""
    called = request.url.path.startswith(("/gradio_api/call/", "/gradio_api/queue/join"))
    if called and isinstance(error, KeyError | FnIndexInferError):
        return JSONResponse({"error": "There is no such function. /gradio_api/info lists them."}, 404)
    if called:
        return JSONResponse({"error": "An argument is missing or unknown. /gradio_api/info lists them."}, 422)
    raise error


def is_local(address: str | None = None) -> bool:
    """Whether the page is for this machine alone.

    Args:
        address: that the server listens on; default: as Gradio takes it from GRADIO_SERVER_NAME.
    """
    name = (address or os.environ.get("GRADIO_SERVER_NAME") or "localhost").strip("[]")
    try:
        return get_space() is None and (name == "localhost" or ipaddress.ip_address(name).is_loopback)
    except ValueError:
        return False


def _page_routes(comparison: Comparison) -> list[BaseRoute]:
    bundle = comparison.bundle

    def page(_: Request) -> HTMLResponse:
        return HTMLResponse(site.index(bundle))

    def facts(_: Request) -> JSONResponse:
        engine = site.is_installed()
        offered = {"engine": engine, "teaches": engine and bool(site.trunk_files())}
        return JSONResponse(words.facts(comparison) | offered)

    def report(request: Request) -> FileResponse:
        path = bundle.file(f"{REPORT}/{request.path_params['name']}")
        if path is None:
            raise HTTPException(404)
        return FileResponse(path)

    def worker(_: Request) -> FileResponse:
        return FileResponse(site.PAGE / "sw.js")

    return [
        Route("/", page),
        Route("/index.html", page),
        Route("/sw.js", worker),
        Mount("/page", StaticFiles(directory=site.PAGE)),
        Route("/report/{name:path}", report),
        Route("/bundle/page.json", facts),
        Route("/bundle/{name}", _sender(lambda: site.bundle_files(bundle))),
        Route("/trunk/{name}", _sender(site.trunk_files)),
        Route("/device/{name:path}", _sender(site.engine_files)),
    ]


def _sender(files: Callable[[], site.Files]) -> Callable[[Request], Response]:
    """Sends the file of a name, and nothing else."""

    def send(request: Request) -> Response:
        name = request.path_params["name"]
        content = files().get(name)
        if isinstance(content, Path) and content.is_file():
            return FileResponse(content)
        if content is None or isinstance(content, Path):
            raise HTTPException(404)
        media_type = "application/gzip" if name.endswith(".gz") else "application/json"
        return Response(content(), media_type=media_type)

    return send


def options() -> argparse.ArgumentParser:
    """The command line of app.py."""
    parser = argparse.ArgumentParser(
        description="MobileViT demo: top-5 and latencies, side by side.",
        epilog=HOSTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bundle",
        default=str(WEIGHTS),
        help="bundle folder, or hf://OWNER/NAME[@REVISION] of one on the Hugging Face Hub",
    )
    parser.add_argument("--host", help="address to listen on; default: this machine alone (127.0.0.1)")
    parser.add_argument("--port", type=int, help="default: 7860 or the next free one")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="see below; can be repeated"
    )
    parser.add_argument("--no-mcp", action="store_true", help="do not offer the functions as MCP tools")
    parser.add_argument(
        "--no-examples", action="store_true", help="do not fetch example photos (1 MB) at the first start"
    )
    parser.add_argument("--threads", type=int, help="of each runtime; default: processors, at most 4")
    parser.add_argument(
        "--keep-uploads",
        type=_positive,
        default=uploads.Limits.lifetime_seconds,
        metavar="SECONDS",
        help="how long an uploaded photo stays (default: %(default)s)",
    )
    parser.add_argument(
        "--uploads-mb",
        type=_positive,
        default=uploads.Limits.total_bytes // 2**20,
        metavar="MIB",
        help="room for all uploads together (default: %(default)s)",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def main(line: Sequence[str] | None = None) -> int:
    """Runs app.py's command line: opens the bundle and serves the page until it is stopped.

    Args:
        line: its words; default: this program's.

    Returns:
        Exit code: 2 for a wrong bundle, address or port.
    """
    arguments = options().parse_args(line)
    limits = uploads.Limits(arguments.keep_uploads, arguments.uploads_mb * 2**20)
    try:
        comparison = Comparison(find_bundle(arguments.bundle), arguments.threads)
        page = PageServer(comparison, limits)
        if not arguments.no_examples:
            gallery.fill(comparison)
        host, mcp = in_brackets(arguments.host), not arguments.no_mcp
        with directly():
            page.start(host, arguments.port, allow_hosts=arguments.allow_host, mcp=mcp)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except (OSError, OverflowError, ValueError) as error:  # the last: Gradio can't reach its own server
        print(f"Error: the address or the port can't be used: {error}", file=sys.stderr)
        return 2
    return 0
