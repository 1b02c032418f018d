"""Time per operator of .tflite files, read from the profiler of LiteRT and XNNPACK.

    python -m tests.benchmarks.operator_profile BUNDLE_OR_TFLITE ... [--runs 50] [--threads 1]

The profiler is part of the C interface of `libLiteRt.so`, which Python's interface leaves out; hence ctypes.
All files take turns. An operator's figure is the median of its times over the runs, which another program
on the same processor disturbs less than it does whole runs. XNNPACK counts whole microseconds, so the many
operators that take less than one are underestimated.
"""

import argparse
import contextlib
import ctypes
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import interpreter as litert

from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.bundle.weight_formats import tflite_formats
from mobilevit_core.inference.latency import processor, processor_features, take_turns

Handle = ctypes.c_void_p
FIRST = ctypes.c_size_t(0)  # signature, input and output of a file of ours
CPU = 1  # LiteRT's number of the accelerator
READ, WRITE = 0, 1  # ways to lock a buffer
RUN = "Invoke"  # the profiler's name for a whole run; its operators follow
OPERATOR, DELEGATED = 2, 8  # the profiler's kinds of events: of LiteRT's own operators, of XNNPACK's
# XNNPACK's names begin with a key; the file's operators of these types stand in the same order.
SAME_ORDER = {
    ("Convolution", "Fully Connected"): ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"),
    ("Batch Matrix Multiply",): ("BATCH_MATMUL",),
    ("Softmax",): ("SOFTMAX",),
    ("Sigmoid",): ("LOGISTIC",),
}


class TensorType(ctypes.Structure):
    """LiteRtRankedTensorType."""

    _fields_ = [
        ("element", ctypes.c_int),
        ("rank", ctypes.c_uint, 7),
        ("has_strides", ctypes.c_uint, 1),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    ]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the tensor."""
        return tuple(self.dimensions[: self.rank])


class Event(ctypes.Structure):
    """ProfiledEventData: one thing that the profiler timed."""

    _fields_ = [
        ("tag", ctypes.c_char_p),
        ("kind", ctypes.c_int),
        ("start", ctypes.c_uint64),
        ("microseconds", ctypes.c_uint64),
        ("memory", ctypes.c_size_t * 6),
        ("metadata", ctypes.c_uint64 * 2),
        ("source", ctypes.c_int),
    ]


@dataclass(frozen=True)
class Operator:
    """What one operator of a file took.

    Attributes:
        kind: its type, as LiteRT or XNNPACK calls it.
        ms: median over the runs.
        place: layer and shape of its result, as far as they are known.
    """

    kind: str
    ms: float
    place: str = ""


class ProfiledFile:
    """A .tflite file in LiteRT with its profiler switched on.

    Args:
        path: of the file; one float32 input, one float32 output.
        threads: of XNNPACK.

    Raises:
        RuntimeError: LiteRT refuses a call.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._library = ctypes.CDLL(str(Path(litert.__file__).with_name("libLiteRt.so")))
        with _quiet():
            environment = self._new("LiteRtCreateEnvironment", 0, None)
            model = self._new("LiteRtCreateModelFromFile", environment, str(path).encode())
            options = self._options(threads)
            self._compiled = self._new("LiteRtCreateCompiledModel", environment, model, options)
        self._profiler = self._new("LiteRtCompiledModelGetProfiler", self._compiled)
        signature = self._new("LiteRtGetModelSignature", model, FIRST)
        self._buffers = [
            (Handle * 1)(self._buffer(environment, signature, way)) for way in ("Input", "Output")
        ]

    def run(self, calls: int) -> list[list[tuple[str, int, float]]]:
        """Runs the file so many times: for each, (name, kind, milliseconds) of what the profiler timed."""
        self._call("LiteRtStartProfiler", self._profiler)
        one, (inputs, outputs) = ctypes.c_size_t(1), self._buffers
        for _ in range(calls):
            self._call("LiteRtRunCompiledModel", self._compiled, FIRST, one, inputs, one, outputs)
        self._call("LiteRtStopProfiler", self._profiler)
        number = ctypes.c_int()
        self._call("LiteRtGetNumProfilerEvents", self._profiler, ctypes.byref(number))
        events = (Event * number.value)()
        self._call("LiteRtGetProfilerEvents", self._profiler, number, events)
        runs: list[list[tuple[str, int, float]]] = []
        for event in events:
            name, whole = event.tag.decode(), event.kind not in (OPERATOR, DELEGATED)
            if whole and name == RUN and event.microseconds < 2**32 - 1:
                runs.append([])
            elif whole:
                continue
            runs[-1].append((name, event.kind, event.microseconds / 1e3))
        return runs

    def _call(self, name: str, *arguments: Any) -> None:
        if status := getattr(self._library, name)(*arguments):
            raise RuntimeError(f"{name} answers with status {status}")

    def _new(self, name: str, *arguments: Any) -> Handle:
        handle = Handle()
        self._call(name, *arguments, ctypes.byref(handle))
        return handle

    def _options(self, threads: int) -> Handle:
        options = self._new("LiteRtCreateOptions")
        self._call("LiteRtSetOptionsHardwareAccelerators", options, CPU)
        settings = {
            "runtime_options_string": "enable_profiling = true",
            "xnnpack": f"num_threads = {threads}",
        }
        self._settings = [ctypes.create_string_buffer(f"{text}\n".encode()) for text in settings.values()]
        self._keep = ctypes.CFUNCTYPE(None, Handle)(lambda _: None)  # the texts belong to this object
        for name, text in zip(settings, self._settings, strict=True):
            payload = ctypes.cast(text, Handle)
            opaque = self._new("LiteRtCreateOpaqueOptions", name.encode(), payload, self._keep)
            self._call("LiteRtAddOpaqueOptions", options, opaque)
        return options

    def _buffer(self, environment: Handle, signature: Handle, way: str) -> Handle:
        """The buffer of the input, filled with a random picture, or of the output."""
        tensor = self._new(f"LiteRtGetSignature{way}TensorByIndex", signature, FIRST)
        kind = TensorType()
        self._call("LiteRtGetRankedTensorType", tensor, ctypes.byref(kind))
        needs = self._new(f"LiteRtGetCompiledModel{way}BufferRequirements", self._compiled, FIRST, FIRST)
        create = "LiteRtCreateManagedTensorBufferFromRequirements"
        buffer = self._new(create, environment, ctypes.byref(kind), needs)
        if way == "Input":
            picture = np.random.default_rng(0).integers(0, 256, kind.shape).astype(np.float32)
            memory = Handle()
            self._call("LiteRtLockTensorBuffer", buffer, ctypes.byref(memory), WRITE)
            ctypes.memmove(memory, picture.ctypes.data, picture.nbytes)
            self._call("LiteRtUnlockTensorBuffer", buffer)
        return buffer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what LiteRT's C++ side tells about accelerators that are not there."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def places(path: Path) -> dict[tuple[str, ...], list[str]]:
    """Layer and shape of the results of a file's operators, for each key of `SAME_ORDER` in order."""
    plain = litert.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    opened = litert.Interpreter(model_path=str(path), experimental_op_resolver_type=plain)
    tensors = {tensor["index"]: tensor for tensor in opened.get_tensor_details()}
    found = defaultdict(list)
    for operator in opened._get_ops_details():
        for names, types in SAME_ORDER.items():
            if operator["op_name"] in types:
                result = tensors[operator["outputs"][0]]
                layer = result["name"].split(";")[0].split("/")
                shape = " x ".join(str(side) for side in result["shape"])
                found[names].append(f"{layer[1] if len(layer) > 1 else layer[0]}, {shape}")
    return found


