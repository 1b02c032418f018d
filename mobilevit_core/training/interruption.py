"""A run that is told to stop, or that can't write, ends with a sentence and keeps its last checkpoint."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import tensorflow as tf

from mobilevit_core.errors import Stopped, UserError
from mobilevit_core.files import failed_write
from mobilevit_core.training.checkpoints import finished_epochs
from mobilevit_core.training.run_folder import RunFolder


@contextmanager
def ending_clearly(run: RunFolder, epochs: int) -> Iterator[None]:
    """Turns signals and failed writes into an end that says what is kept.

    Args:
        run: the run folder.
        epochs: of the whole run.

    Raises:
        Stopped: Ctrl-C or SIGTERM.
        UserError: the disk is full, or the folder can't be written any more.
    """
    received = []

    def stop(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)  # a second one ends the process at once
        received.append(number)
        raise KeyboardInterrupt

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if in_main_thread else None
    try:
        yield
    except KeyboardInterrupt:
        number = received[0] if received else signal.SIGINT
        raise Stopped(f"Stopped. {_what_is_kept(run, epochs)}", 128 + number) from None
    except (OSError, tf.errors.OpError) as error:
        sentence = failed_write(error, run.path)
        if sentence is None:
            raise
        raise UserError(f"{sentence} {_what_is_kept(run, epochs)}") from error
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, before)


def _what_is_kept(run: RunFolder, epochs: int) -> str:
    done = finished_epochs(run.checkpoints)
    if not done:
        return "No epoch was finished; the same command starts again."
    if done >= epochs:
        return "The training is finished; the same command makes its bundle."
    return (
        f"{done} of {epochs} epochs are kept in {run.path}; the same command continues after them. To make a "
        f"bundle of what it has learned so far: python -m mobilevit_core finish {run.path}"
    )
