"""From `python app.py` to the first TFLite answer and to the first Keras answer, and the memory after each.

Through the page's API. Memory: resident, of the server and all that it started, read when the page is
there, before Keras is loaded, and `SETTLED` seconds after each answer.

python -m tests.benchmarks.startup [--times 5] [--bundle demo/weights]
"""

import argparse
import json
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradio_client import Client, handle_file

from tests.benchmarks.load import memory_mb

APP = Path(__file__).parents[2] / "app.py"
SIDES = {"first TFLite answer": "float32", "first Keras answer": "keras"}
SETTLED = 5  # seconds


@contextmanager
def running(*options: str, app: Path = APP) -> Iterator[tuple[int, str, float]]:
    """app.py as a process of its own, once it sends its page: process, address, seconds that this took."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start = time.perf_counter()
    command = [sys.executable, str(app), "--port", str(port), *options]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _answers(url):
            time.sleep(0.02)
        yield server.pid, url, time.perf_counter() - start
    finally:
        server.kill()
        server.wait()


def measure(bundle: str, photo: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Seconds from the start, without the pauses for memory, and memory in MB, for one server."""
    with running("--bundle", bundle) as (process, url, page):
        start = time.perf_counter() - page
        seconds, paused = {"page": page}, 0.0
        memory = {"page": memory_mb(process)}
        client = Client(url, verbose=False)
        for side, name in SIDES.items():
            answer = client.predict(handle_file(photo), name, api_name="/classify")
            assert answer["format"] == name
            seconds[side] = time.perf_counter() - start - paused
            time.sleep(SETTLED)
            paused += SETTLED
            memory[side] = memory_mb(process)
        client.close()
        return seconds, memory


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url) as response:
            return response.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def main() -> None:
    """Prints every measurement and the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--bundle", default=str(APP.parent / "demo" / "weights"))
    arguments = parser.parse_args()
    import sklearn

    photo = Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg"
    measured = [measure(arguments.bundle, photo) for _ in range(arguments.times)]
    for number, unit in enumerate(("s", "MB")):
        for side in measured[0][number]:
            values = [row[number][side] for row in measured]
            rounded = ", ".join(f"{value:.1f}" for value in values)
            print(f"{side:20} median {statistics.median(values):.1f} {unit} ({rounded})")
    print(json.dumps(measured))


if __name__ == "__main__":
    main()