def profile(paths: dict[str, Path], runs: int, threads: int) -> dict[str, tuple[list[Operator], float]]:
    """Times every operator of some files; the files take turns.

    Args:
        paths: title -> .tflite file.
        runs: timed runs of each.
        threads: of XNNPACK.

    Returns:
        Title -> the operators in their order, and the milliseconds of a whole run (medians).
    """
    files = {title: ProfiledFile(path, threads) for title, path in paths.items()}
    results = {}
    for title, measured in take_turns({title: file.run for title, file in files.items()}, runs).items():
        times = np.median([[ms for _, _, ms in run] for run in measured], axis=0)
        names = [name for name, _, _ in measured[0]]
        operators = [Operator(name, float(ms)) for name, ms in zip(names, times, strict=True)]
        results[title] = _placed(operators[1:], places(paths[title])), operators[0].ms
    return results


def _placed(operators: list[Operator], known: dict[tuple[str, ...], list[str]]) -> list[Operator]:
    """The operators with their places, where XNNPACK's are as many as the file's."""
    for names, found in known.items():
        indices = [index for index, operator in enumerate(operators) if operator.kind.startswith(names)]
        if len(indices) == len(found):
            for index, place in zip(indices, found, strict=True):
                operators[index] = Operator(operators[index].kind, operators[index].ms, place)
    return operators


def table(operators: list[Operator], whole: float, most: int = 10) -> str:
    """Time per type of operator, then the most expensive single ones, as text."""
    kinds = defaultdict(list)
    for operator in operators:
        kinds[operator.kind].append(operator.ms)
    total = sum(operator.ms for operator in operators)
    lines = [f"{'count':>6}{'ms':>9}{'share':>8}  type"]
    for kind, times in sorted(kinds.items(), key=lambda item: -sum(item[1])):
        lines.append(f"{len(times):6}{sum(times):9.3f}{sum(times) / total:8.1%}  {kind}")
    lines.append(
        f"{len(operators):6}{total:9.3f}{1:8.1%}  all; a whole run with the profiler {whole:.3f} ms\n"
    )
    for operator in sorted(operators, key=lambda operator: -operator.ms)[:most]:
        lines.append(f"{operator.ms:15.3f}{operator.ms / total:8.1%}  {operator.kind}  {operator.place}")
    return "\n".join(lines)


def _files(named: list[Path], formats: list[str]) -> dict[str, Path]:
    files = {}
    for path in named:
        if path.suffix == ".tflite":
            files[str(path)] = path
            continue
        bundle = open_bundle(path)
        chosen = [name for name in formats if name in bundle.present]
        files |= {f"{path}, {name}": bundle.weights(name) for name in chosen}
    return files


def main() -> None:
    """Prints the tables of every file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path, help="bundles and .tflite files")
    parser.add_argument("--formats", nargs="+", default=tflite_formats(), help="of bundles; default: all")
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    files = _files(arguments.files, arguments.formats)
    print(f"{processor()} with {', '.join(processor_features()) or 'unknown features'}")
    print(f"{arguments.threads} threads, batch 1, medians of {arguments.runs} runs in turns")
    for title, (operators, whole) in profile(files, arguments.runs, arguments.threads).items():
        print(f"\n{title}\n{table(operators, whole)}")


if __name__ == "__main__":
    main()
