"""What runs a bundle's weights. Each runtime has the same three methods: load, probabilities, describe.

TensorFlow is imported only when Keras weights are asked for.
"""

import os
import threading
import zipfile
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.bulk import in_order
from mobilevit_core.errors import UserError, reason
from mobilevit_core.images.photo_file import shown_name
from mobilevit_core.tensorflow_setup import check_tensorflow, use_own_settings

if TYPE_CHECKING:
    import keras

MAX_THREADS = 4  # by default: more helps none of our networks
MOST_THREADS = 256
BATCH = 32  # images that a Keras model is asked about at a time
MOST_DESCRIPTION_BYTES = 16 * 2**20  # of a .keras file's JSON; ours has 0.1 MB
MOST_GROWTH, SMALL = 4, 64 * 2**20  # weights hardly shrink in a .keras file; bytes under which any may


def default_threads() -> int:
    """The processors that this process may use, at most `MAX_THREADS`."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(available, MAX_THREADS)


class Runtime(Protocol):
    """One way to run the network, one image at a time; safe to call from several threads."""

    @classmethod
    def load(cls, weights: Path, threads: int) -> "Runtime":
        """Opens a file of weights and runs it once."""

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """float32 (size, size, 3), RGB 0..255 -> float32 (classes,)."""

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of the input (1, size, size, 3) and of the output (1, classes)."""

    def describe(self) -> dict[str, Any]:
        """Engine, its version and the number of threads."""


class LiteRTRuntime:
    """A .tflite file in LiteRT, with XNNPACK."""

    @classmethod
    def load(cls, weights: Path | bytes, threads: int) -> "LiteRTRuntime":
        """Opens the file, or its content; see `Runtime.load`."""
        from ai_edge_litert.interpreter import Interpreter

        runtime = cls()
        runtime._threads = threads
        runtime._lock = threading.Lock()  # an interpreter must not be entered twice at once
        runtime._content = weights  # the interpreter reads from it as long as it lives
        source = {"model_content": weights} if isinstance(weights, bytes) else {"model_path": str(weights)}
        runtime._interpreter = Interpreter(**source, num_threads=threads)
        runtime._interpreter.allocate_tensors()
        runtime._input = runtime._interpreter.get_input_details()[0]
        runtime._output = runtime._interpreter.get_output_details()[0]
        runtime.probabilities(np.zeros(runtime._input["shape"][1:], np.float32))
        return runtime

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """One image; see `Runtime.probabilities`."""
        with self._lock:
            self._interpreter.set_tensor(self._input["index"], image[None])
            self._interpreter.invoke()
            return self._interpreter.get_tensor(self._output["index"])[0].copy()

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """See `Runtime.shapes`."""
        return tuple(self._input["shape"].tolist()), tuple(self._output["shape"].tolist())

    def describe(self) -> dict[str, Any]:
        """See `Runtime.describe`."""
        from importlib.metadata import version

        return {"engine": f"LiteRT {version('ai-edge-litert')}", "threads": self._threads}


def load_keras(weights: Path) -> "keras.Model":
    """Loads a model.keras.

    Raises:
        UserError: the file is damaged, or would take much more memory than it has bytes.
    """
    import keras

    use_own_settings()
    try:
        check_keras_file(weights)
        return keras.models.load_model(weights, compile=False)
    except UserError:
        raise
    except Exception as error:  # Keras meets damaged files with many kinds of errors
        raise UserError(f"{weights.name} can't be loaded: {reason(error)}") from error


def answers_in_batches(
    model: "keras.Model",
    read: Callable[[Any], np.ndarray],
    photos: Sequence[Any],
    title: str = "",
) -> np.ndarray:
    """What a Keras model gives for many photos, batch by batch, to keep memory small: (photos, outputs).

    Every batch is full, the last one with what it held before: another size would be compiled anew.

    Args:
        model: takes (batch, size, size, 3), RGB 0..255.
        read: from a photo to (size, size, 3).
        photos: what `read` takes.
        title: of the progress display; none without it.
    """
    batch, answers = np.zeros((BATCH, *model.input_shape[1:]), np.float32), []
    images = in_order(read, photos, title)
    for start in range(0, len(photos), BATCH):
        held = min(BATCH, len(photos) - start)
        batch[:held] = np.stack(list(islice(images, held)))
        answers.append(model.predict_on_batch(batch)[:held])
    return np.concatenate(answers)


