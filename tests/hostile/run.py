"""What strangers send, against a page that runs and against the command line: `python -m tests.hostile.run`.

`--part files`: each file of the corpus goes to `/classify` and `/explain`, then a sound photo, whose
answer must be right; meanwhile another visitor asks again and again. `--part requests`: odd values in calls.
`--part artefacts`: bundles, zip files and names. Each of both must be refused. `--part traffic`: visitors
alone, beside all attackers of `tests.hostile.traffic`, and afterwards. Prints a table each; the exit code is
1 if a limit is exceeded.
"""

import argparse
import os
import socket
import statistics
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

import httpx
import numpy as np
import psutil
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from mobilevit_core.inference.classifier import Classifier, load_classifier
from tests.hostile.artefacts import MOST_CHARACTERS, attempts, outcome
from tests.hostile.corpus import ANSWERED, REFUSED, Entry, corpus, good
from tests.hostile.requests import ODD
from tests.hostile.traffic import ATTACKS, JSON, PATIENCE, Attackers

ROOT = Path(__file__).parents[2]
PARTS = ("files", "requests", "artefacts", "traffic")
WEIGHTS = "float32"
TOLERANCE = 1e-3  # of a probability, between two processes' threads
MOST_SECONDS = 10.0  # for one file
MOST_GROWTH = 1.5e9  # bytes above idle, server and workers together
MOST_DELAY = 2.0  # seconds that a neighbour may cost another visitor
STARTING_SECONDS = 180
ALONE = 20  # requests of the other visitor before the corpus
MOST_SLOWEST = 6.0  # seconds, of a visitor beside them
RECOVERY_SECONDS = 60  # after which all is as it was


