"""A CSV file of paths and labels, with the photos below its folder.

    path,label
    images/001.jpg,cat
    images/002.jpg,dog

A third column, `split`, may say train, validation or test for every row. Columns may be separated by
semicolons or tabs. Paths of another machine (Windows, a web address) mean the file below the list's folder
whose path ends alike; a suffix may be missing.
"""

import csv
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mobilevit_core.data.class_names import FEWEST_CLASSES, clean_name, spelling_key
from mobilevit_core.data.dataset import NONE_OF_THESE, OTHER_FOLDER, LabelledPhoto
from mobilevit_core.data.folder import split_of
from mobilevit_core.data.gathering import Gathered, Reading, read_all, without_contradictions
from mobilevit_core.errors import UserError, reason
from mobilevit_core.images.photo_file import shown_name
from mobilevit_core.images.reading import SUFFIXES

# What the columns may be called, in any case; of several the first in this order.
COLUMNS = {
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "file_path", "image_path", "image_name"),
        *("image", "img_path", "img_name", "img", "photo", "photograph", "image_id", "id", "image_url"),
    ),
    "label": ("label", "labels", "class", "class_name", "category", "target", "species", "breed"),
    "split": ("split", "set", "subset"),
}
SEPARATORS = (",", ";", "\t")
MOST_BYTES = 2**30
WEB_ADDRESS = re.compile(r"[a-z][a-z0-9]+://[^/]*/?", re.IGNORECASE)
OTHER = (OTHER_FOLDER, NONE_OF_THESE)  # labels of photos of other things
LAYOUT = "The first line must name the columns: path,label (and split, if you like)."


class Row(NamedTuple):
    """One line of a table.

    Attributes:
        written: the path as it stands there.
        file: what it means; perhaps not there.
        label: the class.
        split: of `dataset.SPLITS`, "" where the table does not say.
    """

    written: str
    file: Path
    label: str
    split: str


def read_listing(path: Path, fewest: int = FEWEST_CLASSES) -> Gathered:
    """Reads a CSV file of photos.

    Args:
        path: the CSV file; paths in it are relative to its folder, and may not lead out of it.
        fewest: classes that it must have.

    Raises:
        UserError: a column is missing, a row is incomplete or leads out of the folder, or there are too
            few classes; the message names the line.
    """
    reading = Reading(path)
    rows = _rows(path)
    names = _class_names(path, rows, reading, fewest)
    rows = _those_there(path, rows, reading)
    present = {spelling_key(row.label) for row in rows}
    names = [name for name in names if spelling_key(name) in present]
    numbers = {spelling_key(name): label for label, name in enumerate(names)}
    numbers |= dict.fromkeys(map(spelling_key, OTHER), len(names))
    unread: dict[str, list[LabelledPhoto]] = {}
    for _, file, label, split in rows:
        name = file.relative_to(path.parent).as_posix() if file.is_relative_to(path.parent) else str(file)
        photo = LabelledPhoto(name, numbers[spelling_key(label)], file)
        unread.setdefault(split or "train", []).append(photo)
    laid_out = any(split for *_, split in rows)
    if laid_out and not unread.get("train"):
        raise UserError(f"{path} has no row of the split train.")
    photos = without_contradictions(read_all(unread, reading), reading)
    return Gathered(str(path), str(path), tuple(names), photos, laid_out, *reading.found())


def listed_paths(table: Path) -> list[Path]:
    """The files that a CSV or Parquet table names in its column `path`, relative to the table's folder.

    Args:
        table: ends in .csv or .parquet; the column may have the other names of `COLUMNS`, too.

    Raises:
        UserError: the table is damaged, has no such column, or names no file.
    """
    names = _parquet_paths(table) if table.suffix.lower() == ".parquet" else _csv_paths(table)
    paths = [_file(table.parent, name) for name in names if name]
    if not paths:
        raise UserError(f"{table} names no files.")
    return paths


def _file(folder: Path, written: str) -> Path:
    """The file that a table's path means, whether it is there or not.

    As it is written; else, with the suffix that is missing, or the file below the folder whose path ends as
    that of another machine or of a web address does.
    """
    path = folder / written
    if "\0" in written or path.is_file():
        return path
    address = WEB_ADDRESS.match(written)
    parts = (written[address.end() :].split("?")[0] if address else written.replace("\\", "/")).split("/")
    for start in range(len(parts)):
        rest = [part for part in parts[start:] if part]
        if not rest or ".." in rest:
            continue
        for suffix in ("", *SUFFIXES, *(suffix.upper() for suffix in SUFFIXES)):
            found = folder.joinpath(*rest[:-1], f"{rest[-1]}{suffix}")
            if found.is_file():
                return found
    return path


def _csv_paths(path: Path) -> list[str]:
    with _opened(path) as table:
        column = _columns(path, list(table.fieldnames or ()), ("path",))["path"]
        return [(line[column] or "").strip() for line in table]


