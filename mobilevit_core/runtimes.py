"""What runs a bundle's weights. Each runtime has the same three methods: load, probabilities, describe.

TensorFlow is imported only when Keras weights are asked for.
"""

import os
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mobilevit_core.bundle import Bundle
from mobilevit_core.errors import UserError
from mobilevit_core.formats import FORMATS

MAX_THREADS = 4  # more helps none of our networks


def default_threads() -> int:
    """The processors that this process may use, at most `MAX_THREADS`."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MAX_THREADS)


class Runtime(Protocol):
    """One way to run the network, one picture at a time; safe to call from several threads."""

    @classmethod
    def load(cls, weights: Path, threads: int) -> "Runtime":
        """Opens a file of weights and runs it once."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """float32 (size, size, 3), RGB 0..255 -> float32 (classes,)."""

    def describe(self) -> dict[str, Any]:
        """Engine, its version and the number of threads."""


class LiteRTRuntime:
    """A .tflite file in LiteRT, with XNNPACK."""

    @classmethod
    def load(cls, weights: Path, threads: int) -> "LiteRTRuntime":
        """Opens the file; see `Runtime.load`."""
        from ai_edge_litert.interpreter import Interpreter

        runtime = cls()
        runtime._threads = threads
        runtime._lock = threading.Lock()  # an interpreter must not be entered twice at once
        runtime._interpreter = Interpreter(model_path=str(weights), num_threads=threads)
        runtime._interpreter.allocate_tensors()
        details = runtime._interpreter.get_input_details()[0]
        runtime._input = details["index"]
        runtime._output = runtime._interpreter.get_output_details()[0]["index"]
        runtime.probabilities(np.zeros(details["shape"][1:], np.float32))
        return runtime

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """One picture; see `Runtime.probabilities`."""
        with self._lock:
            self._interpreter.set_tensor(self._input, image[None])
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output)[0].copy()

    def describe(self) -> dict[str, Any]:
        """See `Runtime.describe`."""
        from importlib.metadata import version

        return {"engine": f"LiteRT {version('ai-edge-litert')}", "threads": self._threads}


class KerasRuntime:
    """model.keras as a compiled TensorFlow graph with a batch of 1."""

    @classmethod
    def load(cls, weights: Path, threads: int) -> "KerasRuntime":
        """Opens the file; see `Runtime.load`. TensorFlow's threads are set once a process, by the first."""
        import keras
        import tensorflow as tf

        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError:
            pass  # TensorFlow is running already; `describe` says with how many
        runtime = cls()
        model = keras.models.load_model(weights, compile=False)
        signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
        runtime._run = tf.function(
            lambda image: model(image, training=False), input_signature=[signature], jit_compile=False
        )
        runtime._constant = tf.constant
        runtime.probabilities(np.zeros(model.input_shape[1:], np.float32))
        return runtime

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """One picture; see `Runtime.probabilities`."""
        return self._run(self._constant(image[None])).numpy()[0]

    def describe(self) -> dict[str, Any]:
        """See `Runtime.describe`."""
        import tensorflow as tf

        threads = tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()
        return {"engine": f"TensorFlow {tf.__version__}, compiled graph", "threads": threads}


ENGINES: dict[str, type[Runtime]] = {"keras": KerasRuntime, "litert": LiteRTRuntime}


def load_runtime(bundle: Bundle, name: str, threads: int | None = None) -> Runtime:
    """Loads one weight format of a bundle.

    Args:
        bundle: an opened bundle.
        name: a key of `formats.FORMATS`.
        threads: default `default_threads()`.

    Returns:
        The runtime, warmed up by one call.

    Raises:
        UserError: the file is missing or damaged, or its engine is not installed.
    """
    weights = bundle.weights(name)
    try:
        return ENGINES[FORMATS[name].engine].load(weights, threads or default_threads())
    except ImportError as error:
        raise UserError(
            f"{weights.name} needs {error.name}, which is not installed: pip install -r requirements.txt"
        ) from error
    except Exception as error:  # both engines raise many kinds of errors for damaged files
        raise UserError(f"{weights} can't be loaded: {error}") from error
