"""Time per operator of a training step, read from TensorFlow's profiler.

    pip install -r tests/benchmarks/requirements.txt
    python -m tests.benchmarks.training_profile [--size 128] [--steps 6] [--side ours]

The step is the one of `tests.benchmarks.training_throughput`. Threads work at once, so the operators' times
add up to more than the step's. An operator's time is without that of what it called.
"""

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.training_throughput import BATCH, CLASSES, SIDES  # before TensorFlow

# isort: split
import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from mobilevit_core.inference.latency import processor, processor_features
from mobilevit_core.inference.runtimes import default_threads

PROCESSOR = "/host:CPU"  # the profiler's name for it
MILLISECOND = 1e9  # picoseconds
SHOWN = 0.005  # share of all, below which an operator goes into the last row


@dataclass
class Span:
    """What a thread did for a while.

    Attributes:
        begin: in picoseconds.
        end: in picoseconds.
        name: "layer/of/the/graph:Operator", or what a kernel of XLA or a part of the executor is called.
        own: picoseconds without what it called meanwhile.
    """

    begin: int
    end: int
    name: str
    own: int = 0


def with_own_times(spans: list[Span]) -> list[Span]:
    """The spans of one thread: each lies inside of another or beside it."""
    callers: list[Span] = []
    spans = sorted(spans, key=lambda span: (span.begin, -span.end))
    for span in spans:
        while callers and callers[-1].end <= span.begin:
            callers.pop()
        span.own = span.end - span.begin
        if callers:
            callers[-1].own -= span.own
        callers.append(span)
    return spans


def by_operator(trace: bytes) -> tuple[Counter[str], Counter[str]]:
    """Picoseconds and calls by kind of operator; the executor's own spans are left out.

    Args:
        trace: an XSpace as the profiler writes it.
    """
    space = xplane_pb2.XSpace.FromString(trace)
    plane = next(plane for plane in space.planes if plane.name == PROCESSOR)
    times, calls = Counter[str](), Counter[str]()
    for line in plane.lines:
        names = (plane.event_metadata[event.metadata_id].name for event in line.events)
        spans = [
            Span(event.offset_ps, event.offset_ps + event.duration_ps, name)
            for event, name in zip(line.events, names, strict=True)
        ]
        for span in with_own_times(spans):
            if "::" not in span.name:
                kind = span.name.rpartition(":")[2]
                times[kind] += span.own
                calls[kind] += 1
    return times, calls


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--side", choices=("ours", "plain Keras"), default="ours")
    arguments = parser.parse_args()
    threads, size, steps = default_threads(), arguments.size, arguments.steps
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    step = SIDES[arguments.side](size)
    images = np.random.default_rng(0).uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32)
    labels = np.arange(BATCH) % CLASSES
    for _ in range(3):
        step(images, labels)
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder)
        start = time.perf_counter()
        for _ in range(steps):
            step(images, labels)
        seconds = time.perf_counter() - start
        tf.profiler.experimental.stop()
        times, calls = by_operator(next(Path(folder).rglob("*.xplane.pb")).read_bytes())
    print(f"{processor()} ({' '.join(processor_features())}), {threads} threads, tensorflow {tf.__version__}")
    print(f"{arguments.side}, batch {BATCH}, {size} px: {seconds / steps * 1e3:.0f} ms a step\n")
    print("| operator | calls a step | ms a step, all threads |\n| --- | --- | --- |")
    total = times.total()
    shown = [kind for kind, length in times.most_common() if length >= SHOWN * total]
    for kind in shown:
        print(f"| {kind} | {calls[kind] / steps:.0f} | {times[kind] / MILLISECOND / steps:.1f} |")
    rest = total - sum(times[kind] for kind in shown)
    print(f"| all others | | {rest / MILLISECOND / steps:.1f} |")
    print(f"| all | | {total / MILLISECOND / steps:.1f} |")


if __name__ == "__main__":
    main()
