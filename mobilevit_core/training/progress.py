"""A live progress bar over a whole training run, and one line an epoch for log files."""

import sys

import keras
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn


def note(text: str) -> None:
    """Prints a sentence that does not stop the run, on standard error."""
    Console(stderr=True, highlight=False).print(f"Note: {text}", markup=False, soft_wrap=True)


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
