"""Latency of several runtimes, measured so that they can be compared: warmed up, in turns."""

import math
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_core.inference.runtimes import Runtime

WARMUP = 3  # untimed calls before a turn
# Features of processors that decide which of XNNPACK's kernels run, as Linux names them.
FEATURES = (
    ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")  # x86
    + ("asimd", "fphp", "asimddp", "bf16", "i8mm", "sve")  # Arm
)
TURN = 10  # timed calls before it is the next one's turn
REST = 0.02  # seconds before a turn

Timed = Callable[[int], list[float]]


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one runtime.

    Attributes:
        p50: median.
        p95: 95th percentile.
        runs: how many were timed.
        threads: that the runtime used.
        p50_range: 95 % interval of the median, by order statistics. A runtime may be called faster than
            another only where the two intervals do not overlap.
    """

    p50: float
    p95: float
    runs: int
    threads: int
    p50_range: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """The figures, milliseconds with three decimals."""
        low, high = self.p50_range
        rounded = {
            "p50": round(self.p50, 3),
            "p95": round(self.p95, 3),
            "p50_range": [round(low, 3), round(high, 3)],
        }
        return asdict(self) | rounded

    @classmethod
    def of(cls, milliseconds: Sequence[float], threads: int) -> "Latency":
        """From the times of single runs."""
        ordered, number = np.sort(milliseconds), len(milliseconds)
        p50, p95 = np.percentile(ordered, [50, 95])
        place = max(int((number - 1.96 * math.sqrt(number)) / 2), 0)
        interval = float(ordered[place]), float(ordered[-1 - place])
        return cls(float(p50), float(p95), number, threads, interval)


def take_turns(functions: Mapping[Any, Timed], runs: int, rest: float = REST) -> dict[Any, list[float]]:
    """Runs functions in turns of a few calls, A A A B B B A A A ...

    Turns, so that a drift of the machine's speed meets all alike; a rest and untimed calls before each,
    because the threads of the one before keep spinning for a while, the caches hold its weights, and the
    own threads have gone to sleep.

    Args:
        functions: name -> a function made by `timed`, or one like it.
        runs: timed calls of each.
        rest: seconds before every turn.

    Returns:
        name -> milliseconds of the timed calls.
    """
    times: dict[Any, list[float]] = {name: [] for name in functions}
    for start in range(0, runs, TURN):
        for name, function in functions.items():
            time.sleep(rest)
            times[name] += function(WARMUP + min(TURN, runs - start))[WARMUP:]
    return times


def timed(function: Callable[[], Any]) -> Timed:
    """A function that calls another one so many times and returns the milliseconds of each call."""

    def run(calls: int) -> list[float]:
        milliseconds = []
        for _ in range(calls):
            start = time.perf_counter()
            function()
            milliseconds.append((time.perf_counter() - start) * 1e3)
        return milliseconds

    return run


def measure(
    functions: Mapping[str, Callable[[], Any]], threads: Mapping[str, int], runs: int, rest: float = REST
) -> dict[str, Latency]:
    """Times functions in turns.

    Args:
        functions: name -> what to time.
        threads: name -> threads that it uses, for the record.
        runs: timed calls of each.
        rest: seconds before every turn.

    Returns:
        name -> latency.
    """
    times = take_turns({name: timed(function) for name, function in functions.items()}, runs, rest)
    return {name: Latency.of(milliseconds, threads[name]) for name, milliseconds in times.items()}


def measure_runtimes(
    runtimes: Mapping[str, Runtime], image: np.ndarray, runs: int, rest: float = REST
) -> dict[str, tuple[np.ndarray, Latency]]:
    """Times runtimes in turns on one image.

    Args:
        runtimes: name -> runtime.
        image: the input tensor, float32 (size, size, 3).
        runs: timed runs of each.
        rest: seconds before every turn.

    Returns:
        name -> the probabilities (classes,) of its last timed run, and its latency.
    """
    outputs: dict[str, np.ndarray] = {}

    def run(name: str) -> None:
        outputs[name] = runtimes[name].probabilities(image)

    threads = {name: runtime.describe()["threads"] for name, runtime in runtimes.items()}
    latencies = measure({name: partial(run, name) for name in runtimes}, threads, runs, rest)
    return {name: (outputs[name], latency) for name, latency in latencies.items()}


def random_image(size: int) -> np.ndarray:
    """What latencies are measured on where no photo is given: float32 (size, size, 3), RGB 0..255."""
    return np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.float32)


def processor() -> str:
    """The processor's name, as far as the system tells."""
    return _of_processor("model name") or platform.processor() or platform.machine()


def processor_features() -> tuple[str, ...]:
    """Those of `FEATURES` that the processor has; none where the system does not tell."""
    if platform.system() == "Darwin" and platform.machine() == "arm64":
        return ("asimd", "asimddp")  # every Apple silicon has them
    present = _of_processor("flags", "Features").split()
    return tuple(name for name in FEATURES if name in present)


def _of_processor(*keys: str) -> str:
    """What Linux says about the first processor under the first of these keys; else nothing."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else ()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(keys)), "")
