"""Inference of this project's files against the Keras example's, ONNX Runtime and PyTorch, in turns.

    pip install -r tests/benchmarks/requirements.txt
    python -m tests.benchmarks.inference_latency [--size 256] [--runs 60]

The paper's XXS with the same random weights in every runtime, and the Keras example's network converted as
the example does it. A process for each number of threads; inside it, all sides take turns.
"""

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

CLASSES = 5
EXAMPLE = {"float32": "example float32", "dynamic_int8": "example dynamic range"}
PEERS = ("Keras compiled", "ONNX Runtime", "PyTorch")
REST = 0.3  # seconds before a side's turn: OpenMP's threads spin for 0.2 s after their work
GOALS = (
    ("float32", EXAMPLE["float32"]),
    ("float32", "ONNX Runtime"),
    ("dynamic_int8", EXAMPLE["dynamic_int8"]),
)


def make_files(folder: Path, size: int) -> None:
    """Writes every file that is compared."""
    import keras
    import tensorflow as tf
    import torch

    from mobilevit_core.conversion.export import drawn_images
    from mobilevit_core.conversion.tflite import convert
    from mobilevit_core.models.create import create_mobilevit
    from tests.models.hf_reference import copy_weights, reference

    theirs, ours = reference("xxs", CLASSES), create_mobilevit("xxs", CLASSES, size)
    copy_weights(theirs, ours)
    ours.save(folder / "ours.keras")
    for name, content in convert(ours, drawn_images(8, size)).items():
        (folder / f"{name}.tflite").write_bytes(content)
    pixels = torch.zeros(1, 3, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            theirs, (pixels,), str(folder / "theirs.onnx"), input_names=["image"], verbose=False
        )
    torch.save(theirs.state_dict(), folder / "theirs.pt")
    for name, title in EXAMPLE.items():
        network = create_mobilevit("xxs", CLASSES, size, "keras_example")
        converter = tf.lite.TFLiteConverter.from_keras_model(keras.models.clone_model(network))
        if name == "dynamic_int8":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        with contextlib.redirect_stdout(io.StringIO()):
            (folder / f"{title}.tflite").write_bytes(converter.convert())


def litert(path: Path, threads: int) -> tuple[Callable[[np.ndarray], Any], dict[str, int]]:
    """A .tflite file, and the number of its operators and XNNPACK partitions."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    index = interpreter.get_input_details()[0]["index"]
    size = interpreter.get_input_details()[0]["shape"][1:]
    interpreter.resize_tensor_input(index, (1, *size))
    interpreter.allocate_tensors()
    operators = Counter(operator["op_name"] for operator in interpreter._get_ops_details())
    counts = {"partitions": operators.pop("DELEGATE", 0), "operators": operators.total()}

    def run(image: np.ndarray) -> None:
        interpreter.set_tensor(index, image)
        interpreter.invoke()

    return run, counts


def measure(folder: str, size: int, runs: int, threads: int) -> dict[str, Any]:
    """Latencies of all sides with one number of threads, and the machine's speed in a matrix product."""
    import keras
    import onnxruntime
    import tensorflow as tf
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from mobilevit_core.inference import latency
    from tests.models.hf_reference import reference

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    torch.set_num_threads(threads)
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3)).astype(np.float32)
    sides: dict[str, Callable[[], Any]] = {}
    counts = {}
    for path in sorted(Path(folder).glob("*.tflite")):
        run, counts[path.stem] = litert(path, threads)
        sides[path.stem] = lambda run=run: run(image)
    ours = keras.models.load_model(Path(folder) / "ours.keras", compile=False)
    graph = tf.function(lambda x: ours(x, training=False), jit_compile=False)
    sides["Keras compiled"] = lambda: graph(tf.constant(image)).numpy()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(Path(folder) / "theirs.onnx", options, ["CPUExecutionProvider"])
    pixels = np.ascontiguousarray(image.transpose(0, 3, 1, 2)) / 255
    sides["ONNX Runtime"] = lambda: session.run(None, {"image": pixels})
    theirs = reference("xxs", CLASSES).to(memory_format=torch.channels_last)
    theirs.load_state_dict(torch.load(Path(folder) / "theirs.pt"))
    tensor = torch.from_numpy(pixels).to(memory_format=torch.channels_last)
    sides["PyTorch"] = lambda: _without_gradients(theirs, tensor)
    difference = np.abs(session.run(None, {"image": pixels})[0] - _without_gradients(theirs, tensor)).max()
    assert difference < 1e-3, f"ONNX Runtime and PyTorch differ by {difference}"
    measured = latency.measure(sides, dict.fromkeys(sides, threads), runs, REST)
    with torch.no_grad():
        counter = FlopCounterMode(display=False)
        with counter:
            theirs(torch.from_numpy(pixels))
    return {
        "latency_ms": {name: figures.to_json() for name, figures in measured.items()},
        "operators": counts,
        "multiply_adds": counter.get_total_flops() // 2,
        "peak_multiply_adds_a_second": _peak(threads),
    }


