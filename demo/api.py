"""The API: `/classify`, `/compare`, `/explain` and `/benchmark`, for programs, for MCP and for the page.

Gradio hands over what a visitor sent as it came. Here is the one place where values are checked, where one
that is missing gets its default, and where every failure becomes a sentence.
"""

import functools
import inspect
import io
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import anyio
import gradio as gr

from demo import uploads, words
from demo.comparison import Comparison
from mobilevit_core.errors import UserError

AT_ONCE = 8  # calls of one function in work: photos are read side by side, networks run one by one
MAX_WAITING = 16  # others of that function; the next one is told to come again
DEFAULT_RUNS, MAX_RUNS = 20, 100  # timed runs of each format
MOST_NAMED = 20  # classes that a description lists
PHOTO = (
    "a JPEG, PNG, WebP, HEIC or AVIF file: uploaded to this server, or a data URL "
    "(data:image/jpeg;base64,...). Addresses of photos elsewhere are refused: nothing is downloaded"
)
NO_PHOTO = "There is no photo yet: upload one first."
UNEXPECTED = "Something went wrong on the server; its log tells what. The next photo may work."

Check = Callable[[Any], Any]
log = logging.getLogger(__name__)


class Api:
    """The four functions of one page, each with its limit of calls.

    Args:
        server: that offers them.
        comparison: what they ask.

    Attributes:
        parameters: function -> how many values it takes.
        full: what a call is told that has to come again later.
    """

    full = f"{MAX_WAITING} others wait already. Try again in a few seconds."

    def __init__(self, server: gr.Server, comparison: Comparison) -> None:
        self._server = server
        self._limiters: dict[str, anyio.CapacityLimiter] = {}
        self.parameters: dict[str, int] = {}
        names, functions = list(comparison.names), Functions(comparison)
        checks = {
            "photo": uploads.admit,
            "runs": whole_number("runs", 1, MAX_RUNS),
            "format": one_of("format", names),
            "formats": some_of("formats", names),
        }
        for function in (functions.classify, functions.compare, functions.explain, functions.benchmark):
            self._add(function, checks, _about(function.__doc__ or "", comparison))

    def is_full(self, name: str) -> bool:
        """Whether the next call of a function has to come again later."""
        limiter = self._limiters.get(name)
        return limiter is not None and limiter.statistics().tasks_waiting >= MAX_WAITING

    def _add(self, function: Callable[..., Any], checks: Mapping[str, Check], description: str) -> None:
        """Offers a function under its own name.

        Args:
            function: with type hints.
            checks: parameter -> turns what a visitor sent into the value, or raises a UserError.
            description: of the function and its parameters, in the form of a docstring.
        """
        name = function.__name__
        limiter = self._limiters[name] = anyio.CapacityLimiter(AT_ONCE)
        parameters = inspect.signature(function).parameters
        self.parameters[name] = len(parameters)

        @functools.wraps(function)
        async def call(*sent: Any) -> Any:
            try:
                if self.is_full(name):
                    raise UserError(self.full)
                values = await anyio.to_thread.run_sync(_checked, parameters.values(), checks, sent)
                return await anyio.to_thread.run_sync(function, *values, limiter=limiter)
            except Exception as error:
                raise _told(error) from error

        call.__doc__ = description  # what the API's description and MCP clients read
        # No limit of Gradio's: the limiters above count, so that nobody goes round them.
        self._server.api(call, name=name, concurrency_limit=None)


def _about(description: str, comparison: Comparison) -> str:
    known = words.known(comparison.bundle.manifest)
    listed = ", ".join(known[:MOST_NAMED]) + (", ..." if len(known) > MOST_NAMED else "")
    return description.replace("CLASSES", f"{len(known)} classes ({listed})").replace("PHOTO", PHOTO)


