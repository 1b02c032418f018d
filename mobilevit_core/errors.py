"""The one error class that means "the user can fix this"."""

LONGEST_REASON = 200  # characters


class UserError(Exception):
    """A mistake in the input, told in one message that names the input and the way out.

    The command line prints the message and leaves with exit code 2; the demo shows it on the page.
    Anything else that is raised is a fault of this project and keeps its traceback.
    """


class Stopped(KeyboardInterrupt):
    """A run that was told to stop (Ctrl-C, SIGTERM), or must go on in another process, and has kept all.

    Args:
        message: what is kept and how to go on.
        exit_code: 128 and the signal's number; 0 where nothing was cut short.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def reason(error: Exception) -> str:
    """A library's message as a part of a sentence: on one line, printable, without its full stop, and short.

    Args:
        error: about a file that somebody else may have written, of which it may quote anything.
    """
    said = str(error)[: 2 * LONGEST_REASON]
    words = "".join(sign if sign.isprintable() else " " for sign in said).split()
    text = " ".join(words).rstrip(".") or type(error).__name__
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}..."
