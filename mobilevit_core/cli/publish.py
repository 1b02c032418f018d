"""The command publish."""

from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal

from mobilevit_core import messages
from mobilevit_core.cli.app import app, result
from mobilevit_core.cli.options import BundleArgument
from mobilevit_core.commands import publish as commands
from mobilevit_core.publishing.targets import TARGETS

WHAT = f"One of: {', '.join(TARGETS)}. Can be repeated; default: {' and '.join(commands.DEFAULT_WHAT)}."


@app.command()
def publish(
    bundle: BundleArgument,
    repository: Annotated[str, typer.Argument(help="OWNER/NAME on the Hugging Face Hub.")],
    what: Annotated[list[str] | None, typer.Option(help=WHAT)] = None,
    private: Annotated[bool, typer.Option(help="Make new repositories private.")] = False,
    dry_run: Annotated[
        Path | None,
        typer.Option(help="Write what would be uploaded into this folder, which must not exist, and stop."),
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="The Hub's name of a licence, for example mit. Default: apache-2.0.")
    ] = None,
    with_keras: Annotated[
        bool, typer.Option(help="gradio: install TensorFlow, too (1.3 GB more), and compare with Keras.")
    ] = False,
    with_examples: Annotated[
        bool, typer.Option(help="Publish the photos that train kept in the bundle, too; they may be private.")
    ] = False,
) -> None:
    """Publish a bundle on the Hugging Face Hub: a model repository, and a page.

    A static page needs no server: the network runs in the visitors' browsers. It is free on the Hub, and
    any web server can serve it: publish BUNDLE OWNER/NAME --what static --dry-run site, then
    python -m http.server -d site
    """
    done = commands.publish(
        bundle,
        repository,
        what=what or commands.DEFAULT_WHAT,
        private=private,
        dry_run=dry_run,
        license=license,
        with_keras=with_keras,
        with_examples=with_examples,
    )
    for published in done:
        result(f"{TARGETS[published.what].title}: {published.place}")
        total = decimal(sum(published.files.values()))
        if dry_run is None:
            result(f"  {len(published.files)} files, {total}")
            continue
        for name, size in published.files.items():
            result(f"  {decimal(size):>9}  {name}")
        result(f"  {total:>9}  {len(published.files)} files")
        messages.say(TARGETS[published.what].needs)
