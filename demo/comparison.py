"""What the page and its API compute: one photograph through several runtimes of one bundle."""

import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from mobilevit_core.bundle import Bundle
from mobilevit_core.classifier import rank
from mobilevit_core.errors import UserError
from mobilevit_core.formats import FORMATS
from mobilevit_core.latency import Latency, measure_runtimes
from mobilevit_core.photos import PhotoSource
from mobilevit_core.preprocessing import preprocess
from mobilevit_core.runtimes import Runtime, load_runtime

TOP = 5


@dataclass(frozen=True)
class Answer:
    """What one runtime said about the photograph.

    Attributes:
        probabilities: of all classes, float32 (classes,).
        predictions: the best five, pairs of class name and probability.
        latency: of this runtime.
        engine: what ran it.
        size_bytes: of its file.
    """

    probabilities: np.ndarray
    predictions: list[tuple[str, float]]
    latency: Latency
    engine: str
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        """As `/classify` returns it."""
        return {
            "predictions": [{"label": label, "score": score} for label, score in self.predictions],
            "latency_ms": self.latency.to_json(),
            "size_bytes": self.size_bytes,
        }


@dataclass(frozen=True)
class Result:
    """Everything about one photograph.

    Attributes:
        answers: runtime's name -> what it said.
        preprocessing_ms: reading, turning upright and resizing, done once for all runtimes.
    """

    answers: Mapping[str, Answer]
    preprocessing_ms: float

    @property
    def largest_difference(self) -> float:
        """Of any probability between any two runtimes."""
        stacked = np.stack([answer.probabilities for answer in self.answers.values()])
        return float((stacked.max(axis=0) - stacked.min(axis=0)).max())

    @property
    def same_answer(self) -> bool:
        """Whether all runtimes name the same class first."""
        return len({answer.predictions[0][0] for answer in self.answers.values()}) == 1


class Comparison:
    """Runtimes of one bundle, loaded in the background.

    Args:
        bundle: an opened bundle.
        threads: of each runtime; default: the processors of this process, at most 4.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self.bundle = bundle
        self._measuring = threading.Lock()  # two measurements at once would slow each other
        pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        # LiteRT first: it is there in a fraction of a second, TensorFlow takes several.
        order = sorted(bundle.present, key=lambda name: FORMATS[name].engine == "keras")
        loading = {name: pool.submit(load_runtime, bundle, name, threads) for name in order}
        pool.shutdown(wait=False)
        self._loading: dict[str, Future[Runtime]] = {name: loading[name] for name in bundle.present}

    @property
    def names(self) -> tuple[str, ...]:
        """Runtimes that the bundle has weights for, in the table's order."""
        return tuple(self._loading)

    def run(self, photo: PhotoSource, runs: int) -> Result:
        """Classifies a photograph with every runtime and times them, interleaved.

        Args:
            photo: anything that `read_photo` takes.
            runs: timed runs of each runtime.

        Raises:
            UserError: the photograph can't be read, or no runtime could be loaded.
        """
        start = perf_counter()
        image = preprocess(photo, self.bundle.contract.rule, "The photograph")
        preprocessing_ms = (perf_counter() - start) * 1e3
        runtimes = self._loaded()
        with self._measuring:
            latencies = measure_runtimes(runtimes, image, runs)
        answers = {name: self._answer(name, runtimes[name], image, latencies[name]) for name in runtimes}
        return Result(answers, preprocessing_ms)

    def _loaded(self) -> dict[str, Runtime]:
        """Waits for the runtimes; one that can't be loaded is left out as long as another can."""
        runtimes, problems = {}, []
        for name, future in self._loading.items():
            try:
                runtimes[name] = future.result()
            except UserError as error:
                problems.append(str(error))
        if not runtimes:
            raise UserError(" ".join(problems))
        return runtimes

    def problems(self) -> dict[str, str]:
        """Runtimes that turned out not to load -> why."""
        return {
            name: str(future.exception())
            for name, future in self._loading.items()
            if future.done() and future.exception() is not None
        }

    def _answer(self, name: str, runtime: Runtime, image: np.ndarray, latency: Latency) -> Answer:
        probabilities = runtime.probabilities(image)
        return Answer(
            probabilities,
            rank(probabilities, self.bundle.contract.class_names, TOP),
            latency,
            runtime.describe()["engine"],
            self.bundle.size_bytes(name),
        )
