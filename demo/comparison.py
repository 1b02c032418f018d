"""What the page and its API compute: one photo through the weight formats of one bundle."""

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from PIL import Image

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.images.isolated import shared_reader
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.inference.answer import Answer
from mobilevit_core.inference.cam import Explainer
from mobilevit_core.inference.classifier import DEFAULT_FORMAT, Classifier
from mobilevit_core.inference.latency import (
    Latency,
    measure_runtimes,
    processor_features,
    random_image,
)
from mobilevit_core.inference.runtimes import load_runtime

# Processors with one of these multiply bytes faster than float32 numbers. On others, dynamic int8 takes
# longer than float32 (tests/benchmarks/README.md, "Operators"); the small file that does not is int8 weights.
BYTE_PRODUCTS = {"avx_vnni", "avx512_vnni", "asimddp", "i8mm"}
NO_TURN_REST = 0.0  # seconds; a visitor waits
HEAD_START_SECONDS = 10.0  # of the first answer, before TensorFlow's import takes every processor


def compared_first() -> tuple[str, str]:
    """What the page compares at first: the original, and the small file that is fast on this processor."""
    return "keras", "dynamic_int8" if BYTE_PRODUCTS.intersection(processor_features()) else "int8_weights"


@contextmanager
def without_path(bundle: Bundle) -> Iterator[None]:
    """A visitor gets to know which file is damaged, but not where it lies on the server."""
    try:
        yield
    except UserError as error:
        text = str(error)
        for folder in (bundle.folder.resolve(), bundle.folder):
            text = text.replace(f"{folder}{os.sep}", "")
        raise UserError(text) from error


def _keep(work: Sequence[tuple[Future[Any], Callable[[], Any]]]) -> None:
    """Does one thing after the other, and keeps what comes of each for those who wait for it."""
    for future, do in work:
        try:
            future.set_result(do())
        except Exception as error:
            future.set_exception(error)


