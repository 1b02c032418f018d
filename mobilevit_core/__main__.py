"""`python -m mobilevit_core`."""

from mobilevit_core.cli import app

app(prog_name="python -m mobilevit_core")
