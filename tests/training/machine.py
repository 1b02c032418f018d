"""One of the processes of a training on several machines, with a network of a few layers.

    KERAS_BACKEND=jax python -m tests.training.machine PHOTOS RUN [stop]

With "stop", it is interrupted as by Ctrl-C at the start of the second epoch, and then continues.
"""

import sys

from mobilevit_core.commands.train import train
from mobilevit_core.errors import Stopped
from mobilevit_core.training import callbacks, state, trainer
from tests.training.killed_run import small_network

VALUES = {"stages": "64:2", "batch_size": 8, "warmup_epochs": 0.5, "mix": 0.5, "devices": "machines"}


def stop_at_the_second_epoch(callback: callbacks.AddEpochFacts, epoch: int, logs: object = None) -> None:
    callback._start = 0.0
    if epoch == 1:
        raise KeyboardInterrupt


def main() -> None:
    """Trains, and prints how it ended."""
    photos, run, *stop = sys.argv[1:]
    for module in (trainer, state):
        module.create_mobilevit = small_network
    begin = callbacks.AddEpochFacts.on_epoch_begin
    for on_epoch_begin in [*[stop_at_the_second_epoch for _ in stop], begin]:
        callbacks.AddEpochFacts.on_epoch_begin = on_epoch_begin
        try:
            train(photos, run, recipe="default", weights="fresh", values=VALUES)
        except Stopped as end:
            print(end.exit_code, end)


if __name__ == "__main__":
    main()
