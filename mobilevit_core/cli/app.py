"""The application: turns mistakes of people into one message and exit code 2.

Results go to standard output, all else to standard error.
"""

import io
import signal
import sys
import warnings
from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup

from mobilevit_core import messages
from mobilevit_core.errors import UserError
from mobilevit_core.files import failed_write

# Modules that the light installation lacks -> the extra that brings them.
EXTRAS = (
    dict.fromkeys(
        (
            "ai_edge_quantizer",
            "huggingface_hub",
            "keras",
            "safetensors",
            "sklearn",
            "tensorflow",
            "tensorflow_datasets",
        ),
        "train",
    )
    | dict.fromkeys(("pyarrow", "ray"), "bulk")
    | {"jax": "machines"}
)

ORDER = (
    "train",
    "finish",
    "evaluate",
    "predict",
    "export",
    "publish",
    "verify",
    "benchmark",
    "unknown",
    "examples",
)

console = Console(highlight=False)


def result(text: str) -> None:
    """Prints a line of a result."""
    console.print(text, markup=False, soft_wrap=True)


class Commands(TyperGroup):
    """Turns a UserError of any command into one message and exit code 2."""

    def list_commands(self, ctx: typer.Context) -> list[str]:
        """The commands in the order of their use."""
        return sorted(super().list_commands(ctx), key=ORDER.index)

    def invoke(self, ctx: typer.Context) -> Any:
        """Runs the command."""
        if isinstance(sys.stdout, io.TextIOWrapper):  # what it can't show is shown by its code
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with warnings.catch_warnings():
                # At 64 px the last stage has one token a pixel group: Keras doubts that, the recipes mean it.
                warnings.filterwarnings("ignore", message="You are using a softmax over axis -1")
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            messages.say(str(stop) or "Stopped.")
            raise typer.Exit(getattr(stop, "exit_code", 128 + signal.SIGINT)) from None
        except Exception as error:
            mistake = _mistake(error, ctx.invoked_subcommand)
            if mistake is None:
                raise
            raise _error_exit(mistake) from None


def _mistake(error: Exception, command: str | None) -> str | None:
    """What people can do something about, told in one message; None where it is a fault of this program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, ModuleNotFoundError):
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        needed = f"{command} needs {error.name}, which is not installed. In the folder of this project:"
        return f"{needed} pip install '.[{extra}]'" if extra else None
    if sentence := failed_write(error):
        return sentence if getattr(error, "filename", None) else f"{command} could not write: {sentence}"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return None


def _error_exit(message: str) -> typer.Exit:
    messages.console().print(f"Error: {message}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(2)


app = typer.Typer(
    cls=Commands,
    help="MobileViT from photos to a phone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
