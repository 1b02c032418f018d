"""Every weight format of a bundle measured so that the figures can be compared.

Each runtime with each number of threads lives in a process of its own, so that none shares threads, caches
of libraries or memory with another; the processes take turns, one image at a time, so that a drift of the
machine's speed meets them all alike.
"""

import multiprocessing
import platform
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.errors import UserError
from mobilevit_core.inference.latency import (
    TURN,
    WARMUP,
    Latency,
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


class Worker:
    """One runtime in a process of its own.

    Args:
        bundle: an opened bundle.
        name: a key of `weight_formats.FORMATS`.
        threads: of the runtime.

    Attributes:
        facts: engine, load_ms (import of the engine, opening, first answer) as the process reports them.
    """

    def __init__(self, bundle: Bundle, name: str, threads: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        arguments = (other, str(bundle.folder), name, threads)
        self._process = context.Process(target=_serve, args=arguments, daemon=True)
        self._process.start()
        other.close()
        self.facts = self._answer()

    def run(self, calls: int) -> list[float]:
        """Answers one image so many times: milliseconds of each."""
        self._pipe.send(calls)
        return self._answer()

    def peak_memory_mb(self) -> float | None:
        """The most memory that the whole process ever held, in MB; None where the system does not tell."""
        self._pipe.send("memory")
        return self._answer()

    def close(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()

    def _answer(self) -> Any:
        try:
            answer = self._pipe.recv()
        except EOFError:
            raise UserError("A process of the benchmark ended early; is there enough memory?") from None
        if isinstance(answer, UserError):
            raise answer
        return answer


def _serve(pipe: Connection, folder: str, name: str, threads: int) -> None:
    """What a worker's process does: loads, then one answer for every request until the pipe closes."""
    try:
        bundle = open_bundle(folder)
        image = random_image(bundle.manifest.rule.image_size)
        start = time.perf_counter()
        runtime = load_runtime(bundle, name, threads)
        load_ms = (time.perf_counter() - start) * 1e3
    except UserError as error:
        pipe.send(error)
        return
    run = timed(partial(runtime.probabilities, image))
    pipe.send({"engine": runtime.describe()["engine"], "load_ms": round(load_ms, 1)})
    try:
        while request := pipe.recv():
            if request == "memory":
                pipe.send(_peak_memory_mb())
                continue
            pipe.send(run(request))
    except EOFError:
        pass


def _peak_memory_mb() -> float | None:
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
    with ExitStack() as stack:
        workers = {}
        for name in bundle.present:
            for number in threads:
                workers[name, number] = Worker(bundle, name, number)
                stack.callback(workers[name, number].close)
        times = take_turns({key: worker.run for key, worker in workers.items()}, runs)
        memory = {key: worker.peak_memory_mb() for key, worker in workers.items()}
    return {
        "processor": f"{processor()}, {default_threads()} of its processors",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": _versions(),
        "protocol": PROTOCOL.format(warmup=WARMUP, runs=runs, turn=TURN),
        "image_size": bundle.manifest.rule.image_size,
        "threads": list(threads),
        "formats": {
            name: {
                "engine": workers[name, threads[0]].facts["engine"],
                "size_bytes": bundle.size_bytes(name),
                "load_ms": workers[name, threads[0]].facts["load_ms"],
                "peak_memory_mb": memory[name, threads[0]],
                "latency_ms": {
                    str(number): Latency.of(times[name, number], number).to_json() for number in threads
                },
            }
            for name in bundle.present
        },
    }
