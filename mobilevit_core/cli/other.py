"""The commands export, verify and examples."""

import json
from pathlib import Path
from typing import Annotated

import typer

from mobilevit_core import messages
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.cli.app import app, result
from mobilevit_core.cli.options import BundleArgument, DataHelp, JsonOption
from mobilevit_core.commands import export as commands
from mobilevit_core.errors import UserError


@app.command()
def export(
    bundle: BundleArgument,
    to: Annotated[Path, typer.Option(help="Folder to write to; must not exist.")],
    saved_model: Annotated[bool, typer.Option(help="Write a SavedModel instead of TFLite files.")] = False,
    data: Annotated[
        str | None, typer.Option(help=f"{DataHelp} To compare on; without it, on drawn images.")
    ] = None,
    trunk: Annotated[
        bool,
        typer.Option(
            help="Write what heads and trainings start from: Keras weights, and the files without classifier."
        ),
    ] = False,
) -> None:
    """Convert a bundle's Keras weights again: all TFLite formats (int8 only with --data), or a SavedModel."""
    exported = commands.export(bundle, to, data=data, saved_model=saved_model, trunk=trunk)
    if exported.bundle is None:
        result(f"SavedModel: {exported.folder}")
        return
    manifest = exported.bundle.manifest
    files = manifest.trunk or manifest.files
    for name, parity in manifest.parity.items():
        if name not in files:  # it was lost before the others were cut
            continue
        file = files[name]
        result(
            f"{exported.folder / file.file}: {file.bytes:,} bytes, "
            f"{parity['top1_agreement']:.1%} of {parity['images']} images top-1 agreement, the largest "
            f"difference {parity['largest_difference']:.2g}"
        )
    if "int8" not in manifest.parity and not exported.refused:
        messages.say("int8 is not among them: its scales are found on photos. Name some with --data.")
    if exported.refused:
        raise UserError("\n".join(exported.refused))


@app.command()
def verify(
    place: Annotated[Path, typer.Argument(help="A .tflite file, or the folder of a bundle.")],
    as_json: JsonOption = False,
) -> None:
    """Check .tflite files on this machine: their answers to the drawn images that they carry.

    Example: python -m mobilevit_core verify model_int8.tflite
    """
    from mobilevit_core.commands.verify import require_agreement
    from mobilevit_core.commands.verify import verify as verify_files

    verified = verify_files(place)
    if as_json:
        print(json.dumps([one.to_json() for one in verified]))
    else:
        for one in verified:
            result(
                f"{FORMATS[one.format].title}: largest difference {one.difference:.2g} on {one.images} "
                f"test images (tolerance {one.tolerance:g})"
            )
    require_agreement(verified)


@app.command(name="examples")
def write_example_photos(
    to: Annotated[Path, typer.Option(help="Folder to write to; the demo looks in the default.")] = Path(
        "demo/examples"
    ),
) -> None:
    """Fetch twelve held-out photos of tf_flowers (1 MB), with their photographers, for the page."""
    from mobilevit_core.data.tf_flowers.examples import CREDITS, LICENCE, write_examples

    written = write_examples(to)
    result(f"{len(written)} photos in {to} ({LICENCE}, photographers in {CREDITS})")
