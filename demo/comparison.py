"""What the page and its API compute: one photograph through several runtimes of one bundle."""

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.images.isolated import shared_reader
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.inference.answer import TOP
from mobilevit_core.inference.answer import Answer as ClassAnswer
from mobilevit_core.inference.cam import Explainer
from mobilevit_core.inference.latency import Latency, measure_runtimes, random_picture
from mobilevit_core.inference.runtimes import Runtime, load_runtime

AT_ONCE = 8  # requests in work: networks run one by one, but nobody waits for a neighbour's photograph
FIRST = ("keras", "dynamic_int8")  # what the page compares at first: the original and the usual small file


@dataclass(frozen=True)
class Answer:
    """What one runtime said about the photograph.

    Attributes:
        probabilities: of all classes, float32 (classes,).
        predictions: the best five, pairs of class name and probability.
        latency: of this runtime.
        engine: what ran it.
        size_bytes: of its file.
        first_call_ms: loading the weights and the first answer, when the server started.
    """

    probabilities: np.ndarray
    predictions: list[tuple[str, float]]
    latency: Latency
    engine: str
    size_bytes: int
    first_call_ms: float

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


@contextmanager
def _without_path(bundle: Bundle) -> Iterator[None]:
    """A visitor gets to know which file is damaged, but not where it lies on the server."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for folder in (bundle.folder.resolve(), bundle.folder):
            text = text.replace(f"{folder}{os.sep}", "")
        raise UserError(text) from error


class Comparison:
    """Runtimes of one bundle, loaded in the background.

    Args:
        bundle: an opened bundle.
        threads: of each runtime; default: the processors of this process, at most 4.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self.bundle = bundle
        self._reader = shared_reader()
        self._reader.start()
        self.waiting = 0  # requests whose networks are running or have to wait
        self._counting = threading.Lock()
        self._measuring = threading.Lock()  # two at once would slow each other
        pool = ThreadPoolExecutor(1, thread_name_prefix="load")
        # LiteRT first: it is there in a fraction of a second, TensorFlow takes several.
        order = sorted(bundle.present, key=lambda name: FORMATS[name].engine == "keras")
        self._first_call_ms: dict[str, float] = {}
        loading = {name: pool.submit(self._load, name, threads) for name in order}
        self._explainer = pool.submit(self._load_explainer) if "keras" in bundle.present else None
        pool.shutdown(wait=False)
        self._loading: dict[str, Future[Runtime]] = {name: loading[name] for name in bundle.present}

    @property
    def names(self) -> tuple[str, ...]:
        """Runtimes that the bundle has weights for, in the table's order."""
        return tuple(self._loading)

    def _load(self, name: str, threads: int | None) -> Runtime:
        start = perf_counter()
        with _without_path(self.bundle):
            runtime = load_runtime(self.bundle, name, threads)
        self._first_call_ms[name] = (perf_counter() - start) * 1e3
        return runtime

    def _load_explainer(self) -> Explainer:
        with _without_path(self.bundle):
            return Explainer.load(self.bundle)

    def chosen_first(self) -> list[str]:
        """The runtimes that the page compares until a visitor chooses others."""
        return [name for name in FIRST if name in self.names] or list(self.names[:2])

    def ready(self, names: Sequence[str]) -> list[str]:
        """Those of the named runtimes that are loaded by now."""
        return [name for name in names if self._loading[name].done() and not self._loading[name].exception()]

    def run(self, photo: PhotoSource, runs: int, names: Sequence[str] | None = None) -> Result:
        """Classifies a photograph with runtimes and times them in turns; waits until they are loaded.

        Args:
            photo: anything that `read_photo` takes.
            runs: timed runs of each runtime.
            names: of the runtimes; default: all.

        Raises:
            UserError: the photograph can't be read, or none of the runtimes could be loaded.
        """
        start = perf_counter()
        image = self._reader.preprocess(photo, self.bundle.manifest.rule, "The photograph")
        preprocessing_ms = (perf_counter() - start) * 1e3
        runtimes = self._loaded(self.names if names is None else names)
        latencies = self._measure(runtimes, image, runs)
        answers = {name: self._answer(name, runtimes[name], image, latencies[name]) for name in runtimes}
        return Result(answers, preprocessing_ms)

    def classify(self, photo: PhotoSource, name: str) -> np.ndarray:
        """Probabilities of one photograph by one runtime, untimed: float32 (classes,)."""
        image = self._reader.preprocess(photo, self.bundle.manifest.rule, "The photograph")
        runtime = self._loaded([name])[name]
        with self._alone():
            return runtime.probabilities(image)

    def benchmark(self, runs: int) -> dict[str, Latency]:
        """Latencies of all runtimes on a random picture."""
        image = random_picture(self.bundle.manifest.rule.image_size)
        return self._measure(self._loaded(self.names), image, runs)

    def explain(self, photo: PhotoSource) -> tuple[Image.Image, str]:
        """The photograph with a map of what the Keras weights looked at, and the class it is for.

        Raises:
            UserError: the photograph can't be read, or there are no Keras weights.
        """
        if self._explainer is None:
            raise UserError("The map needs the Keras weights, and this bundle has none.")
        prepared = self._reader.prepare(photo, self.bundle.manifest.rule, "The photograph")
        explainer = self._explainer.result()
        with self._alone():
            return explainer.explain_prepared(prepared)

    def _measure(self, runtimes: Mapping[str, Runtime], image: np.ndarray, runs: int) -> dict[str, Latency]:
        with self._alone():
            return measure_runtimes(runtimes, image, runs, rest=0)  # a visitor waits

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Networks run one after the other, whoever asks: a neighbour's would spoil a measurement."""
        with self._counting:
            self.waiting += 1
        try:
            with self._measuring:
                yield
        finally:
            with self._counting:
                self.waiting -= 1

    def _loaded(self, names: Sequence[str]) -> dict[str, Runtime]:
        """Waits for the runtimes; one that can't be loaded is left out as long as another can."""
        runtimes, problems = {}, []
        for name in names:
            try:
                runtimes[name] = self._loading[name].result()
            except UserError as error:
                problems.append(str(error))
        if not runtimes:
            raise UserError(" ".join(problems) or "No weights are chosen.")
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
            ClassAnswer.of(probabilities, self.bundle.manifest, name).top(TOP),
            latency,
            runtime.describe()["engine"],
            self.bundle.size_bytes(name),
            self._first_call_ms[name],
        )
