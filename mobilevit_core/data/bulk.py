"""Many photos in a row: read by several threads, in order, with bounded memory, and shown as it goes."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mobilevit_core import messages

Item = TypeVar("Item")
Result = TypeVar("Result")

CHUNK = 16  # items per task: a small photo takes hardly longer than handing out a task
AHEAD = 4  # tasks per thread that may wait for whoever takes the results
THREADS = 8
SILENT_SECONDS = 1.0  # what is done by then needs no progress display
LINE_SECONDS = 15.0  # between two lines where standard error is not a terminal


def in_order(
    function: Callable[[Item], Result], items: Sequence[Item], title: str = "", ahead: int = AHEAD
) -> Iterator[Result]:
    """Calls a function for every item in several threads.

    Args:
        function: of one item.
        items: in the order of the results.
        title: what is being done, for the progress display on standard error; no display without it.
        ahead: tasks of `CHUNK` items per thread that may be finished before their results are taken.

    Yields:
        The results in the order of the items. Exceptions come where their result would.
    """
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    waiting: deque[Any] = deque()
    with ThreadPoolExecutor(THREADS) as pool, _Display(title, len(items)) as display:
        try:
            for chunk in chunks:
                waiting.append(pool.submit(lambda part: [function(item) for item in part], chunk))
                if len(waiting) >= THREADS * ahead:
                    yield from display.passing(waiting.popleft().result())
            while waiting:
                yield from display.passing(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()


class _Display:
    """A bar on a terminal, a line now and then elsewhere; nothing for what is done at once."""

    def __init__(self, title: str, total: int) -> None:
        console = messages.console()
        self._title, self._total, self._done = title, total, 0
        self._start = time.monotonic()
        self._next_line = self._start + SILENT_SECONDS
        self._lines = bool(title) and not console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=self._lines or not title,
            transient=True,
        )

    def __enter__(self) -> "_Display":
        self._bar.start()
        self._task = self._bar.add_task(self._title, total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def passing(self, results: list[Result]) -> Iterator[Result]:
        """Hands results on and counts them."""
        for result in results:
            yield result
            self._done += 1
        self._bar.update(self._task, completed=self._done)
        if self._lines and self._done < self._total and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_SECONDS
            print(f"{self._title}: {self._done:,} of {self._total:,}", file=sys.stderr, flush=True)
