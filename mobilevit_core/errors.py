"""The one error class that means "the user can fix this"."""


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
