"""Training steps of this project against PyTorch's MobileViT, interleaved in one run.

    pip install -r tests/benchmarks/requirements.txt
    python -m tests.benchmarks.training_throughput [--sizes 128,192,256] [--rounds 7]

One step is forward, backward, clipping and an AdamW update of the paper's XXS on 32 pictures. Sides:

ours         what `python -m mobilevit_core train` runs: the form for training, the flat optimizer
plain Keras  the same network and optimizer written plainly
PyTorch      Hugging Face transformers, channels_last, fused AdamW; autocast to bfloat16, and float32
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import mobilevit_core  # noqa: F401 (before TensorFlow: switches oneDNN on, as every training does)

# isort: split
import keras
import numpy as np
import tensorflow as tf
import torch
from transformers import MobileViTConfig, MobileViTForImageClassification

from mobilevit_core.inference.latency import processor, processor_features
from mobilevit_core.inference.runtimes import default_threads
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import logits_model
from mobilevit_core.training.flat_adamw import FlatAdamW
from mobilevit_core.training.fused_model import training_form

CLASSES, BATCH, STEPS = 5, 32, 3  # steps timed at a time, after one untimed
BFLOAT16 = {"avx512_bf16", "bf16"}  # of x86 and Arm, among `latency.FEATURES`
RATE, DECAY, CLIP = 1e-4, 0.05, 1.0

Step = Callable[[np.ndarray, np.ndarray], None]


def ours(size: int) -> Step:
    """The form and the optimizer that training uses."""
    model = training_form(logits_model(create_mobilevit("xxs", CLASSES, size)))
    return _keras_step(model, FlatAdamW(RATE, DECAY, CLIP))


def plain_keras(size: int) -> Step:
    """The network as it is saved, with Keras's optimizer."""
    model = logits_model(create_mobilevit("xxs", CLASSES, size))
    optimizer = keras.optimizers.AdamW(RATE, weight_decay=DECAY, global_clipnorm=CLIP)
    return _keras_step(model, optimizer)


def _keras_step(model: keras.Model, optimizer: keras.optimizers.Optimizer) -> Step:
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
    model.compile(optimizer, loss, jit_compile=False)
    return lambda images, labels: model.train_on_batch(images, np.eye(CLASSES, dtype=np.float32)[labels])


def pytorch(size: int, bfloat16: bool) -> Step:
    """Hugging Face's network with the same sizes and dropout."""
    config = MobileViTConfig(
        image_size=size,
        num_labels=CLASSES,
        hidden_sizes=[64, 80, 96],
        neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320],
        expand_ratio=2.0,
        hidden_dropout_prob=0.05,
    )
    model = MobileViTForImageClassification(config).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=DECAY, fused=True)
    loss = torch.nn.CrossEntropyLoss(label_smoothing=0.1)

    def step(images: np.ndarray, labels: np.ndarray) -> None:
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255  # NHWC memory: channels_last already
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            value = loss(model(pixels).logits, torch.from_numpy(labels))
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        value.item()

    return step


SIDES: dict[str, Callable[[int], Step]] = {
    "ours": ours,
    "plain Keras": plain_keras,
    "PyTorch bfloat16": lambda size: pytorch(size, bfloat16=True),
    "PyTorch float32": lambda size: pytorch(size, bfloat16=False),
}


def sides() -> dict[str, Callable[[int], Step]]:
    """All, but for bfloat16 where the processor only imitates it, ten times slower than float32."""
    skipped = () if BFLOAT16 & set(processor_features()) else ("PyTorch bfloat16",)
    return {name: make for name, make in SIDES.items() if name not in skipped}


def measure(size: int, rounds: int) -> dict[str, list[float]]:
    """Pictures per second of every side, one figure per round; every round runs every side once."""
    images = np.random.default_rng(0).uniform(0, 255, (BATCH, size, size, 3)).astype(np.float32)
    labels = np.arange(BATCH) % CLASSES
    steps = {name: make(size) for name, make in sides().items()}
    figures: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(rounds + 1):  # the first round compiles and is not counted
        names = list(steps)
        turned = names[number % len(names) :] + names[: number % len(names)]  # nobody always comes first
        for name in turned:
            step = steps[name]
            step(images, labels)
            start = time.perf_counter()
            for _ in range(STEPS):
                step(images, labels)
            if number:
                figures[name].append(BATCH * STEPS / (time.perf_counter() - start))
    return figures


def main() -> None:
    """Prints the table, and the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="128,192,256")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=default_threads())
    arguments = parser.parse_args()
    threads = arguments.threads
    torch.set_num_threads(threads)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    tf.config.threading.set_inter_op_parallelism_threads(threads)
    versions = {name: version(name) for name in ("tensorflow", "keras", "torch", "transformers")}
    features = " ".join(processor_features())
    print(f"{processor()} ({features}), {platform.system()}, {threads} threads, {versions}")
    print(f"batch {BATCH}, median of {arguments.rounds} rounds of {STEPS} steps, pictures a second\n")
    print(f"{'px':>4}" + "".join(f"{name:>18}" for name in sides()) + f"{'ours / PyTorch':>18}")
    results = {}
    for size in map(int, arguments.sizes.split(",")):
        figures = measure(size, arguments.rounds)
        medians = {name: statistics.median(values) for name, values in figures.items()}
        fastest = max(value for name, value in medians.items() if name.startswith("PyTorch"))
        ratio = medians["ours"] / fastest
        print(f"{size:>4}" + "".join(f"{value:>18.1f}" for value in medians.values()) + f"{ratio:>17.2f}x")
        results[size] = {"rounds": figures, "ratio": ratio}
    print("\n" + json.dumps(results))


if __name__ == "__main__":
    main()
