"""Latency of several runtimes, measured so that they can be compared: warmed up and interleaved."""

import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_core.bundle import Bundle
from mobilevit_core.runtimes import Runtime, load_runtime

WARMUP = 3


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one runtime.

    Attributes:
        p50: median.
        p95: 95th percentile.
        runs: how many were timed.
        threads: that the runtime used.
    """

    p50: float
    p95: float
    runs: int
    threads: int

    def to_json(self) -> dict[str, Any]:
        """The figures, milliseconds with three decimals."""
        return {**asdict(self), "p50": round(self.p50, 3), "p95": round(self.p95, 3)}


def measure(
    functions: Mapping[str, Callable[[], Any]], threads: Mapping[str, int], runs: int, warmup: int = WARMUP
) -> dict[str, Latency]:
    """Times functions in turn, A B A B ..., so that a drift of the machine's speed meets them all alike.

    Args:
        functions: name -> what to time.
        threads: name -> threads that it uses, for the record.
        runs: timed calls of each.
        warmup: calls of each before.

    Returns:
        name -> latency.
    """
    for function in functions.values():
        for _ in range(warmup):
            function()
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(runs):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {
        name: Latency(float(np.median(ms)), float(np.percentile(ms, 95)), runs, threads[name])
        for name, ms in times.items()
    }


def measure_runtimes(runtimes: Mapping[str, Runtime], image: np.ndarray, runs: int) -> dict[str, Latency]:
    """`measure` for runtimes on one input tensor, float32 (size, size, 3)."""
    return measure(
        {name: partial(runtime.probabilities, image) for name, runtime in runtimes.items()},
        {name: runtime.describe()["threads"] for name, runtime in runtimes.items()},
        runs,
    )


def benchmark_bundle(bundle: Bundle, runs: int, threads: int | None = None) -> dict[str, Any]:
    """Latency of every weight format that the bundle has, in one run.

    Args:
        bundle: an opened bundle.
        runs: timed runs of each.
        threads: of each runtime; default: the processors of this process, at most 4.

    Returns:
        Protocol and figures, ready for JSON.
    """
    size = bundle.contract.rule.image_size
    image = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.float32)
    runtimes = {name: load_runtime(bundle, name, threads) for name in bundle.present}
    latencies = measure_runtimes(runtimes, image, runs)
    return {
        "processor": processor(),
        "python": platform.python_version(),
        "protocol": f"{WARMUP} warm-up calls of each, then {runs} calls of each in turn, batch 1",
        "image_size": size,
        "runtimes": {
            name: {
                "engine": runtime.describe()["engine"],
                "latency_ms": latencies[name].to_json(),
                "size_bytes": bundle.size_bytes(name),
            }
            for name, runtime in runtimes.items()
        },
    }


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
