"""The whole corpus against a page that runs: `python -m tests.hostile.run [--bundle FOLDER] [--only WORD]`.

Each file goes to `/classify` and `/explain`, then a sound photograph, whose answer must be right. Meanwhile
another visitor asks again and again. Prints a table; the exit code is 1 if a limit is exceeded.
"""

import argparse
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from mobilevit_core.inference.classifier import Classifier, load_classifier
from tests.hostile.corpus import ANSWERED, REFUSED, Entry, corpus, good

ROOT = Path(__file__).parents[2]
WEIGHTS = "float32"
TOLERANCE = 1e-3  # of a probability, between two processes' threads
MOST_SECONDS = 10.0  # for one file
MOST_GROWTH = 1.5e9  # bytes above idle, server and workers together
MOST_DELAY = 2.0  # seconds that a neighbour may cost another visitor
STARTING_SECONDS = 180
ALONE = 20  # requests of the other visitor before the corpus


class Page:
    """The page's functions as this script calls them; each returns an answer or the page's message."""

    def __init__(self, url: str) -> None:
        self._client = Client(url, verbose=False, download_files=False)

    def classify(self, path: Path) -> dict[str, Any] | str:
        """Class names and scores of one photograph."""
        try:
            answer = self._client.predict(handle_file(path), WEIGHTS, api_name="/classify")
        except AppError as error:
            return str(error)
        return {row["label"]: row["score"] for row in answer["predictions"]}

    def explain(self, path: Path) -> tuple[Any, ...] | str:
        """The picture with its map, and the class."""
        try:
            return self._client.predict(handle_file(path), api_name="/explain")
        except AppError as error:
            return str(error)


@dataclass
class Tally:
    """What came of the corpus."""

    answered: int = 0
    refused: int = 0
    unclear: list[str] = field(default_factory=list)
    longest: tuple[float, str] = (0.0, "")
    good_wrong: int = 0


@contextmanager
def served(bundle: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Starts the page on a free port of this machine; yields its address and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--bundle", str(bundle), "--port", str(port), "--no-mcp"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(30)


def _wait(url: str) -> None:
    end = time.monotonic() + STARTING_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except (urllib.error.URLError, TimeoutError):
            if time.monotonic() > end:
                raise
            time.sleep(0.5)


def resident(process: psutil.Process) -> int:
    """Memory of a process and all below it, bytes."""
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


class Watch:
    """Two onlookers: one of the server's memory, one that asks as another visitor."""

    def __init__(self, url: str, process: psutil.Process, photo: Path) -> None:
        self.peak, self.slowest = 0, 0.0
        self._process, self._photo, self._page = process, photo, Page(url)
        self._end = threading.Event()
        self.alone = max(self._asked() for _ in range(ALONE))

    def __enter__(self) -> "Watch":
        self._threads = [threading.Thread(target=work) for work in (self._measure, self._ask)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _measure(self) -> None:
        while not self._end.wait(0.1):
            self.peak = max(self.peak, resident(self._process))

    def _ask(self) -> None:
        while not self._end.wait(0.3):
            self.slowest = max(self.slowest, self._asked())

    def _asked(self) -> float:
        start = time.perf_counter()
        answer = self._page.classify(self._photo)
        assert isinstance(answer, dict), answer
        return time.perf_counter() - start


def is_clear(message: str) -> bool:
    """One short sentence without paths."""
    return (
        10 < len(message) < 400 and "\n" not in message and "Traceback" not in message and "/" not in message
    )


def is_right(answer: dict[str, Any], photo: np.ndarray, classifier: Classifier) -> bool:
    """Whether the page's scores are those of the package for the same pixels."""
    expected = dict(classifier.predict(photo).top())
    return all(abs(score - expected.get(label, -1)) < TOLERANCE for label, score in answer.items())


def try_entry(page: Page, path: Path, entry: Entry, classifier: Classifier, tally: Tally) -> None:
    """One file through both functions."""
    for call in (page.classify, page.explain):
        start = time.perf_counter()
        result = call(path)
        tally.longest = max(tally.longest, (time.perf_counter() - start, entry.name))
        if isinstance(result, str):
            clear = is_clear(result) and entry.outcome != ANSWERED
        else:
            known = isinstance(result, dict) and entry.pixels is not None
            clear = entry.outcome != REFUSED and (not known or is_right(result, entry.pixels, classifier))
        if not clear:
            tally.unclear.append(f"{call.__name__} {ascii(entry.name)}: {ascii(result)[:200]}")
        elif isinstance(result, str):
            tally.refused += 1
        else:
            tally.answered += 1


def written(folder: Path, entry: Entry) -> Path:
    """The entry's file, under its own name where the file system and HTTP can carry that."""
    try:
        entry.name.encode()
        path = folder / entry.name
        path.write_bytes(entry.content)
    except (OSError, UnicodeEncodeError):
        path = folder / "unwritable-name.jpg"
        path.write_bytes(entry.content)
    return path


def try_all(url: str, entries: list[Entry], classifier: Classifier, folder: Path) -> Tally:
    """The whole corpus, and a sound photograph after each file."""
    page, tally = Page(url), Tally()
    sound = folder / "sound.jpg"
    expected = page.classify(sound)
    for entry in entries:
        path = written(folder, entry)
        try_entry(page, path, entry, classifier, tally)
        path.unlink()
        tally.good_wrong += page.classify(sound) != expected
    return tally


def report(tally: Tally, files: int, growth: float, watch: Watch) -> bool:
    """Prints the table; returns whether all limits are kept."""
    rows = [
        ("files", f"{files}, each to /classify and /explain", files > 0),
        ("answered right", f"{tally.answered}", tally.answered > 0),
        ("refused in one sentence", f"{tally.refused}", True),
        ("unclear", f"{len(tally.unclear)}", not tally.unclear),
        ("sound photograph afterwards", f"{tally.good_wrong} wrong", not tally.good_wrong),
        ("longest", f"{tally.longest[0]:.1f} s, {ascii(tally.longest[1])}", tally.longest[0] <= MOST_SECONDS),
        ("peak memory above idle", f"{growth / 1e9:.2f} GB", growth <= MOST_GROWTH),
        (
            "another visitor's slowest request",
            f"{watch.slowest:.2f} s, alone {watch.alone:.2f} s",
            watch.slowest - watch.alone <= MOST_DELAY,
        ),
    ]
    for line in tally.unclear:
        print("unclear:", line)
    for name, value, kept in rows:
        print(f"{name:36} {value}{'' if kept else '   <- over the limit'}")
    return all(kept for _, _, kept in rows)


def main() -> int:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description="The corpus of hostile files against the running page.")
    parser.add_argument("--bundle", type=Path, default=ROOT / "demo" / "weights")
    parser.add_argument("--only", default="", help="only files whose name contains this")
    arguments = parser.parse_args()
    entries = [entry for entry in corpus() if arguments.only in entry.name]
    classifier = load_classifier(arguments.bundle, WEIGHTS)
    with tempfile.TemporaryDirectory() as name, served(arguments.bundle) as (url, process):
        folder = Path(name)
        (folder / "sound.jpg").write_bytes(good("JPEG"))
        Page(url).explain(folder / "sound.jpg")  # all weights are loaded from here on
        watch = Watch(url, process, folder / "sound.jpg")
        idle = resident(process)
        with watch:
            tally = try_all(url, entries, classifier, folder)
        kept = report(tally, len(entries), watch.peak - idle, watch)
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
