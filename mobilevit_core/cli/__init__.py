"""The command line: parses, calls, prints. What the commands do is in `commands`.

Libraries are imported inside the commands, so that --help and a mistyped path answer at once.
"""

from mobilevit_core.cli import evaluate, other, predict, publish, train  # noqa: F401 (they add themselves to the app)
from mobilevit_core.cli.app import EXTRAS, app

__all__ = ["EXTRAS", "app"]