def _without_gradients(network: Any, pixels: Any) -> np.ndarray:
    import torch

    with torch.no_grad():
        return network(pixels).logits.numpy()


def _peak(threads: int) -> float:
    """Multiply-adds per second of a large float32 matrix product: the better of NumPy's and PyTorch's."""
    import torch
    from threadpoolctl import threadpool_limits

    from mobilevit_core.inference.latency import timed

    side = 1024
    matrix = np.random.default_rng(0).random((side, side), np.float32)
    tensor = torch.from_numpy(matrix)
    products = (timed(lambda: matrix @ matrix), timed(lambda: torch.mm(tensor, tensor)))
    with threadpool_limits(threads):
        return side**3 / min(min(product(12)) for product in products) * 1e3


def main() -> None:
    """Prints a table for each number of threads, the ratios, and all figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--runs", type=int, default=60)
    arguments = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        with context.Pool(1) as pool:  # conversion leaves memory and threads behind
            pool.apply(make_files, (Path(folder), arguments.size))
        for threads in (1, 2):
            with context.Pool(1) as pool:
                results[threads] = pool.apply(measure, (folder, arguments.size, arguments.runs, threads))
    _print(results, arguments.size, arguments.runs)


def _print(results: dict[int, dict[str, Any]], size: int, runs: int) -> None:
    from mobilevit_core.inference.latency import processor

    versions = {name: version(name) for name in ("tensorflow", "ai-edge-litert", "onnxruntime", "torch")}
    print(f"{processor()}, {size} px, batch 1, {runs} runs in turns of 10 after a warm-up, {versions}\n")
    print(f"{'':24}{'1 thread p50 / p95':>22}{'2 threads p50 / p95':>22}{'operators':>12}{'partitions':>12}")
    for name in results[1]["latency_ms"]:
        cells = (results[threads]["latency_ms"][name] for threads in results)
        counts = results[1]["operators"].get(name, {"operators": "", "partitions": ""})
        figures = "".join(f"{cell['p50']:>14.2f} / {cell['p95']:5.2f}" for cell in cells)
        print(f"{name:24}{figures}{counts['operators']:>12}{counts['partitions']:>12}")
    for threads, result in results.items():
        latencies = result["latency_ms"]
        ratios = (f"{a} / {b} {latencies[a]['p50'] / latencies[b]['p50']:.2f}x" for a, b in GOALS)
        print(f"\n{threads} threads: {'; '.join(ratios)}")
        floor = result["multiply_adds"] / result["peak_multiply_adds_a_second"] * 1e3
        print(
            f"{result['multiply_adds'] / 1e6:.0f} million multiply-adds; a float32 matrix product does "
            f"{result['peak_multiply_adds_a_second'] / 1e9:.0f} billion a second: floor {floor:.2f} ms"
        )
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