def check_keras_file(weights: Path) -> None:
    """Refuses a .keras file that grows beyond reason when it is unpacked.

    Raises:
        UserError: it does.
        zipfile.BadZipFile: it is no zip file.
    """
    with zipfile.ZipFile(weights) as archive:
        members = archive.infolist()
    for member in members:
        limit = max(SMALL, MOST_GROWTH * member.compress_size)
        if member.file_size > (MOST_DESCRIPTION_BYTES if member.filename.endswith(".json") else limit):
            raise UserError(
                f"{weights.name} is not loaded: {shown_name(member.filename)} in it would grow to "
                f"{member.file_size / 1e6:,.0f} MB."
            )


class KerasRuntime:
    """model.keras as a compiled TensorFlow graph with a batch of 1."""

    @classmethod
    def load(cls, weights: Path, threads: int) -> "KerasRuntime":
        """Opens the file; see `Runtime.load`. TensorFlow's threads are set once per process, by the first."""
        import tensorflow as tf

        check_tensorflow()
        try:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        except RuntimeError:
            pass  # TensorFlow is running already; `describe` says with how many
        runtime = cls()
        model = load_keras(weights)
        signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
        runtime._run = tf.function(
            lambda image: model(image, training=False), input_signature=[signature], jit_compile=False
        )
        runtime._constant = tf.constant
        runtime._shapes = (1, *model.input_shape[1:]), (1, *model.output_shape[1:])
        runtime.probabilities(np.zeros(model.input_shape[1:], np.float32))
        return runtime

    def probabilities(self, image: np.ndarray) -> np.ndarray:
        """One image; see `Runtime.probabilities`."""
        return self._run(self._constant(image[None])).numpy()[0]

    def shapes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """See `Runtime.shapes`."""
        return self._shapes

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
        name: a key of `weight_formats.FORMATS`.
        threads: default `default_threads()`.

    Returns:
        The runtime, warmed up by one call.

    Raises:
        UserError: the file is missing, damaged or of another bundle, or its engine is not installed.
    """
    manifest = bundle.manifest
    return load_file(bundle.weights(name), name, manifest.rule.image_size, len(manifest.class_names), threads)


def load_file(weights: Path, name: str, size: int, classes: int, threads: int | None = None) -> Runtime:
    """As `load_runtime`, for a file that may lie anywhere.

    Args:
        weights: the file.
        name: a key of `weight_formats.FORMATS`, what the file is.
        size: side of the input in pixels that its manifest states.
        classes: their number in its manifest.
        threads: default `default_threads()`.
    """
    threads = default_threads() if threads is None else threads
    if not 1 <= threads <= MOST_THREADS:
        raise UserError(f"{threads} threads are not possible: give 1 to {MOST_THREADS}.")
    try:
        runtime = ENGINES[FORMATS[name].engine].load(weights, threads)
    except ImportError as error:
        raise UserError(
            f"{weights.name} needs {error.name}, which is not installed: choose another format, or "
            "pip install -r requirements.txt"
        ) from error
    except UserError:
        raise
    except Exception as error:  # both engines raise many kinds of errors for damaged files
        raise UserError(f"{weights.name} can't be loaded: {reason(error)}") from error
    if runtime.shapes() != ((1, size, size, 3), (1, classes)):
        (_, *taken), (_, *given) = runtime.shapes()
        raise UserError(
            f"{weights.name} does not belong to its manifest: it takes {taken} and gives {given} numbers, "
            f"the manifest says {size} px and {classes} classes. Copy the whole bundle again."
        )
    return runtime
