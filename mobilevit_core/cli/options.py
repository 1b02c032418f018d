"""Arguments and options that several commands have."""

from typing import Annotated

import typer

from mobilevit_core.bundle.weight_formats import FORMATS

BundleArgument = Annotated[
    str,
    typer.Argument(
        help="Folder of a bundle, such as demo/weights, or hf://OWNER/NAME of one on the Hugging Face Hub."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
FormatOption = Annotated[str | None, typer.Option(help=f"One of: {', '.join(FORMATS)}.")]
DataHelp = (
    "A folder with one subfolder of photos per class, a zip file of such a folder, a CSV file with the "
    "columns path and label, or a data set of tensorflow-datasets."
)
