"""`export`: a bundle's Keras weights in other formats."""

import os
from dataclasses import dataclass
from pathlib import Path

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.download import find_bundle
from mobilevit_core.commands.evaluate import load_as
from mobilevit_core.errors import UserError


@dataclass(frozen=True)
class Exported:
    """What an export wrote.

    Attributes:
        folder: where.
        bundle: the new bundle, None for a SavedModel.
        refused: a sentence for every format that did not answer like Keras, and so was not written.
    """

    folder: Path
    bundle: Bundle | None = None
    refused: tuple[str, ...] = ()


def export(
    bundle: str | os.PathLike[str] | Bundle,
    to: str | os.PathLike[str],
    *,
    data: str | None = None,
    saved_model: bool = False,
    trunk: bool = False,
) -> Exported:
    """Converts a bundle's Keras weights again.

    Args:
        bundle: its folder, or an opened one.
        to: folder to write; must not exist.
        data: photos to compare the files on and to find the scales of int8 with; without them, drawn
            images are compared, and there is no int8.
        saved_model: write a SavedModel instead of a bundle with TFLite files.
        trunk: write what heads and trainings start from: the Keras weights, and the files without their
            classifier, cut from the bundle's own, or converted anew with the photos of `data`.

    Returns:
        What was written.

    Raises:
        UserError: no such bundle, it lacks Keras weights, the folder exists, or options contradict.
    """
    if trunk and saved_model:
        raise UserError("--trunk and --saved-model are two kinds of exports. Leave out one of them.")
    opened = find_bundle(bundle)
    folder = Path(to)
    opened.weights("keras")
    if folder.exists():
        raise UserError(f"{folder} exists already. Name a new folder with --to.")
    from mobilevit_core.conversion.export import Images, export_again, export_saved_model, export_trunk
    from mobilevit_core.tensorflow_setup import check_tensorflow

    check_tensorflow()
    if saved_model:
        export_saved_model(opened, folder)
        return Exported(folder)
    dataset = load_as(data, opened.manifest.recipe) if data else None
    if trunk:
        images = Images.of(dataset, opened.manifest.rule) if dataset else None
        return Exported(folder, export_trunk(opened, folder, images))
    written, refused = export_again(opened, folder, dataset)
    return Exported(folder, written, tuple(refused))