def _parquet_paths(path: Path) -> list[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = _columns(path, pq.read_schema(path).names, ("path",))["path"]
        return pq.read_table(path, columns=[column], partitioning=None)[column].cast(pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise UserError(
            f"{path} is not a Parquet file with text in its column path: {reason(error)}."
        ) from None


def _those_there(path: Path, rows: list[Row], reading: Reading) -> list[Row]:
    """The rows whose file is there, with notes on the others and on files that are elsewhere than it says.

    Raises:
        UserError: none is there.
    """
    there = [row for row in rows if row.file.is_file()]
    missing = [row.written for row in rows if not row.file.is_file()]
    if missing:
        what = f"{len(missing):,} of {len(rows):,} rows of {path} name files that are not there, such as "
        what += shown_name(missing[0])
        if not there and WEB_ADDRESS.match(missing[0]):
            raise UserError(f"{what}. Nothing is downloaded: get the files, and write their paths.")
        if not there:
            raise UserError(f"{what}. Paths must be relative to {path.parent}.")
        reading.notes.append(what)
    moved = [row for row in there if row.file != path.parent / row.written]
    if moved:
        found = moved[0].file.relative_to(path.parent).as_posix()
        reading.notes.append(
            f"{len(moved):,} of {len(rows):,} paths were found below {path.parent} in another form, "
            f"such as {shown_name(moved[0].written)} as {shown_name(found)}"
        )
    return there


def _class_names(path: Path, rows: list[Row], reading: Reading, fewest: int) -> list[str]:
    """The first spelling of each class, and a note where there are several; a UserError for too few."""
    spellings: dict[str, list[str]] = {}
    for label in sorted({row.label for row in rows}):
        if label not in OTHER:
            spellings.setdefault(spelling_key(label), []).append(label)
    for first, *others in spellings.values():
        if others:
            spelled = " and ".join(map(ascii, (first, *others)))
            reading.notes.append(f"the labels {spelled} are one class, {clean_name(first)!r}")
    names = sorted(clean_name(first) for first, *_ in spellings.values())
    if len(names) < fewest:
        what = f"one class ({names[0]}) only" if names else "no classes"
        raise UserError(f"{path} has {what}. A classifier needs at least two.")
    return names


def _rows(path: Path) -> list[Row]:
    """Every row of a table."""
    with _opened(path) as table:
        columns = _columns(path, list(table.fieldnames or ()), ("path", "label"))
        rows = [_row(path, line, columns, table.line_num) for line in table if any(line.values())]
    if not rows:
        raise UserError(f"{path} has no rows. {LAYOUT}")
    return rows


@contextmanager
def _opened(path: Path) -> Iterator["csv.DictReader[str]"]:
    """A CSV file's lines; what is wrong with them becomes a UserError."""
    if path.stat().st_size > MOST_BYTES:
        raise UserError(f"{path} is larger than {MOST_BYTES // 2**20} MB.")
    try:
        with path.open("rb") as file:
            wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")  # Excel's "Unicode text"
        with path.open(newline="", encoding="utf-16" if wide else "utf-8-sig") as file:
            first = file.readline()
            file.seek(0)
            separator = max(SEPARATORS, key=first.count)
            yield csv.DictReader(file, strict=True, delimiter=separator)
    except UnicodeError:
        raise UserError(f"{path} is not UTF-8 text. Save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {reason(error)}.") from None


def _columns(path: Path, header: list[str], needed: tuple[str, ...]) -> dict[str, str]:
    """What is meant -> the column's name in the file."""
    columns = {column.strip().lower(): column for column in header if column}
    found = {
        meant: columns[name]
        for meant, names in COLUMNS.items()
        for name in reversed(names)
        if name in columns
    }
    for meant in needed:
        if meant not in found:
            has = ", ".join(str(column) for column in header[:8]) or "nothing"
            layout = f" {LAYOUT}" if "label" in needed else ""
            raise UserError(f"{path} has no column {meant}; its first line is: {has}.{layout}")
    return found


def _row(path: Path, line: Mapping[str, str | None], columns: Mapping[str, str], number: int) -> Row:
    values = {meant: (line.get(column) or "").strip() for meant, column in columns.items()}
    for meant in ("path", "label"):
        if not values[meant]:
            raise UserError(f"{path}, line {number}: there is no {meant}.")
    file = _file(path.parent, values["path"])
    here = not Path(values["path"]).is_absolute() or "\0" in values["path"] or file.exists()
    if here and not file.resolve().is_relative_to(path.parent.resolve()):
        raise UserError(
            f"{path}, line {number}: {values['path'][:80]} lies outside of {path.parent}. Move the CSV file "
            "into a folder above all photos."
        )
    split = values.get("split", "")
    if split and not split_of(split):
        raise UserError(f"{path}, line {number}: {split!r} is not a split; use train, validation or test.")
    return Row(values["path"], file, values["label"], split_of(split) or "")
