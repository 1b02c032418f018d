"""`python -m mobilevit_core`, and the command `mobilevit` of the installed package."""

from mobilevit_core.cli import app


def main() -> None:
    """Runs the command line as `mobilevit`."""
    app(prog_name="mobilevit")


if __name__ == "__main__":  # a benchmark's processes import this file too
    app(prog_name="python -m mobilevit_core")
