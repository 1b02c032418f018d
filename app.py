"""Starts the demo: `python app.py`, or as a Hugging Face Space."""

import argparse
import sys
from pathlib import Path

from demo.comparison import Comparison
from demo.interface import LAUNCH, build
from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.errors import UserError

parser = argparse.ArgumentParser(description="MobileViT demo: top-5 and latencies, side by side.")
parser.add_argument("--bundle", default=Path(__file__).parent / "demo" / "weights", help="bundle folder")
parser.add_argument("--port", type=int, help="default: 7860 or the next free one")
parser.add_argument("--no-mcp", action="store_true", help="do not offer the functions as MCP tools")
parser.add_argument("--threads", type=int, help="of each runtime; default: processors, at most 4")

if __name__ == "__main__":
    arguments = parser.parse_args()
    try:
        page = build(Comparison(open_bundle(arguments.bundle), arguments.threads))
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    try:
        page.launch(server_port=arguments.port, mcp_server=not arguments.no_mcp, **LAUNCH)
    except (OSError, OverflowError) as error:
        print(f"Error: the port can't be used: {error}", file=sys.stderr)
        sys.exit(2)
