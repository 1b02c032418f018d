"""The one error class that means "the person can mend this"."""


class UserError(Exception):
    """A mistake in the input, told in one message that names the input and the way out.

    The command line prints the message and leaves with exit code 2; the demo shows it on the page.
    Anything else that is raised is a fault of this project and keeps its traceback.
    """
