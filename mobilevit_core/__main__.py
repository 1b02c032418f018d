"""`python -m mobilevit_core`."""

from mobilevit_core.cli import app

if __name__ == "__main__":  # a benchmark's processes import this file too
    app(prog_name="python -m mobilevit_core")
