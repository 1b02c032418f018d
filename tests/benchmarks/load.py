"""Many visitors at once: is every answer right, how long do they wait, does the server's memory stay flat?

    python -m tests.benchmarks.load [--clients 32] [--minutes 10] [--keep-uploads 120]

Starts app.py on this machine alone. Every client has photos of its own whose answers are known
beforehand (tf_flowers' test split where it is prepared, else drawn ones), uploads one after the other, and
compares. A client that finds the queue full tries again, as the answer tells it to. Memory is read
from /proc, so this needs Linux.
"""

import argparse
import io
import json
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from mobilevit_core import load_classifier
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.inference.latency import processor
from tests.drawing import COLORS, draw_photo

APP = Path(__file__).parents[2] / "app.py"
WEIGHTS = "float32"
PER_CLIENT = 4
TOLERANCE = 1e-4  # of a probability: the server runs with another number of threads
SAMPLE_SECONDS = 10
MOST_CLIENTS, MOST_MINUTES = 64, 60
SLACK_SECONDS = 90  # the server looks for old uploads once a minute

Photo = tuple[bytes, list[tuple[str, float]]]


@dataclass
class Tally:
    """What the clients saw.

    Attributes:
        seconds: of every right answer, from upload to answer with all waiting.
        wrong: answers that belong to no or another photo.
        errors: anything else, with its text.
        retries: times that a client found the queue full.
    """

    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    retries: int = 0


def drawn_photos(bundle: str, number: int) -> list[Photo]:
    """Encoded photos, no two alike, and the best five answers for each."""
    import tensorflow_datasets as tfds

    if (Path(tfds.builder("tf_flowers").data_dir) / "dataset_info.json").exists():
        sources = [photo.source for photo in load_dataset("tf_flowers").split("test")][:number]
    else:
        sources = [_drawn(seed) for seed in range(number)]
    classifier = load_classifier(bundle, WEIGHTS)
    return [(source, classifier.predict(source).top()) for source in sources]