def _checked(
    parameters: Iterable[inspect.Parameter], checks: Mapping[str, Check], sent: Sequence[Any]
) -> list[Any]:
    """What a visitor sent as the function takes it; null is the parameter's default, and a photo has none."""
    values = []
    for parameter, value in zip(parameters, sent, strict=True):
        if value is not None:
            values.append(checks[parameter.name](value))
        elif parameter.default is parameter.empty:
            raise UserError(NO_PHOTO)
        else:
            values.append(parameter.default)
    return values


def _told(error: Exception) -> gr.Error:
    """Any failure as a sentence, without a place on this machine."""
    if isinstance(error, UserError):
        return gr.Error(uploads.without_path(error), print_exception=False)
    log.error("A call failed.", exc_info=error)
    return gr.Error(UNEXPECTED, print_exception=False)


def whole_number(label: str, low: int, high: int) -> Check:
    """A field for a number."""

    def check(value: Any) -> int:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not low <= value <= high or value != int(value):  # NaN is in no range
            raise UserError(f"{label} must be a whole number from {low} to {high}.")
        return int(value)

    return check


def one_of(label: str, known: list[str]) -> Check:
    """A field for one name out of several."""

    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise UserError(f"{label} must be chosen from: {', '.join(known)}.")
        return value

    return check


def some_of(label: str, known: list[str]) -> Check:
    """A field for a list of such names."""

    def check(value: Any) -> list[str]:
        if not isinstance(value, list):
            raise UserError(f"{label} must be a list of names.")
        return [one_of(label, known)(name) for name in value]

    return check


class Functions:
    """What the API offers; CLASSES and PHOTO in a docstring stand for those of the bundle.

    Args:
        comparison: of the bundle.
    """

    def __init__(self, comparison: Comparison) -> None:
        self._comparison = comparison

    def classify(self, photo: gr.FileData, format: str | None = None) -> dict[str, Any]:
        """Names what a photo shows, out of CLASSES.

        The model knows nothing else: whatever the photo shows, one of them is the most probable. Where
        "unknown" is true, it is probably none of them.

        Args:
            photo: PHOTO.
            format: weight format that answers, such as "float32".

        Returns:
            {"label", "score", "unknown", "predictions": the best five as [{"label", "score"}, ...], "scores":
            probability of every class, "format"}.
        """
        return self._comparison.classify(photo, format).to_json()

    def compare(
        self, photo: gr.FileData, runs: int = DEFAULT_RUNS, formats: list[str] | None = None
    ) -> dict[str, Any]:
        """Classifies a photo, one of CLASSES, with several weight formats, and times each here.

        Args:
            photo: PHOTO.
            runs: timed runs of each format.
            formats: their names, such as "float32"; none for all.

        Returns:
            Format -> the answer as `classify` returns it, "latency_ms": {"p50", "p95", "p50_range", "runs",
            "threads"}, "size_bytes", "engine", "first_call_ms".
        """
        answers = self._comparison.run(photo, runs, formats or None)
        return {name: answer.to_json() | self._comparison.facts(name) for name, answer in answers.items()}

    def explain(self, photo: gr.FileData) -> tuple[gr.FileData, str]:
        """Shows where in a photo the model found its answer, one of CLASSES.

        Args:
            photo: PHOTO.

        Returns:
            The photo with a map laid over it, and the class that the map speaks for.
        """
        picture, label = self._comparison.explain(photo)
        content = io.BytesIO()
        picture.save(content, "WEBP", quality=85)
        path = uploads.keep(content.getvalue(), "map.webp")
        return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}, label

    def benchmark(self, runs: int = DEFAULT_RUNS) -> dict[str, Any]:
        """Measures every weight format of the bundle on this server, in turns, on a random picture.

        Args:
            runs: timed runs of each format.

        Returns:
            Format -> {"p50", "p95", "p50_range", "runs", "threads"}, milliseconds.
        """
        return {name: latency.to_json() for name, latency in self._comparison.benchmark(runs).items()}
