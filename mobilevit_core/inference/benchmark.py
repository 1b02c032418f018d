"""Every weight format of a bundle measured so that the figures can be compared.

Each runtime with each number of threads lives in a process of its own, so that none shares threads, caches
of libraries or memory with another; the processes take turns, one image at a time, so that a drift of the
machine's speed meets them all alike.
"""

import multiprocessing
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path
from typing import Any

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.errors import UserError
from mobilevit_core.inference.latency import (
    TURN,
    WARMUP,
    Latency,
    Timed,
    processor,
    random_image,
    take_turns,
    timed,
)
from mobilevit_core.inference.runtimes import MOST_THREADS, default_threads, load_runtime

PROTOCOL = (
    "a process for each; {runs} calls of each in turns of {turn}, {warmup} untimed ones before; batch 1; "
    "load time: import of the engine, opening, first answer; memory: of the whole process at its peak"
)
VERSIONS_OF = ("tensorflow", "keras", "ai-edge-litert", "numpy")


_run: Timed  # in a process of the benchmark: answers one image so many times


def _load(folder: str, name: str, threads: int) -> dict[str, Any]:
    """What it does first; its engine, and load_ms: import of the engine, opening, first answer."""
    global _run
    bundle = open_bundle(folder)
    image = random_image(bundle.manifest.rule.image_size)
    start = time.perf_counter()
    runtime = load_runtime(bundle, name, threads)
    load_ms = (time.perf_counter() - start) * 1e3
    _run = timed(partial(runtime.probabilities, image))
    return {"engine": runtime.describe()["engine"], "load_ms": round(load_ms, 1)}


def _run_there(calls: int) -> list[float]:
    return _run(calls)


def _asked(pool: ProcessPoolExecutor, function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function gives in the pool's one process."""
    try:
        return pool.submit(function, *arguments).result()
    except BrokenProcessPool:
        raise UserError("A process of the benchmark ended early; is there enough memory?") from None


def _peak_memory_mb() -> float | None:
    """The most memory that this process ever held, in MB; None where the system does not tell."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: the resource module would count the parent's memory, too
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(lines["VmHWM"].split()[0]) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _versions() -> dict[str, str]:
    """Of what is installed: a bundle of .tflite files runs without TensorFlow."""
    versions = {}
    for package in VERSIONS_OF:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions


def benchmark_bundle(bundle: Bundle, runs: int = 50, threads: Sequence[int] = (1, 2)) -> dict[str, Any]:
    """Latency, load time and memory of every weight format that the bundle has.

    Args:
        bundle: an opened bundle.
        runs: timed runs of each.
        threads: numbers of threads to measure with; load time and memory are those of the first.

    Returns:
        Protocol and figures, ready for JSON; "formats" has a row for every format.

    Raises:
        UserError: a format can't be loaded, or so many threads are not possible.
    """
    for number in threads:
        if not 1 <= number <= MOST_THREADS:
            raise UserError(f"{number} threads are not possible: give 1 to {MOST_THREADS}.")
    spawn, facts = multiprocessing.get_context("spawn"), {}
    with ExitStack() as stack:
        pools = {}
        for key in product(bundle.present, threads):
            pools[key] = stack.enter_context(ProcessPoolExecutor(1, spawn))
            facts[key] = _asked(pools[key], _load, str(bundle.folder), *key)
        times = take_turns({key: partial(_asked, pool, _run_there) for key, pool in pools.items()}, runs)
        memory = {key: _asked(pool, _peak_memory_mb) for key, pool in pools.items()}
    return {
        "processor": f"{processor()}, {default_threads()} of its processors",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": _versions(),
        "protocol": PROTOCOL.format(warmup=WARMUP, runs=runs, turn=TURN),
        "image_size": bundle.manifest.rule.image_size,
        "threads": list(threads),
        "formats": {
            name: {
                "engine": facts[name, threads[0]]["engine"],
                "size_bytes": bundle.size_bytes(name),
                "load_ms": facts[name, threads[0]]["load_ms"],
                "peak_memory_mb": memory[name, threads[0]],
                "latency_ms": {
                    str(number): Latency.of(times[name, number], number).to_json() for number in threads
                },
            }
            for name in bundle.present
        },
    }