def _drawn(seed: int) -> bytes:
    buffer = io.BytesIO()
    draw_photo(list(COLORS.values())[seed % 3], seed, (640, 480)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


@contextmanager
def server(bundle: str, keep_uploads: int) -> Iterator[tuple[str, int]]:
    """app.py on a free port of this machine: its address and its process."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(APP), "--port", str(port), "--bundle", bundle]
    process = subprocess.Popen([*command, "--keep-uploads", str(keep_uploads)], stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}/"
        while not _answers(url):
            if process.poll() is not None:
                raise SystemExit("app.py ended before it answered.")
            time.sleep(0.2)
        yield url, process.pid
    finally:
        process.terminate()
        process.wait(timeout=30)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def visit(url: str, photos: Sequence[Photo], stop: threading.Event, tally: Tally, seed: int) -> None:
    """One client: its photos in turn until it is told to stop."""
    chance = random.Random(seed)
    with httpx.Client(base_url=f"{url}gradio_api/", timeout=120) as client:
        while not stop.is_set():
            photo, expected = chance.choice(photos)
            start = time.perf_counter()
            try:
                answer = _classified(client, photo, tally, stop, chance)
            except (httpx.HTTPError, KeyError, ValueError, RuntimeError) as error:
                tally.errors.append(f"{type(error).__name__}: {error}")
                continue
            if answer is None:
                return
            if _same(answer, expected):
                tally.seconds.append(time.perf_counter() - start)
            else:
                tally.wrong.append(f"expected {expected}, got {answer}")


def _classified(
    client: httpx.Client, photo: bytes, tally: Tally, stop: threading.Event, chance: random.Random
) -> list[tuple[str, float]] | None:
    """The best five answers; None if the run ended while the client waited for a place."""
    sent = client.post("upload", files={"files": ("photo.jpg", photo)}).raise_for_status()
    path = sent.json()[0]

    body = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}, WEIGHTS]}
    while (joined := client.post("call/classify", json=body)).status_code == 503:
        tally.retries += 1
        if stop.is_set():
            return None
        time.sleep(chance.uniform(0.5, 1.5))
    event = joined.raise_for_status().json()["event_id"]
    kind, data = client.get(f"call/classify/{event}").text.strip().split("\n\n")[-1].split("\n")
    if kind != "event: complete":
        raise RuntimeError(data)
    rows = json.loads(data.removeprefix("data: "))[0]["predictions"]
    return [(row["label"], row["score"]) for row in rows]


def _same(answer: Sequence[tuple[str, float]], expected: Sequence[tuple[str, float]]) -> bool:
    """The same probability for every class; classes that are equally probable may change places."""
    scores = dict(answer)
    return set(scores) == {label for label, _ in expected} and all(
        abs(scores[label] - score) < TOLERANCE for label, score in expected
    )


def memory_mb(pid: int) -> float:
    """Resident memory of a process and all that it started, in MB."""
    total = 0.0
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        total = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1e3
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        children = {child for task in tasks for child in (task / "children").read_text().split()}
    except (OSError, StopIteration):  # it ended meanwhile
        return total
    return total + sum(memory_mb(int(child)) for child in children)


def run(
    url: str, pid: int, photos: Sequence[Photo], clients: int, seconds: float
) -> tuple[Tally, list[float]]:
    """Lets the clients run for a time; returns what they saw and the memory every ten seconds, in MB."""
    tally, stop, memory = Tally(), threading.Event(), []
    shares = [photos[number::clients] for number in range(clients)]
    threads = [
        threading.Thread(target=visit, args=(url, share, stop, tally, seed), daemon=True)
        for seed, share in enumerate(shares)
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(SAMPLE_SECONDS, left))
        memory.append(memory_mb(pid))
        print(f"{len(tally.seconds):6} answers, {memory[-1]:6.0f} MB", file=sys.stderr)
    stop.set()
    for thread in threads:
        thread.join(timeout=130)
    return tally, memory


def uploads_left(folder: Path, before: set[Path], seconds: float) -> int:
    """How many of the clients' files are still there after a time at most."""
    end = time.monotonic() + seconds
    while (left := _files(folder) - before) and time.monotonic() < end:
        time.sleep(1)
    return len(left)


def _files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


def report(tally: Tally, memory: Sequence[float], left: int) -> dict[str, object]:
    """The run's figures."""
    p50, p95, p99 = np.percentile(tally.seconds, (50, 95, 99)).tolist()
    minute = 60 // SAMPLE_SECONDS
    warm = memory[min(minute, len(memory) // 3) :]
    first, last = statistics.median(warm[:minute]), statistics.median(warm[-minute:])
    return {
        "answers": len(tally.seconds),
        "wrong": len(tally.wrong),
        "errors": len(tally.errors),
        "seconds": {"p50": round(p50, 2), "p95": round(p95, 2), "p99": round(p99, 2)},
        "queue_full": tally.retries,
        "memory_mb": {"first_minute": round(first), "last_minute": round(last), "peak": round(max(memory))},
        "memory_growth": round(last / first - 1, 4),
        "uploads_left": left,
        "examples": (tally.wrong + tally.errors)[:3],
    }


def main() -> int:
    """Prints the figures; exit code 1 if an answer was wrong, failed, or an upload stayed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=32, help=f"at most {MOST_CLIENTS}")
    parser.add_argument("--minutes", type=float, default=10, help=f"at most {MOST_MINUTES}")
    parser.add_argument(
        "--keep-uploads", type=int, default=120, help="seconds; app.py's own default is an hour"
    )
    parser.add_argument("--bundle", default=str(APP.parent / "demo" / "weights"))
    arguments = parser.parse_args()
    clients = min(arguments.clients, MOST_CLIENTS)
    seconds = 60 * min(arguments.minutes, MOST_MINUTES)
    photos = drawn_photos(arguments.bundle, clients * PER_CLIENT)
    with server(arguments.bundle, arguments.keep_uploads) as (url, pid):
        sent = httpx.post(f"{url}gradio_api/upload", files={"files": ("first.txt", b"first")}).json()[0]
        before = _files(Path(sent).parent.parent) - {Path(sent)}
        tally, memory = run(url, pid, photos, clients, seconds)
        left = uploads_left(Path(sent).parent.parent, before, arguments.keep_uploads + SLACK_SECONDS)
    figures = report(tally, memory, left)
    print(f"{processor()}, {clients} clients, {seconds / 60:g} minutes")
    print(json.dumps(figures, indent=2))
    return 1 if tally.wrong or tally.errors or left else 0


if __name__ == "__main__":
    sys.exit(main())
