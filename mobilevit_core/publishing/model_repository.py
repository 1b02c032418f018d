"""A bundle as a model repository: its files, Keras's unpacked form beside them, and the model card."""

import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from mobilevit_core.bundle.bundle import EXAMPLE_FILES, FILES, Bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError, reason
from mobilevit_core.images.photo_file import shown_name
from mobilevit_core.inference.runtimes import check_keras_file
from mobilevit_core.publishing.card import model_card
from mobilevit_core.publishing.targets import KERAS_FOLDER

README = "README.md"


def copy_bundle(bundle: Bundle, folder: Path, formats: Sequence[str], examples: bool = False) -> None:
    """Copies a bundle. The photos of its report are other people's, and stay where they are.

    Args:
        bundle: an opened bundle.
        folder: to write to; made if it is not there.
        formats: the weight formats that are copied.
        examples: whether its example photos are copied, too.

    Raises:
        UserError: a weight file is not the one that the bundle was written with.
    """
    weights = {bundle.weights(name).name for name in formats}
    photos = set(EXAMPLE_FILES) if examples else set()
    for name in set(FILES) - {fmt.file for fmt in FORMATS.values()} | weights | photos:
        source, target = bundle.file(name), folder / name
        if source:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)


def write_model_repository(
    bundle: Bundle, folder: Path, repository: str, license: str | None, examples: bool = False
) -> None:
    """Writes the folder that becomes a model repository.

    Args:
        bundle: an opened bundle.
        folder: to write to; must exist.
        repository: OWNER/NAME, which the card's examples load.
        license: the Hub's name of a licence; default: as `card.licence_of`.
        examples: whether the bundle's example photos are published, too.

    Raises:
        UserError: a weight file is not the one that the bundle was written with.
    """
    copy_bundle(bundle, folder, bundle.present, examples)
    if "keras" in bundle.present:
        unpack_keras(folder / FORMATS["keras"].file, folder)
    card = model_card(bundle, repository, license)
    (folder / README).write_text(str(card), encoding="utf-8")


def unpack_keras(file: Path, folder: Path) -> None:
    """Unpacks a .keras file: `keras.saving.load_model("hf://OWNER/NAME")` reads this form alone.

    Raises:
        UserError: the file holds anything else, which Keras would not find again in the folder.
    """
    try:
        check_keras_file(file)
        with zipfile.ZipFile(file) as archive:
            if set(archive.namelist()) != set(KERAS_FOLDER):
                held = shown_name(", ".join(archive.namelist()))
                raise UserError(f"{file.name} holds {held}, not {', '.join(KERAS_FOLDER)}.")
            archive.extractall(folder)  # zipfile keeps members inside the folder, and the names are known
    except zipfile.BadZipFile as error:
        raise UserError(f"{file.name} is not a complete .keras file: {reason(error)}.") from error