class Comparison:
    """Classifiers of one bundle, one per weight format, loaded in the background.

    Args:
        bundle: an opened bundle.
        threads: of each runtime; default: the processors of this process, at most 4.
    """

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self.bundle = bundle
        self._reader = shared_reader()
        self._reader.start()
        # The one place where networks wait for each other: a neighbour's run would spoil a measurement.
        self._measuring = threading.Lock()
        self._answered = threading.Event()  # or somebody needs the Keras weights
        # LiteRT first, the default format before the others. TensorFlow takes several seconds: it is imported
        # once the first answer is out.
        order = sorted(
            bundle.present, key=lambda name: (FORMATS[name].engine == "keras", name != DEFAULT_FORMAT)
        )
        self._first_call_ms: dict[str, float] = {}
        self._loading: dict[str, Future[Classifier]] = {name: Future() for name in bundle.present}
        self._explainer: Future[Explainer] | None = Future() if "keras" in bundle.present else None
        work: list[tuple[Future[Any], Callable[[], Any]]] = [
            (self._loading[name], partial(self._load, name, threads)) for name in order
        ]
        if self._explainer:
            work.append((self._explainer, self._load_explainer))
        # A daemon, because the end of the program must not wait for it; an executor's threads are none.
        threading.Thread(target=_keep, args=(work,), daemon=True, name="load").start()

    @property
    def names(self) -> tuple[str, ...]:
        """Formats that the bundle has weights for, in the table's order."""
        return tuple(self._loading)

    @property
    def default(self) -> str:
        """The format that answers where none is named."""
        return DEFAULT_FORMAT if DEFAULT_FORMAT in self.names else self.names[0]

    @property
    def explains(self) -> bool:
        """Whether the bundle has the Keras weights that `explain` needs."""
        return self._explainer is not None

    def _load(self, name: str, threads: int | None) -> Classifier:
        if FORMATS[name].engine == "keras":
            self._answered.wait(HEAD_START_SECONDS)
        start = perf_counter()
        with without_path(self.bundle):
            classifier = Classifier(self.bundle, name, load_runtime(self.bundle, name, threads))
        self._first_call_ms[name] = (perf_counter() - start) * 1e3
        return classifier

    def _load_explainer(self) -> Explainer:
        with without_path(self.bundle):
            return Explainer.load(self.bundle)

    def chosen_first(self) -> list[str]:
        """The formats that the page compares until a visitor asks for all."""
        chosen = [name for name in compared_first() if name in self.names]
        others = [name for name in self.names if name not in chosen]
        return sorted((chosen + others)[:2], key=self.names.index)

    def facts(self, name: str) -> dict[str, Any]:
        """What holds for a format that was loaded, whatever the photo: as `/compare` returns it.

        Returns:
            What runs it, the size of its file, and how long loading it and its first answer took when the
            server started.
        """
        return {
            "engine": self._loading[name].result().runtime.describe()["engine"],
            "size_bytes": self.bundle.size_bytes(name),
            "first_call_ms": round(self._first_call_ms[name], 1),
        }

    def classify(self, photo: PhotoSource, name: str | None = None) -> Answer:
        """One photo by one format, untimed.

        Args:
            photo: anything that `read_photo` takes.
            name: of the format; default: `default`.

        Raises:
            UserError: the photo can't be read, or the weights can't be loaded.
        """
        tensor = self._tensor(photo)
        name = name or self.default
        classifier = self._wait_for([name])[name]
        with self._measuring:
            answer = classifier.answer(tensor)
        self._answered.set()
        return answer

    def run(self, photo: PhotoSource, runs: int, names: Sequence[str] | None = None) -> dict[str, Answer]:
        """Classifies a photo with several formats and times them in turns; waits until they are loaded.

        Args:
            photo: anything that `read_photo` takes.
            runs: timed runs of each format.
            names: of the formats; default: all.

        Returns:
            Format -> the answer of its last timed run, with the latency.

        Raises:
            UserError: the photo can't be read, or none of the formats could be loaded.
        """
        tensor = self._tensor(photo)
        measured = self._measure(self._wait_for(names or self.names), tensor, runs)
        manifest = self.bundle.manifest
        return {name: Answer.of(output, manifest, name, time) for name, (output, time) in measured.items()}

    def benchmark(self, runs: int) -> dict[str, Latency]:
        """Latencies of all formats on a random picture."""
        image = random_image(self.bundle.manifest.rule.image_size)
        measured = self._measure(self._wait_for(self.names), image, runs)
        return {name: latency for name, (_, latency) in measured.items()}

    def explain(self, photo: PhotoSource) -> tuple[Image.Image, str]:
        """The photo with a map of what the Keras weights looked at, and the class it is for.

        Raises:
            UserError: the photo can't be read, or there are no Keras weights.
        """
        if self._explainer is None:
            raise UserError("The map needs the Keras weights, and this bundle has none.")
        self._answered.set()
        prepared = self._reader.prepare(photo, self.bundle.manifest.rule, "The photo")
        explainer = self._explainer.result()
        with self._measuring:
            return explainer.explain_prepared(prepared)

    def ready(self) -> list[str]:
        """Formats that are loaded by now."""
        return [name for name, future in self._loading.items() if future.done() and not future.exception()]

    def _tensor(self, photo: PhotoSource) -> np.ndarray:
        return self._reader.preprocess(photo, self.bundle.manifest.rule, "The photo")

    def _measure(
        self, classifiers: Mapping[str, Classifier], image: np.ndarray, runs: int
    ) -> dict[str, tuple[np.ndarray, Latency]]:
        runtimes = {name: classifier.runtime for name, classifier in classifiers.items()}
        with self._measuring:
            return measure_runtimes(runtimes, image, runs, NO_TURN_REST)

    def _wait_for(self, names: Sequence[str]) -> dict[str, Classifier]:
        """Waits for the formats; one that can't be loaded is left out as long as another can."""
        if any(FORMATS[name].engine == "keras" for name in names):
            self._answered.set()
        classifiers, problems = {}, []
        for name in names:
            try:
                classifiers[name] = self._loading[name].result()
            except UserError as error:
                problems.append(str(error))
        if not classifiers:
            raise UserError(" ".join(problems) or "No weights are chosen.")
        return classifiers
