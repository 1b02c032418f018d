"""What a request costs besides the models' own runs: HTTP, decoding, preprocessing, the answer's form.

    python -m tests.benchmarks.request_overhead [--requests 40] [--against OTHER_CLONE]

A request as a browser makes it (upload, call, event stream) asks `/compare` for two formats; the time inside
the runtimes is counted and taken off. Photos: a small one (640 px) and one of 12 megapixels, whose
decoding is stated apart. Gradio's Python client would add 70 ms of its own.

With --against, the page of another clone of this repository, such as an earlier commit's, is served beside
this one, and the two are asked in turns: what else the machine does meets both alike.
"""

import argparse
import functools
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from demo.comparison import Comparison  # noqa: F401 (this and some others are for `SIDE`)
from demo.server import PageServer as build  # noqa: F401
from mobilevit_core.bundle.bundle import open_bundle  # noqa: F401
from mobilevit_core.images.reading import read_photo
from mobilevit_core.inference.latency import processor
from mobilevit_core.inference.runtimes import ENGINES  # noqa: F401

HERE = Path(__file__).parents[2]
SIZES = {"640 x 427": (640, 427), "4000 x 3000": (4000, 3000)}
WEIGHTS = ["keras", "dynamic_int8"]
WARM_UP = 3
spent = 0.0

# Serves a clone's page with the clone's own copy of this module, whose names have stayed the same. A line on
# standard input asks for the seconds inside the runtimes since the last one.
SIDE = """
import sys
from pathlib import Path
from tests.benchmarks import request_overhead as side

for engine in side.ENGINES.values():
    engine.probabilities = side.counted(engine.probabilities)
page = side.build(side.Comparison(side.open_bundle(Path(sys.argv[1]))))
print(page.start(block=False), flush=True)
for _ in sys.stdin:
    print(side.spent, flush=True)
    side.spent = 0.0
page.close()
"""

Row = dict[str, list[float]]


def counted(function: Callable) -> Callable:
    """The same function, its time added to `spent`."""

    def run(runtime: object, image: np.ndarray) -> np.ndarray:
        global spent
        start = time.perf_counter()
        answer = function(runtime, image)
        spent += time.perf_counter() - start
        return answer

    return run


class Side:
    """The page of one clone, served by a process of its own.

    Args:
        process: runs `SIDE`.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.client = httpx.Client(base_url=f"{self._line()}gradio_api/", timeout=120)

    def overhead_ms(self, photo: bytes, runs: int) -> tuple[float, float]:
        """One request: milliseconds of all of it, and without the runtimes."""
        self._spent()
        start = time.perf_counter()
        classify(self.client, photo, runs)
        request = time.perf_counter() - start
        return request * 1e3, (request - self._spent()) * 1e3

    def _spent(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._line())

    def _line(self) -> str:
        assert self._process.stdout is not None
        while line := self._process.stdout.readline():
            if line.startswith("http") or line[:1].isdigit():
                return line.strip()
        raise SystemExit("A page ended before it answered.")


@contextmanager
def served(clone: Path, bundle: Path) -> Iterator[Side]:
    """A clone's page, until the end of the block."""
    with subprocess.Popen(
        [sys.executable, "-c", SIDE, str(bundle)],
        cwd=clone,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield Side(process)
        finally:
            process.terminate()


def photo(size: tuple[int, int]) -> bytes:
    """A JPEG with the detail of a photo: scikit-learn's, scaled."""
    import sklearn

    source = Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg"
    buffer = io.BytesIO()
    Image.open(source).resize(size).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


@functools.cache
def _endpoint(client: httpx.Client) -> str:
    """The function that compares formats; earlier versions of this project called it `classify`."""
    return "compare" if "/compare" in client.get("info").json()["named_endpoints"] else "classify"


def classify(client: httpx.Client, photo: bytes, runs: int) -> None:
    """One request; raises if it is not answered."""
    name = _endpoint(client)
    path = client.post("upload", files={"files": ("photo.jpg", photo)}).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, runs, WEIGHTS]
    event = client.post(f"call/{name}", json={"data": data}).json()["event_id"]
    answer = client.get(f"call/{name}/{event}").text
    assert "event: complete" in answer and all(name in answer for name in WEIGHTS), answer


def measure(sides: Mapping[str, Side], photo: bytes, requests: int, runs: int) -> dict[str, Row]:
    """Milliseconds of every request to each side, asked in turns; and of decoding the photo here."""
    rows: dict[str, Row] = {name: {"request": [], "overhead": []} for name in sides}
    rows["decoding"] = {"here": []}
    for number in range(requests + WARM_UP):
        order = list(sides) if number % 2 else list(sides)[::-1]
        for name in order:
            request, overhead = sides[name].overhead_ms(photo, runs)
            if number >= WARM_UP:
                rows[name]["request"].append(request)
                rows[name]["overhead"].append(overhead)
        start = time.perf_counter()
        read_photo(photo)
        rows["decoding"]["here"].append((time.perf_counter() - start) * 1e3)
    return rows


def describe(values: Sequence[float]) -> str:
    """Median, range and 95th percentile in a line."""
    p50, p95 = statistics.median(values), np.percentile(values, 95)
    return f"p50 {p50:7.1f}  p95 {p95:7.1f}  from {min(values):7.1f} to {max(values):7.1f}"


def compared(now: Sequence[float], before: Sequence[float]) -> str:
    """How the medians of the two sides differ, with the range of the pairs' differences."""
    pairs = np.subtract(now, before)
    low, high = np.percentile(pairs, (25, 75))
    first, second = statistics.median(now), statistics.median(before)
    return (
        f"this - other {first - second:+.1f} ms, ratio {first / second:.2f}; "
        f"of pairs: median {statistics.median(pairs):+.1f}, half of them {low:+.1f} to {high:+.1f}"
    )


def main() -> None:
    """Prints medians, 95th percentiles and ranges; with --against, the difference as well."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=40, help="of each photo to each page")
    parser.add_argument("--runs", type=int, default=20, help="of each weights' network in a request")
    parser.add_argument("--against", type=Path, metavar="CLONE", help="serve this clone's page as well")
    arguments = parser.parse_args()
    clones = {"this": HERE} | ({"other": arguments.against} if arguments.against else {})
    asked = f"{arguments.requests} requests of {arguments.runs} runs with each of {' and '.join(WEIGHTS)}"
    print(f"{processor()}, {asked}, ms\n")
    results = {}
    with ExitStack() as stack:
        sides = {
            name: stack.enter_context(served(clone, clone.resolve() / "demo" / "weights"))
            for name, clone in clones.items()
        }
        for size, pixels in SIZES.items():
            rows = measure(sides, photo(pixels), arguments.requests, arguments.runs)
            results[size] = rows
            for name, row in rows.items():
                for key, values in row.items():
                    print(f"{size:12} {name:9} {key:9} {describe(values)}")
            if "other" in rows:
                print(
                    f"{size:12} {compared(rows['this']['overhead'], rows['other']['overhead'])}\n", flush=True
                )
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