class Page:
    """The page's functions as this script calls them; each returns an answer or the page's message."""

    def __init__(self, url: str) -> None:
        self._client = Client(url, verbose=False, download_files=False)

    def classify(self, path: Path) -> dict[str, Any] | str:
        """Class names and scores of one photo."""
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
def served(bundle: Path, *options: str) -> Iterator[tuple[str, psutil.Process]]:
    """Starts the page on a free port of this machine, with options; yields its address and process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "app.py", "--bundle", str(bundle), "--port", str(port), *options]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(url)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(STARTING_SECONDS)  # for TensorFlow, if it is just being imported


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
    """The whole corpus, and a sound photo after each file."""
    page, tally = Page(url), Tally()
    sound = folder / "sound.jpg"
    expected = page.classify(sound)
    for entry in entries:
        path = written(folder, entry)
        try_entry(page, path, entry, classifier, tally)
        path.unlink()
        tally.good_wrong += page.classify(sound) != expected
    return tally


Row = tuple[str, str, bool]


def printed(rows: list[Row]) -> bool:
    """Prints a table of names, values, and whether each is within its limit; returns whether all are."""
    for name, value, kept in rows:
        print(f"{name:36} {value}{'' if kept else '   <- over the limit'}", flush=True)
    return all(kept for _, _, kept in rows)


def report(tally: Tally, files: int, growth: float, watch: Watch) -> bool:
    """Prints the table of the corpus; returns whether all limits are kept."""
    for line in tally.unclear:
        print("unclear:", line)
    return printed(
        [
            ("files", f"{files}, each to /classify and /explain", files > 0),
            ("answered right", f"{tally.answered}", tally.answered > 0),
            ("refused in one sentence", f"{tally.refused}", True),
            ("unclear", f"{len(tally.unclear)}", not tally.unclear),
            ("sound photo afterwards", f"{tally.good_wrong} wrong", not tally.good_wrong),
            (
                "longest",
                f"{tally.longest[0]:.1f} s, {ascii(tally.longest[1])}",
                tally.longest[0] <= MOST_SECONDS,
            ),
            ("peak memory above idle", f"{growth / 1e9:.2f} GB", growth <= MOST_GROWTH),
            (
                "another visitor's slowest request",
                f"{watch.slowest:.2f} s, alone {watch.alone:.2f} s",
                watch.slowest - watch.alone <= MOST_DELAY,
            ),
        ]
    )


def try_artefacts(bundle: Path) -> bool:
    """What the command line must refuse; prints the table."""
    wrong, longest, count = [], (0.0, ""), 0
    for attempt in attempts():
        with tempfile.TemporaryDirectory() as name:
            os.environ["MOBILEVIT_CACHE"] = f"{name}/cache"
            start = time.perf_counter()
            found = outcome(attempt, Path(name), bundle)
            longest = max(longest, (time.perf_counter() - start, attempt.name))
        count += 1
        wrong += [f"{attempt.name}: {found}"] if found else []
    for line in wrong:
        print("wrong:", line)
    return printed(
        [
            ("artefacts", f"{count}, {count - len(wrong)} refused in one sentence", not wrong),
            ("longest, with its making", f"{longest[0]:.1f} s, {longest[1]}", True),
        ]
    )


def try_requests(bundle: Path) -> bool:
    """What makes no sense, and then a sound request; prints the table."""
    wrong = []
    with served(bundle) as (url, _), httpx.Client(base_url=url, headers=JSON, timeout=30) as client:
        for place, body in ODD:
            answer = client.post(f"gradio_api/{place}", content=body)
            if answer.status_code not in (404, 413, 422) or len(answer.text) > MOST_CHARACTERS:
                wrong.append(f"{place} {ascii(body[:80])}: {answer.status_code} {ascii(answer.text[:200])}")
        goes_on = client.get("config").status_code == 200
    for line in wrong:
        print("wrong:", line)
    return printed(
        [
            ("requests", f"{len(ODD)}, {len(ODD) - len(wrong)} refused in one sentence", not wrong),
            ("a sound one afterwards", "answered" if goes_on else "not answered", goes_on),
        ]
    )


def asked(client: httpx.Client, photo: Path) -> str:
    """Uploads a photo and asks for its classes, with as little work on this side as can be.

    Many of gradio_client's clients in one process keep a core busy by themselves, and would measure that.

    Returns:
        What was told in place of an answer; empty for an answer.
    """
    files = {"files": (photo.name, photo.read_bytes(), "image/jpeg")}
    uploaded = client.post("gradio_api/upload", files=files).raise_for_status().json()
    data = {"path": uploaded[0], "meta": {"_type": "gradio.FileData"}}
    call = client.post("gradio_api/call/classify", json={"data": [data, WEIGHTS]}).raise_for_status().json()
    told = client.get(f"gradio_api/call/classify/{call['event_id']}").raise_for_status().text
    return "" if "event: complete" in told and "predictions" in told else told


class Visitors:
    """Several visitors that upload and ask again and again, until the end of the block.

    Attributes:
        seconds: of each answer.
        refused: what was told in place of an answer.
        peak: largest memory of the server, bytes.
    """

    def __init__(self, url: str, photo: Path, process: psutil.Process, count: int) -> None:
        self.seconds: list[float] = []
        self.refused: list[str] = []
        self.peak = 0
        self._url, self._photo, self._process, self._end = url, photo, process, threading.Event()
        self._count = count

    def __enter__(self) -> "Visitors":
        self._threads = [threading.Thread(target=self._ask) for _ in range(self._count)]
        self._threads.append(threading.Thread(target=self._measure))
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _measure(self) -> None:
        while not self._end.wait(0.2):
            self.peak = max(self.peak, resident(self._process))

    def _ask(self) -> None:
        with httpx.Client(base_url=self._url, timeout=PATIENCE) as client:
            while not self._end.wait(0.2):
                start = time.perf_counter()
                try:
                    answer = asked(client, self._photo)
                except (httpx.HTTPError, ValueError, KeyError) as error:
                    answer = f"{type(error).__name__}: {error}"
                self.seconds.append(time.perf_counter() - start)
                self.refused += [answer] if answer else []

    def told(self) -> str:
        """Their figures in a few words."""
        middle = statistics.median(self.seconds)
        return (
            f"{len(self.seconds)} answers, median {middle:.2f} s, slowest {max(self.seconds):.2f} s, "
            f"{len(self.refused)} refused, {self.peak / 1e9:.2f} GB"
        )


def try_traffic(bundle: Path, photo: Path, seconds: float, visitors: int) -> bool:
    """Visitors alone, beside the attackers, and afterwards; prints the table."""
    with served(bundle) as (url, process):
        Page(url).classify(photo)
        with Visitors(url, photo, process, visitors) as alone:
            time.sleep(seconds)
        with Attackers(url), Visitors(url, photo, process, visitors) as beside:
            time.sleep(seconds)
        time.sleep(RECOVERY_SECONDS)
        with Visitors(url, photo, process, visitors) as after:
            time.sleep(min(seconds, 15))
    for line in sorted({ascii(line)[:200] for each in (alone, beside, after) for line in each.refused}):
        print("refused:", line)
    growth = beside.peak - alone.peak
    recovered = max(after.seconds) <= max(alone.seconds) + MOST_DELAY and not after.refused
    return printed(
        [
            ("attackers", f"{len(ATTACKS)}: {', '.join(ATTACKS)}", True),
            ("visitors alone", alone.told(), not alone.refused),
            (
                "beside the attackers",
                beside.told(),
                not beside.refused and max(beside.seconds) <= MOST_SLOWEST,
            ),
            ("memory above that without them", f"{growth / 1e9:.2f} GB", growth <= MOST_GROWTH),
            (f"{RECOVERY_SECONDS} seconds afterwards", after.told(), recovered),
        ]
    )


def try_files(bundle: Path, only: str, folder: Path) -> bool:
    """The corpus; prints the table."""
    entries = [entry for entry in corpus() if only in entry.name]
    classifier = load_classifier(bundle, WEIGHTS)
    with served(bundle, "--no-mcp") as (url, process):
        Page(url).explain(folder / "sound.jpg")  # all weights are loaded from here on
        watch = Watch(url, process, folder / "sound.jpg")
        idle = resident(process)
        with watch:
            tally = try_all(url, entries, classifier, folder)
        return report(tally, len(entries), watch.peak - idle, watch)


def main() -> int:
    """Runs from the command line."""
    parser = argparse.ArgumentParser(description="What strangers send, against the page and the commands.")
    parser.add_argument("--bundle", type=Path, default=ROOT / "demo" / "weights")
    parser.add_argument("--part", choices=PARTS, help="default: all of them")
    parser.add_argument("--only", default="", help="files: those whose name contains this")
    parser.add_argument("--seconds", type=float, default=60, help="traffic: alone, and beside attackers")
    parser.add_argument("--visitors", type=int, default=4, help="traffic: how many (default: 4)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "sound.jpg").write_bytes(good("JPEG"))
        tries = {
            "files": lambda: try_files(arguments.bundle, arguments.only, folder),
            "requests": lambda: try_requests(arguments.bundle),
            "artefacts": lambda: try_artefacts(arguments.bundle),
            "traffic": lambda: try_traffic(
                arguments.bundle, folder / "sound.jpg", arguments.seconds, arguments.visitors
            ),
        }
        kept = [tries[part]() for part in PARTS if arguments.part in (None, part)]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    raise SystemExit(main())
