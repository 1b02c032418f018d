"""What a request costs besides the models' own runs: HTTP, decoding, preprocessing, the answer's form.

    python -m tests.benchmarks.request_overhead [--requests 40]

A request as a browser makes it (upload, call, event stream) asks `/compare` for two formats; the time inside
the runtimes is counted and taken off. Photographs: a small one (640 px) and one of 12 megapixels, whose
decoding is stated apart. Gradio's Python client would add 70 ms of its own.
"""

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from demo.comparison import Comparison
from demo.interface import LAUNCH, build
from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.images.reading import read_photo
from mobilevit_core.inference.latency import processor
from mobilevit_core.inference.runtimes import ENGINES

SIZES = {"640 x 427": (640, 427), "4000 x 3000": (4000, 3000)}
WEIGHTS = ["keras", "dynamic_int8"]
spent = 0.0


def counted(function: Callable) -> Callable:
    """The same function, its time added to `spent`."""

    def run(runtime: object, image: np.ndarray) -> np.ndarray:
        global spent
        start = time.perf_counter()
        answer = function(runtime, image)
        spent += time.perf_counter() - start
        return answer

    return run


def photograph(size: tuple[int, int]) -> bytes:
    """A JPEG with the detail of a photograph: scikit-learn's, scaled."""
    import sklearn

    source = Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg"
    buffer = io.BytesIO()
    Image.open(source).resize(size).save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def classify(client: httpx.Client, photo: bytes) -> None:
    """One request; raises if it is not answered."""
    path = client.post("upload", files={"files": ("photo.jpg", photo)}).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, 20, WEIGHTS]
    event = client.post("call/compare", json={"data": data}).json()["event_id"]
    answer = client.get(f"call/compare/{event}").text
    assert "event: complete" in answer and all(name in answer for name in WEIGHTS), answer


def measure(client: httpx.Client, photo: bytes, requests: int) -> dict[str, list[float]]:
    """Milliseconds of every request: all of it, and without the runtimes."""
    global spent
    rows: dict[str, list[float]] = {"request": [], "overhead": [], "decoding": []}
    for number in range(requests + 3):
        spent, start = 0.0, time.perf_counter()
        classify(client, photo)
        request = time.perf_counter() - start
        start = time.perf_counter()
        read_photo(photo)
        if number >= 3:
            rows["request"].append(request * 1e3)
            rows["overhead"].append((request - spent) * 1e3)
            rows["decoding"].append((time.perf_counter() - start) * 1e3)
    return rows


def main() -> None:
    """Prints medians and 95th percentiles."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=40)
    arguments = parser.parse_args()
    for engine in ENGINES.values():
        engine.probabilities = counted(engine.probabilities)
    comparison = Comparison(open_bundle(Path(__file__).parents[2] / "demo" / "weights"))
    page = build(comparison)
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **LAUNCH)
    client = httpx.Client(base_url=f"{url}gradio_api/", timeout=60)
    print(
        f"{processor()}, {arguments.requests} requests of 20 runs with each of {' and '.join(WEIGHTS)}, ms\n"
    )
    results = {}
    for name, size in SIZES.items():
        results[name] = measure(client, photograph(size), arguments.requests)
        for key, values in results[name].items():
            p50, p95 = statistics.median(values), np.percentile(values, 95)
            print(f"{name:12} {key:10} p50 {p50:7.1f}  p95 {p95:7.1f}")
    print("\n" + json.dumps(results))
    client.close()
    page.close()


if __name__ == "__main__":
    main()
