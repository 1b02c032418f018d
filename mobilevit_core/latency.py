"""Latency of several runtimes, measured so that they can be compared: warmed up and interleaved."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_core.runtimes import Runtime

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

    @classmethod
    def of(cls, milliseconds: Sequence[float], threads: int) -> "Latency":
        """From the times of single runs."""
        p50, p95 = np.percentile(milliseconds, [50, 95])
        return cls(float(p50), float(p95), len(milliseconds), threads)


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
    return {name: Latency.of(ms, threads[name]) for name, ms in times.items()}


def measure_runtimes(runtimes: Mapping[str, Runtime], image: np.ndarray, runs: int) -> dict[str, Latency]:
    """`measure` for runtimes on one input tensor, float32 (size, size, 3)."""
    return measure(
        {name: partial(runtime.probabilities, image) for name, runtime in runtimes.items()},
        {name: runtime.describe()["threads"] for name, runtime in runtimes.items()},
        runs,
    )


def processor() -> str:
    """The processor's name, as far as the system tells."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
