"""What happens between the steps and epochs of a training run."""

import math
import time

import keras

from mobilevit_core.errors import UserError
from mobilevit_core.training.devices import on_jax
from mobilevit_core.training.ema import EMA
from mobilevit_core.training.progress import TrainingProgress
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.run_folder import RunFolder
from mobilevit_core.training.state import TrainingState


class UpdateEMA(keras.callbacks.Callback):
    """Updates the averaged weights (EMA) after every step and validates with them."""

    def __init__(self, ema: EMA) -> None:
        super().__init__()
        self._ema = ema

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Takes in the step."""
        if on_jax():
            self.model.jax_state_sync()  # until then, the step's weights are not in the model
        self._ema.update()

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """EMA in."""
        self._ema.swap()

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """EMA out."""
        self._ema.swap()


class AddEpochFacts(keras.callbacks.Callback):
    """Adds the image size, learning rate and seconds of the epoch to what the history records."""

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Starts the clock."""
        self._start = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Keras hands the same dictionary on to the callbacks after this one."""
        logs["image_size"] = self.model.input_shape[1]
        logs["learning_rate"] = float(self.model.optimizer.learning_rate)
        logs["seconds"] = round(time.perf_counter() - self._start, 1)


class SaveEpoch(keras.callbacks.Callback):
    """Saves every finished epoch, unless its loss is not a number.

    Args:
        state: of the training.
        run: where to.
        learning_rate: of the recipe, for the advice.
    """

    def __init__(self, state: TrainingState, run: RunFolder, learning_rate: float) -> None:
        super().__init__()
        self._state, self._run, self._learning_rate = state, run, learning_rate

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Saves the epoch.

        Raises:
            UserError: the training has diverged.
        """
        if not math.isfinite(logs["loss"] + logs["val_loss"]):
            raise UserError(
                f"The loss of epoch {epoch + 1} is {logs['loss']}, on the validation split "
                f"{logs['val_loss']}: training diverged. The run folder keeps its last good "
                "checkpoint; try a new run with a lower rate, for example "
                f"--set learning_rate={self._learning_rate / 4:g}."
            )
        row = {key: value if isinstance(value, int) else float(value) for key, value in sorted(logs.items())}
        self._state.finish_epoch({"epoch": epoch, **row}, self._run)


def callbacks_of(
    state: TrainingState, recipe: Recipe, steps: int, run: RunFolder
) -> list[keras.callbacks.Callback]:
    """What every training does between its steps and epochs; `steps` are those of an epoch."""
    return [
        *([UpdateEMA(state.ema)] if state.ema else []),
        keras.callbacks.TerminateOnNaN(),
        AddEpochFacts(),
        SaveEpoch(state, run, recipe.learning_rate),
        TrainingProgress(recipe.epochs, steps),
    ]
