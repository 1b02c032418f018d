"""Trainings on one machine and on two, with a network of a few layers, all at once.

    KERAS_BACKEND=jax python -m tests.training.machine PHOTOS FOLDER ADDRESS MODEL IMAGES LOGITS

FOLDER/one is trained by one process, FOLDER/both by two that meet at ADDRESS. These are stopped as by Ctrl-C
at the start of the second epoch, and continue. What the ends say is in one.txt, both-0.txt and both-1.txt.
The first process also writes the LOGITS of a MODEL for IMAGES.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from mobilevit_core.commands.train import train
from mobilevit_core.errors import Stopped
from mobilevit_core.models.parts import logits_model
from mobilevit_core.training import callbacks, state, trainer
from tests.training.killed_run import small_network

VALUES = {"stages": "64:2", "batch_size": 8, "warmup_epochs": 0.5, "mix": 0.5, "devices": "machines"}


def stop_at_the_second_epoch(callback: callbacks.AddEpochFacts, epoch: int, logs: object = None) -> None:
    callback._start = 0.0
    if epoch == 1:
        raise KeyboardInterrupt


def run(photos: str, run: Path, stops: bool) -> None:
    """Trains, and prints how it ended."""
    for module in (trainer, state):
        module.create_mobilevit = small_network
    begin = callbacks.AddEpochFacts.on_epoch_begin
    for on_epoch_begin in [*[stop_at_the_second_epoch] * stops, begin]:
        callbacks.AddEpochFacts.on_epoch_begin = on_epoch_begin
        try:
            train(photos, run, recipe="default", weights="fresh", values=VALUES)
        except Stopped as end:
            print(end.exit_code, end)


def write_logits(model: str, images: str, logits: str) -> None:
    """Of a saved network on JAX."""
    network = logits_model(keras.saving.load_model(model, compile=False))
    np.save(logits, network.predict(np.load(images), verbose=0))


def started(output: Path, work: Callable[[], None], **variables: str) -> int:
    """A fork that does some work; its number. Imports, which take the longest, are done by then."""
    number = os.fork()
    if number:
        return number
    os.environ.update(variables)
    with output.open("w") as file, contextlib.redirect_stdout(file):
        work()
    os._exit(0)


def main() -> None:
    """Starts the processes, and waits for them."""
    photos, folder, address, *logits = sys.argv[1:]
    place = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": address, "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}

    def alone() -> None:
        run(photos, Path(folder, "one"), stops=False)
        write_logits(*logits)

    numbers = [started(Path(folder, "one.txt"), alone)]
    for number in ("0", "1"):
        variables = {**place, "KERAS_DISTRIBUTION_PROCESS_ID": number}
        work = Path(folder, f"both-{number}.txt"), lambda: run(photos, Path(folder, "both"), stops=True)
        numbers.append(started(*work, **variables))
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) != 0 for number in numbers))


if __name__ == "__main__":
    main()
