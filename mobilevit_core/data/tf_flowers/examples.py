"""Photos to try the model with: of tf_flowers' test and validation split, not picked by their answers.

They are not stored here. `write_examples` fetches them one by one (1 MB) from a public repository at a fixed
commit, checks each digest, and writes who took them.
"""

import csv
import hashlib
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from mobilevit_core.errors import UserError
from mobilevit_core.files import replacing

TABLE = Path(__file__).with_name("example_photos.csv")
CREDITS = "credits.csv"
LICENCE = "CC BY 2.0"
SOURCE = (
    "https://raw.githubusercontent.com/dotnet/machinelearning-samples/427ccb68ab1da8f0600bf7653b5158ec1f04c3cb/"
    "samples/csharp/getting-started/DeepLearning_TensorFlowEstimator/ImageClassification.Train/assets/inputs/"
    "images/flower_photos_small_set/"
)
PATIENCE = 10  # seconds without a byte
MOST_BYTES = 2**20  # of one photo


@dataclass(frozen=True)
class Example:
    """One photo.

    Attributes:
        sha256: of the file.
        label: name of the class.
        photographer: who took it.
        url: where it was published, under CC BY 2.0.
        place: of the file below `SOURCE`.
    """

    sha256: str
    label: str
    photographer: str
    url: str
    place: str

    @property
    def file(self) -> str:
        """Name of the written file."""
        return f"{self.label}-{self.sha256[:8]}.jpg"


def examples() -> list[Example]:
    """The photos of the table."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return [
            Example(row["sha256"], row["class"], row["photographer"], row["url"], row["file"])
            for row in csv.DictReader(file)
        ]


def write_examples(folder: Path) -> list[Path]:
    """Fetches the photos and writes them with `credits.csv`, atomically.

    Args:
        folder: where; one that is there is replaced.

    Returns:
        The photos' files.

    Raises:
        UserError: they can't be reached, or are others than the table says.
    """
    contents = {example.file: _fetch(example) for example in examples()}
    with replacing(folder, over_folder=True) as beside:
        beside.mkdir(parents=True)
        for name, content in contents.items():
            (beside / name).write_bytes(content)
        (beside / CREDITS).write_bytes(TABLE.read_bytes())
    return present_examples(folder)


def _fetch(example: Example) -> bytes:
    try:
        with urllib.request.urlopen(SOURCE + example.place, timeout=PATIENCE) as response:
            content = response.read(MOST_BYTES)
    except OSError as error:
        raise UserError(f"The example photos can't be reached at {SOURCE} ({error}).") from None
    if hashlib.sha256(content).hexdigest() != example.sha256:
        raise UserError(f"Checksum mismatch: {SOURCE}{example.place} is another photo now.")
    return content


def present_examples(folder: Path) -> list[Path]:
    """The photos that lie in a folder of `write_examples`, in the table's order."""
    return [folder / example.file for example in examples() if (folder / example.file).is_file()]
