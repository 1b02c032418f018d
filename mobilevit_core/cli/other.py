"""The commands export, verify, examples and weights check."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer

from mobilevit_core import messages
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.cli.app import app, console, result
from mobilevit_core.cli.options import BundleArgument, DataHelp, JsonOption
from mobilevit_core.commands import export as commands
from mobilevit_core.errors import UserError


@app.command()
def export(
    bundle: BundleArgument,
    to: Annotated[Path, typer.Option(help="Folder to write to; must not exist.")],
    saved_model: Annotated[bool, typer.Option(help="Write a SavedModel instead of TFLite files.")] = False,
    data: Annotated[
        str | None, typer.Option(help=f"{DataHelp} To compare on; without it, on drawn pictures.")
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
            f"{parity['same_top1']:.1%} of {parity['pictures']} pictures as Keras, largest difference "
            f"{parity['largest_difference']:.2g}"
        )
    if "int8" not in manifest.parity and not exported.refused:
        messages.say("int8 is not among them: its scales are found on photographs. Name some with --data.")
    if exported.refused:
        raise UserError("\n".join(exported.refused))


@app.command()
def verify(
    place: Annotated[Path, typer.Argument(help="A .tflite file, or the folder of a bundle.")],
    as_json: JsonOption = False,
) -> None:
    """Check .tflite files on this machine: their answers to the drawn pictures that they carry.

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
                f"{FORMATS[one.format].title}: largest difference {one.difference:.2g} on {one.pictures} "
                f"test pictures (tolerance {one.tolerance:g})"
            )
    require_agreement(verified)


@app.command(name="examples")
def write_example_photos(
    to: Annotated[Path, typer.Option(help="Folder to write to; the demo looks in the default.")] = Path(
        "demo/examples"
    ),
) -> None:
    """Write ten test photographs of tf_flowers, with their photographers, for the demo's gallery."""
    from mobilevit_core.data.tf_flowers.examples import CREDITS, LICENCE, write_examples

    written = write_examples(to)
    result(f"{len(written)} photographs in {to} ({LICENCE}, photographers in {CREDITS})")


weights_app = typer.Typer(no_args_is_help=True, help="Weights that others released.")
app.add_typer(weights_app, name="weights")


@weights_app.command()
def check(
    source: Annotated[str, typer.Argument(help="imagenet, hf://OWNER/NAME or a safetensors file.")],
    picture: Annotated[Path, typer.Option(help="COCO's 000000039769.jpg.")],
    variant: Annotated[str, typer.Option(help="xxs, xs or s.")] = "xxs",
    as_json: JsonOption = False,
) -> None:
    """Compare released weights with the logits that were published for them.

    The picture is http://images.cocodataset.org/val2017/000000039769.jpg, saved to a file.
    """
    from mobilevit_core.models.create import check_variant
    from mobilevit_core.models.published_logits import check_published

    check_variant("paper", variant)
    outcome = check_published(source, variant, picture)
    if as_json:
        print(json.dumps({**dataclasses.asdict(outcome), "passed": outcome.passed}))
    else:
        for title, values in (("published", outcome.expected), ("measured", outcome.measured)):
            console.print(f"{title:9} {' '.join(f'{value:8.4f}' for value in values)}")
        console.print(f"largest difference {outcome.difference:.1e}")
    if not outcome.passed:
        raise UserError(f"{source} does not give the published logits for {picture}.")
