"""Gradio's Blocks with one gate for every call: the page's handlers, the API and MCP all go through it."""

import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
import gradio as gr
from fastapi.responses import JSONResponse
from gradio.route_utils import FnIndexInferError
from gradio.utils import get_space
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from demo import uploads
from demo.guard import Guard, is_loopback
from demo.inputs import check_all
from demo.preview import Preview
from mobilevit_core.errors import UserError

MAX_WAITING = 16  # calls of one kind in the queue; the next one is told to come again
MAX_SESSIONS = 128  # Gradio keeps 0.1 MB for each; a call of the API is a session of its own
FULL = f"{MAX_WAITING} others wait already. Try again in a few seconds."
UNEXPECTED = "Something went wrong on the server; its log tells what. The next photograph may work."
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1")

log = logging.getLogger(__name__)


class Page(gr.Blocks):
    """Blocks that check every value before it is used, and answer every failure with a sentence.

    Args:
        limits: of the uploads.
        routes: served beside Gradio's.
        blocks: as `gr.Blocks` takes them.
    """

    def __init__(
        self, limits: uploads.Limits, routes: Sequence[BaseRoute] | None = None, **blocks: Any
    ) -> None:
        uploads.use_own_folder()
        self.limits = limits
        self.preview = "", ""  # title and description for links to the page
        self.own_routes = list(routes or [])
        self.chores: list[Callable[[], None]] = []  # done from time to time, in a thread
        super().__init__(**blocks)

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, explicit_call: bool = False
    ) -> Any:
        """Checks the values, then lets Gradio hand them over."""
        checked = check_all(block_fn.inputs, inputs, block_fn.api_name)
        return await super().preprocess_data(block_fn, checked, state, explicit_call)

    async def process_api(self, *arguments: Any, **named: Any) -> Any:
        """One call; whatever goes wrong becomes a sentence."""
        try:
            return await super().process_api(*arguments, **named)
        except gr.Error:
            raise
        except UserError as error:
            raise gr.Error(uploads.without_path(error), print_exception=False) from error
        except Exception as error:
            log.exception("A call failed.")
            raise gr.Error(UNEXPECTED, print_exception=False) from error

    def launch(self, *arguments: Any, allow_hosts: Sequence[str] = (), **named: Any) -> Any:
        """Starts the server behind its guard.

        Args:
            arguments: as `gr.Blocks.launch` takes them.
            allow_hosts: names under which the page is reached, besides this machine's own.
            named: as `gr.Blocks.launch` takes them.

        Returns:
            As `gr.Blocks.launch`.
        """
        address = named.get("server_name")
        hosts = (*LOCAL_HOSTS, *allow_hosts) if allow_hosts or is_local(address) else None
        options = {
            "lifespan": self._lifespan(hosts),
            "routes": list(self.own_routes),
            "exception_handlers": {error: _explain for error in (TypeError, KeyError, FnIndexInferError)},
        }
        return super().launch(*arguments, **named, app_kwargs=options)

    def queue(self, *arguments: Any, **named: Any) -> "Page":
        """A queue whose places are counted for each kind of call by itself, and that nobody can go round."""
        super().queue(*arguments, api_open=False, max_size=None, **named)
        self._queue.compute_analytics_summary = lambda _: {}  # costs time on every call; nobody looks at it
        self._queue.ANALYTICS_MAX_EVENTS = 1
        push = self._queue.push

        async def limited(body: Any, request: Any, username: str | None) -> Any:
            fn = self.fns.get(body.fn_index)
            waiting = self._queue.event_queue_per_concurrency_id.get(fn.concurrency_id) if fn else None
            if waiting and len(waiting.queue) >= MAX_WAITING:
                return False, FULL, "queue_full"
            return await push(body=body, request=request, username=username)

        self._queue.push = limited
        return self

    def _lifespan(self, hosts: Sequence[str] | None) -> Any:
        @contextlib.asynccontextmanager
        async def lifespan(app: Any) -> AsyncIterator[None]:
            # Around everything, so that no answer of any layer leaves without the guard's headers.
            described = Preview(app.middleware_stack, *self.preview)
            app.middleware_stack = guard = Guard(described, hosts, self.limits)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._clean, guard)
                yield
                tasks.cancel_scope.cancel()

        return lifespan

    async def _clean(self, guard: Guard) -> None:
        """Deletes old uploads, in time and as long as the server runs; forgets what is gone."""
        while True:
            await anyio.sleep(min(uploads.STALLED_SECONDS, self.limits.lifetime_seconds / 4))
            keep = {path for block in self.blocks.values() for path in getattr(block, "keep_in_cache", ())}
            since = guard.receiving_since()
            empty = await anyio.to_thread.run_sync(uploads.sweep, self.limits.lifetime_seconds, keep, since)
            uploads.drop_empty(empty)
            for chore in self.chores:
                await anyio.to_thread.run_sync(chore)
            for paths in self.temp_file_sets:
                paths.intersection_update({path for path in list(paths) if uploads.exists(path)})
            events, messages = self._queue.pending_event_ids_session, self._queue.pending_messages_per_session
            for name in [name for name, left in events.items() if not left and name not in messages]:
                events.pop(name)


def is_local(address: str | None = None) -> bool:
    """Whether the page is for this machine alone.

    Args:
        address: that the server listens on; default: as Gradio takes it from GRADIO_SERVER_NAME.
    """
    return get_space() is None and is_loopback(address)


async def _explain(request: Request, error: Exception) -> Response:
    """Answers a call whose form is wrong; Gradio's own answer would be a bare 500."""
    called = request.url.path.startswith(("/gradio_api/call/", "/gradio_api/queue/join"))
    if called and isinstance(error, KeyError | FnIndexInferError):
        return JSONResponse({"error": "There is no such function. /gradio_api/info lists them."}, 404)
    if called:
        return JSONResponse({"error": "An argument is missing or unknown. /gradio_api/info lists them."}, 422)
    raise error
