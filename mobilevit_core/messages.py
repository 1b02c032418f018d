"""What people read while a command works: on standard error, because results go to standard output."""

from typing import Any

from rich.console import Console

MOST_NOTES = 10


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 photo", "1,200 photos"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def say(text: str) -> None:
    """Prints a sentence about what is being done."""
    console().print(text, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """Prints a sentence that does not stop the work."""
    say(f"Note: {text}")


def notes(texts: tuple[str, ...] | list[str]) -> None:
    """Prints notes; of very many only the first."""
    for text in texts[:MOST_NOTES]:
        note(text)
    if len(texts) > MOST_NOTES:
        note(f"and {len(texts) - MOST_NOTES} more.")


def warn(text: str) -> None:
    """Prints a sentence that people should act on."""
    console().print(f"Warning: {text}", style="yellow", markup=False, soft_wrap=True)


def show(table: Any) -> None:
    """Prints a table of rich."""
    console().print(table)


def console() -> Console:
    """Where messages go: standard error as it is now, because tests and programs replace it."""
    return Console(stderr=True, highlight=False, force_jupyter=False)  # its widgets would need ipywidgets
