"""Starts the page: its options, the bundle, the server."""

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from demo.comparison import Comparison
from demo.interface import LAUNCH, build
from demo.page import is_local
from demo.uploads import Limits
from mobilevit_core.bundle.download import find_bundle
from mobilevit_core.errors import UserError

WEIGHTS = Path(__file__).parent / "weights"
HOSTS = """\
A page that listens on this machine alone (the default) answers only under the names localhost, 127.0.0.1
and [::1], so that no other web site can reach it through a host name of its own. Behind a proxy that hands
on the public name, allow that name: --allow-host demo.example.org. With --host 0.0.0.0 (or
GRADIO_SERVER_NAME), and on Hugging Face Spaces, every name is let in unless some are named with
--allow-host.
"""


def options() -> argparse.ArgumentParser:
    """The command line of app.py."""
    parser = argparse.ArgumentParser(
        description="MobileViT demo: top-5 and latencies, side by side.",
        epilog=HOSTS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--bundle",
        default=str(WEIGHTS),
        help="bundle folder, or hf://OWNER/NAME[@REVISION] of one on the Hugging Face Hub",
    )
    parser.add_argument("--host", help="address to listen on; default: this machine alone (127.0.0.1)")
    parser.add_argument("--port", type=int, help="default: 7860 or the next free one")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="see below; can be repeated"
    )
    parser.add_argument("--no-mcp", action="store_true", help="do not offer the functions as MCP tools")
    parser.add_argument(
        "--teach",
        action="store_true",
        help='offer the tab "Teach it" on a hosted page, too; one for this machine alone has it anyway',
    )
    parser.add_argument("--threads", type=int, help="of each runtime; default: processors, at most 4")
    parser.add_argument(
        "--keep-uploads",
        type=_positive,
        default=Limits.lifetime_seconds,
        metavar="SECONDS",
        help="how long an uploaded photograph stays (default: %(default)s)",
    )
    parser.add_argument(
        "--uploads-mb",
        type=_positive,
        default=Limits.total_bytes // 2**20,
        metavar="MIB",
        help="room for all uploads together (default: %(default)s)",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


def serve(arguments: argparse.Namespace) -> int:
    """Opens the bundle and serves the page until it is stopped.

    Args:
        arguments: of `options()`.

    Returns:
        Exit code: 2 for a wrong bundle, address or port.
    """
    limits = Limits(arguments.keep_uploads, arguments.uploads_mb * 2**20)
    local = is_local(arguments.host) and not arguments.allow_host
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that the uploads are deleted
    try:
        comparison = Comparison(find_bundle(arguments.bundle), arguments.threads)
        page = build(comparison, limits, local, teach=local or arguments.teach)
        page.launch(
            server_name=arguments.host,
            server_port=arguments.port,
            mcp_server=not arguments.no_mcp,
            allow_hosts=arguments.allow_host,
            **LAUNCH,
        )
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except (OSError, OverflowError, ValueError) as error:  # the last: Gradio can't reach its own server
        print(f"Error: the address or the port can't be used: {error}", file=sys.stderr)
        return 2
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs app.py's command line."""
    return serve(options().parse_args(arguments))
