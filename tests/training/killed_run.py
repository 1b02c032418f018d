"""Trains in processes that kill themselves at chosen moments, as a power cut would.

    python -m tests.training.killed_run PHOTOS FOLDER [MOMENT ...]

FOLDER/whole is trained in one piece, FOLDER/killed by one process for each moment and one that ends it.

A network of a few layers stands in for the real one: what matters here are the files.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from keras import layers

from mobilevit_core.conversion import packing
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.training import callbacks, finish, run_folder, state, trainer
from mobilevit_core.training.recipes import make_recipe
from mobilevit_core.training.run_folder import RunFolder

RECIPE = {"image_size": "64", "stages": "64:2,128:2", "batch_size": "8", "warmup_epochs": "0.5"}


def small_network(variant: str, classes: int, image_size: int, architecture: str) -> keras.Model:
    """Everything that has a state of its own: kernels, moving statistics, dropout's random numbers."""
    image = layers.Input((image_size, image_size, 3), name="image")
    x = layers.Conv2D(4, 3, 4, use_bias=False, name="conv")(layers.Rescaling(1 / 255)(image))
    x = layers.Activation("silu")(layers.BatchNormalization(momentum=0.9, name="bn")(x))
    x = layers.Dropout(0.2)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(image, layers.Softmax()(layers.Dense(classes, name="logits")(x)))


def dying_at(function: Callable[..., Any], call: int, after: bool = False) -> Callable[..., Any]:
    """The function, but its call of this number (from 1) kills the process before or after its work."""
    calls = 0

    def replacement(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        calls += 1
        result = function(*arguments, **named) if after or calls < call else None
        if calls == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return replacement


def arrange_death(moment: str) -> None:
    """Replaces what is called at the moment by something that kills the process."""
    ema_callbacks, facts = callbacks.UpdateEMA, callbacks.AddEpochFacts
    if moment == "run half begun":
        run_folder.write_json = dying_at(run_folder.write_json, 1)
    elif moment == "first epoch":
        ema_callbacks.on_train_batch_end = dying_at(ema_callbacks.on_train_batch_end, 2)
    elif moment == "training":  # in the first epoch that this process finishes, and the one after
        ema_callbacks.on_train_batch_end = dying_at(ema_callbacks.on_train_batch_end, 5)
    elif moment == "validation":  # EMA is in the network
        ema_callbacks.on_test_begin = dying_at(ema_callbacks.on_test_begin, 1, after=True)
    elif moment == "checkpoint half written":
        np.savez = dying_at(np.savez, 1, after=True)
    elif moment == "checkpoint written, history not":
        state.checkpoints.save = dying_at(state.checkpoints.save, 1, after=True)
    elif moment == "epoch done":
        facts.on_epoch_begin = dying_at(facts.on_epoch_begin, 2)
    elif moment == "calibration":
        finish.calibrate = dying_at(finish.calibrate, 1, after=True)
    elif moment == "bundle half written":
        packing.attached = dying_at(packing.attached, 2)
    elif moment == "bundle written, not measured":
        trainer.record_validation = dying_at(trainer.record_validation, 1)
    else:
        raise ValueError(moment)


def train(photos: str, run: Path) -> None:
    """The whole run, with the small network."""
    for module in (trainer, state):
        module.create_mobilevit = small_network
    trainer.train_bundle(load_dataset(photos), make_recipe("default", RECIPE), RunFolder(run))


def main() -> None:
    """Trains in forks of a process that has imported everything and run nothing: imports take the longest."""
    photos, folder, *moments = sys.argv[1:]
    for name, moment in [("whole", ""), *(("killed", moment) for moment in moments), ("killed", "")]:
        child = os.fork()
        if not child:
            if moment:
                arrange_death(moment)
            train(photos, Path(folder) / name)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        ended = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL if moment else status == 0
        print(f"{moment or 'the end'}: {'as arranged' if ended else f'status {status}'}", flush=True)
        if not ended:
            sys.exit(1)


if __name__ == "__main__":
    main()
