"""`predict`: answers for photos, folders of them and glob patterns, as they come."""

import csv
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_core import messages
from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.folder import photos_below
from mobilevit_core.data.gathering import skipped_notes
from mobilevit_core.data.listing import listed_paths
from mobilevit_core.errors import UserError
from mobilevit_core.files import cell
from mobilevit_core.images.containers import READ
from mobilevit_core.inference.answer import Answer
from mobilevit_core.inference.classifier import Classifier

TABLES = (".csv", ".tsv", ".parquet")
MOST_NAMED = 20  # files of one kind that are not photos


def find_photos(places: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The photos that are meant.

    Args:
        places: files, folders (every photo in them, however deep; other files are named in a note),
            glob patterns such as "photos/*.jpg" or "photos/**/*.png", and CSV or Parquet files with a column
            `path`, relative to their folder.

    Returns:
        Files, in the order given, those of a folder or pattern by name; each once. A file that is named is
        among them even if it does not exist.

    Raises:
        UserError: nothing is found in a folder, by a pattern or in a table.
    """
    found: dict[Path, None] = {}
    for place in places:
        found |= dict.fromkeys(_found(Path(place)))
    return list(found)


def _found(place: Path) -> list[Path]:
    if place.is_dir():
        inside = _inside(place)
        if not inside:
            raise UserError(f"The folder {place} holds no photos ({READ}).")
        return inside
    if place.suffix.lower() in TABLES and place.is_file():
        return listed_paths(place)
    if place.exists() or not glob.has_magic(str(place)):
        return [place]
    matching = sorted(Path(path) for path in glob.glob(_literally_where_there(place), recursive=True))
    if not matching:
        raise UserError(f"No file matches {place}.")
    inner = (_inside(path) if path.is_dir() else [path] for path in matching)
    return [path for paths in inner for path in paths]


def _literally_where_there(pattern: Path) -> str:
    """The pattern, but for folders that are there and have brackets or stars in their own names."""
    start = Path(pattern.anchor)
    for part in pattern.relative_to(start).parts:
        if not (start / part).is_dir():
            break
        start /= part
    return os.path.join(glob.escape(str(start)), pattern.relative_to(start))


def _inside(folder: Path) -> list[Path]:
    """The photos of a folder; what else it holds is named on standard error."""
    photos, skipped = photos_below(folder)
    messages.notes([f"{folder}: {note}" for note in skipped_notes(skipped, MOST_NAMED)])
    return photos


def predictions(classifier: Classifier, photos: Sequence[Path]) -> Iterator[tuple[Path, Answer | UserError]]:
    """Answers for many photos; several are read at a time, memory is bounded.

    Args:
        classifier: a loaded bundle.
        photos: files.

    Yields:
        Each photo with its answer, or with the error where it can't be read.
    """

    def read(photo: Path) -> np.ndarray | UserError:
        try:
            return classifier.tensor(photo)
        except UserError as error:
            return error

    for photo, tensor in zip(photos, in_order(read, photos), strict=True):
        yield photo, tensor if isinstance(tensor, UserError) else classifier.answer(tensor)


@contextmanager
def answer_table(path: Path, top: int) -> Iterator[Callable[[Path, Answer | UserError], None]]:
    """A CSV file with a row per photo, each written at once.

    Args:
        path: replaced if it is there.
        top: classes per row.

    Yields:
        What writes a photo's row.
    """
    with path.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        writer = csv.writer(file)

        def write(*values: Any) -> None:
            writer.writerow([cell(value) for value in values])
            file.flush()

        def add(photo: Path, answer: Answer | UserError) -> None:
            if isinstance(answer, UserError):
                write(str(photo), "", "", "", "", str(answer))
                return
            (label, score), *others = answer.top(top)
            rest = [value for pair in others for value in (pair[0], f"{pair[1]:.6f}")]
            unknown = str(answer.unknown).lower()
            write(str(photo), label, f"{score:.6f}", unknown, answer.format, "", *rest)

        others = [f"{name}_{place}" for place in range(2, top + 1) for name in ("label", "score")]
        write("photograph", "label", "score", "unknown", "format", "error", *others)
        yield add
