"""Photographs to try the model with: the first two of each class of tf_flowers' test split, not picked.

They are not stored here. `write_examples` takes them from the data set, by digest, and writes who took them.
"""

import csv
import os
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError, reason
from mobilevit_core.files import replacing

TABLE = Path(__file__).with_name("example_photos.csv")
CREDITS = "credits.csv"
DATA, LICENCE, DOWNLOAD_MB = "tf_flowers", "CC BY 2.0", 218
SOURCE = "http://download.tensorflow.org"  # where tensorflow-datasets fetches it from
PATIENCE = 10  # seconds


@dataclass(frozen=True)
class Example:
    """One photograph.

    Attributes:
        sha256: of the file.
        label: name of the class.
        photographer: who took it.
        url: where it was published, under CC BY 2.0.
    """

    sha256: str
    label: str
    photographer: str
    url: str

    @property
    def file(self) -> str:
        """Name of the written file."""
        return f"{self.label}-{self.sha256[:8]}.jpg"


def examples() -> list[Example]:
    """The photographs of the table."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [
            Example(row["sha256"], row["class"], row["photographer"], row["url"])
            for row in csv.DictReader(file)
        ]


def write_examples(folder: Path) -> list[Path]:
    """Writes the photographs and `credits.csv`, atomically.

    Args:
        folder: where; one that is there is replaced.

    Returns:
        The photographs' files.

    Raises:
        UserError: the data set can't be fetched, or lacks a photograph.
    """
    _check_source()
    wanted = {example.sha256: example for example in examples()}
    found = {photo.sha256: photo for photo in load_dataset(DATA).split("test") if photo.sha256 in wanted}
    missing = [example.file for digest, example in wanted.items() if digest not in found]
    if missing:
        raise UserError(f"{DATA} lacks the photographs {', '.join(missing)}; was it prepared from elsewhere?")
    with replacing(folder, over_folder=True) as beside:
        beside.mkdir(parents=True)
        for digest, example in wanted.items():
            (beside / example.file).write_bytes(found[digest].source)
        (beside / CREDITS).write_bytes(TABLE.read_bytes())
    return present_examples(folder)


def is_prepared() -> bool:
    """Whether the data set lies on this machine; told by its files, because importing TFDS takes seconds."""
    folder = Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
    return any((folder / DATA).glob("*/dataset_info.json"))


def _check_source() -> None:
    """Without network, tensorflow-datasets would try for a quarter of an hour before it says so."""
    import tensorflow_datasets as tfds

    if tfds.builder(DATA).is_prepared():
        return
    try:
        urllib.request.urlopen(SOURCE, timeout=PATIENCE).close()
    except urllib.error.HTTPError:
        pass  # it answers
    except OSError as error:
        raise UserError(
            f"{DATA} is not prepared here, and {SOURCE}, where it comes from, can't be reached "
            f"({reason(error)})."
        ) from None


def present_examples(folder: Path) -> list[Path]:
    """The photographs that lie in a folder of `write_examples`, in the table's order."""
    return [folder / example.file for example in examples() if (folder / example.file).is_file()]
