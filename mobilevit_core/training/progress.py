"""A live progress bar over a whole training run, and one line per epoch for log files."""

import sys
import time
from collections.abc import Sequence

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mobilevit_core.messages import say


class TrainingProgress(keras.callbacks.Callback):
    """Shows where the run is and how long it still takes; goes to standard error.

    Args:
        epochs: of the whole run.
        steps: of one epoch.
    """

    def __init__(self, epochs: int, steps: int) -> None:
        super().__init__()
        self._epochs, self._steps = epochs, steps
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
            TextColumn("loss {task.fields[loss]:.3f} accuracy {task.fields[accuracy]:.3f}"),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=300,
        )

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Draws the bar; it stands at the epoch that the stage starts with."""
        self._task = None
        self._bar.start()

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Moves on to an epoch."""
        if self._task is None:
            self._task = self._bar.add_task(
                "", total=self._epochs * self._steps, epoch=epoch + 1, epochs=self._epochs, loss=0, accuracy=0
            )
            self._bar.update(self._task, completed=epoch * self._steps)
        self._bar.update(self._task, epoch=epoch + 1)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """One step further."""
        self._bar.update(self._task, advance=1, loss=logs["loss"], accuracy=logs["accuracy"])

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Leaves one line behind."""
        line = (
            f"epoch {epoch + 1}/{self._epochs}  {logs['image_size']} px  loss {logs['loss']:.4f}  "
            f"accuracy {logs['accuracy']:.4f}  validation loss {logs['val_loss']:.4f}  "
            f"validation accuracy {logs['val_accuracy']:.4f}  {logs['seconds']:.0f} s"
        )
        if self._bar.disable:
            print(line, file=sys.stderr, flush=True)
        else:
            self._bar.console.print(line, highlight=False)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Takes the bar away."""
        self._bar.stop()


class EstimateTime(keras.callbacks.Callback):
    """Measures the first steps of a process and says once how long the training takes on this machine.

    The time of a step is taken to grow with the number of pixels; validation is left out.

    Args:
        sizes: image size of every epoch of the run, pixels.
        steps: of one epoch.
    """

    UNTIMED, TIMED = 2, 5  # steps; the first ones build the graph

    def __init__(self, sizes: Sequence[int], steps: int) -> None:
        super().__init__()
        self._sizes, self._steps = sizes, steps
        self._seen, self._seconds, self._done = 0, 0.0, False

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Notes the epoch, and takes the clock from validation."""
        self._epoch, self._last = epoch, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Measures a step, reading of its photos included."""
        now = time.perf_counter()
        self._seen += 1
        if self._seen > self.UNTIMED:
            self._seconds += now - self._last
        self._last = now
        if self._seen == self.UNTIMED + self.TIMED and not self._done:
            self._done = True
            say(self._sentence(self._seconds / self.TIMED, batch + 1))

    def _sentence(self, step: float, done: int) -> str:
        size = self._sizes[self._epoch]
        epochs = sum((each / size) ** 2 for each in self._sizes[self._epoch :])
        left = (epochs * self._steps - done) * step
        return (
            f"Time: about {_duration(left)} for this training on this machine (a step takes {step:.2f} s, "
            f"measured on {self.TIMED}); fewer epochs take less, for example --set stages=128:4,192:8"
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
