"""A CSV file of paths and labels, with the photographs below its folder.

    path,label
    images/001.jpg,cat
    images/002.jpg,dog

A third column, `split`, may say train, validation or test for every row.
"""

import csv
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mobilevit_core.data.dataset import NONE_OF_THESE, OTHER_FOLDER, LabelledPhoto
from mobilevit_core.data.folder import split_of
from mobilevit_core.data.gathering import Gathered, Reading, read_all, without_contradictions
from mobilevit_core.errors import UserError, reason

# What the columns may be called, in any case.
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "image", "photo", "photograph"),
    "label": ("label", "class", "class_name", "category"),
    "split": ("split", "set", "subset"),
}
MOST_BYTES = 2**30
LAYOUT = "The first line must name the columns: path,label (and split, if you like)."


def read_listing(path: Path) -> Gathered:
    """Reads a CSV file of photographs.

    Args:
        path: the CSV file; paths in it are relative to its folder, and may not lead out of it.

    Raises:
        UserError: a column is missing, a row is incomplete or leads out of the folder, or there are fewer
            than two classes; the message names the line.
    """
    reading = Reading(path)
    rows = _rows(path)
    names = sorted({label for _, label, _ in rows} - {OTHER_FOLDER, NONE_OF_THESE})
    if len(names) < 2:
        what = f"one class ({names[0]}) only" if names else "no classes"
        raise UserError(f"{path} has {what}. A classifier needs at least two.")
    numbers = {name: label for label, name in enumerate(names)} | {
        OTHER_FOLDER: len(names),
        NONE_OF_THESE: len(names),
    }
    unread: dict[str, list[LabelledPhoto]] = {}
    for file, label, split in rows:
        name = file.relative_to(path.parent).as_posix() if file.is_relative_to(path.parent) else str(file)
        photo = LabelledPhoto(name, numbers[label], file)
        unread.setdefault(split or "train", []).append(photo)
    laid_out = any(split for _, _, split in rows)
    if laid_out and not unread.get("train"):
        raise UserError(f"{path} has no row of the split train.")
    photos = without_contradictions(read_all(unread, reading), reading)
    return Gathered.read(str(path), str(path), tuple(names), photos, laid_out, reading)


def listed_paths(table: Path) -> list[Path]:
    """The files that a CSV or Parquet table names in its column `path`, relative to the table's folder.

    Args:
        table: ends in .csv or .parquet; the column may have the other names of `COLUMNS`, too.

    Raises:
        UserError: the table is damaged, has no such column, or names no file.
    """
    names = _parquet_paths(table) if table.suffix.lower() == ".parquet" else _csv_paths(table)
    paths = [table.parent / name for name in names if name]
    if not paths:
        raise UserError(f"{table} names no files.")
    return paths


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


def _rows(path: Path) -> list[tuple[Path, str, str]]:
    """File, label and split ("" for none) of every row."""
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
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.DictReader(file, strict=True)
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text. Save it as CSV UTF-8.") from None
    except csv.Error as error:
        raise UserError(f"{path} is not a CSV file: {reason(error)}.") from None


def _columns(path: Path, header: list[str], needed: tuple[str, ...]) -> dict[str, str]:
    """What is meant -> the column's name in the file."""
    found = {
        meant: column
        for meant, names in COLUMNS.items()
        for column in header
        if column and column.strip().lower() in names
    }
    for meant in needed:
        if meant not in found:
            has = ", ".join(str(column) for column in header[:8]) or "nothing"
            layout = f" {LAYOUT}" if "label" in needed else ""
            raise UserError(f"{path} has no column {meant}; its first line is: {has}.{layout}")
    return found


def _row(
    path: Path, line: Mapping[str, str | None], columns: Mapping[str, str], number: int
) -> tuple[Path, str, str]:
    values = {meant: (line.get(column) or "").strip() for meant, column in columns.items()}
    for meant in ("path", "label"):
        if not values[meant]:
            raise UserError(f"{path}, line {number}: there is no {meant}.")
    file = path.parent / values["path"]
    if "\0" in values["path"] or not file.resolve().is_relative_to(path.parent.resolve()):
        raise UserError(
            f"{path}, line {number}: {values['path'][:80]} lies outside of {path.parent}. Move the CSV file "
            "into a folder above all photographs."
        )
    split = values.get("split", "")
    if split and not split_of(split):
        raise UserError(f"{path}, line {number}: {split!r} is not a split; use train, validation or test.")
    return file, values["label"], split_of(split) or ""
