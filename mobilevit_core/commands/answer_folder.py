"""A folder of Parquet files with the answers of one bundle, which a killed run can go on with.

answers-000000.parquet, ...   a row per photo, in the order in which they were answered
_answers.json                 the bundle that answers here: digest, format, class names
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mobilevit_core import messages
from mobilevit_core.errors import UserError
from mobilevit_core.files import UNFINISHED, read_json, replacing, write_json
from mobilevit_core.inference.classifier import Classifier

RECORD, LOCK = "_answers.json", ".lock"
FILE_ROWS, FILE_SECONDS = 100_000, 30.0  # a file is written when either is reached
SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "answer": pa.string(),
        "score": pa.float32(),
        "unknown": pa.bool_(),
        "probabilities": pa.list_(pa.float32()),
        "error": pa.string(),
    }
)


def answer_row(classifier: Classifier, path: str) -> dict[str, Any]:
    """The row of one photo.

    Args:
        classifier: a loaded bundle.
        path: of the photo.

    Returns:
        Column -> value, None where there is none: a photo that can't be read has only path and error.
    """
    row: dict[str, Any] = dict.fromkeys(SCHEMA.names) | {"path": path_text(path)}
    try:
        answer = classifier.predict(path)
    except UserError as error:
        return row | {"error": path_text(str(error))}
    values = {"answer": answer.label, "score": answer.score, "unknown": answer.unknown}
    return row | values | {"probabilities": answer.probabilities.tolist()}


def path_text(path: str) -> str:
    """A path as it is written into the files: bytes that are not UTF-8 become escapes."""
    return path.encode(errors="backslashreplace").decode()


def answers_digest(classifier: Classifier) -> str:
    """SHA-256 of all that decides an answer: weights, class names, resize rule and rejection rule."""
    manifest = classifier.bundle.manifest
    rejection = asdict(manifest.rejection) if manifest.rejection else None
    rules = json.dumps([manifest.class_names, manifest.rule.to_json(), rejection], sort_keys=True)
    weights = classifier.bundle.weights(classifier.format).read_bytes()
    return hashlib.sha256(rules.encode() + weights).hexdigest()


class AnswerFolder:
    """The folder. Only one process writes into it, and only whole files.

    Args:
        path: made on the first use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextmanager
    def claimed(self, classifier: Classifier) -> Iterator[None]:
        """Keeps other processes and other bundles out, and removes what a killed process had half written.

        Raises:
            UserError: another process writes here, or the folder holds answers of another bundle or
                something else.
        """
        from filelock import FileLock, Timeout

        if self._files() and not (self.path / RECORD).exists():
            raise UserError(f"{self.path} holds other Parquet files. Name a new folder.")
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / LOCK, timeout=0):
                for leftover in self.path.glob(f"{UNFINISHED}*"):
                    leftover.unlink()
                self._check_record(classifier)
                yield
        except Timeout:
            raise UserError(f"Another process writes into {self.path}. Wait until it ends.") from None

    def left(self, photos: Sequence[str | os.PathLike[str]]) -> list[str]:
        """Absolute paths of the photos that no file here holds, each once, in the given order."""
        done = {path for column in self._columns("path") for path in column.to_pylist()}
        paths = dict.fromkeys(os.path.abspath(photo) for photo in photos)
        return [path for path in paths if path_text(path) not in done]

    def write(self, tables: Iterable[pa.Table], total: int) -> None:
        """Writes rows as they come; those before an error stay.

        Args:
            tables: of `SCHEMA`.
            total: rows that are expected, for the messages.
        """
        rows: list[pa.Table] = []
        written, began = 0, time.monotonic()
        try:
            for table in tables:
                rows.append(table.cast(SCHEMA))
                if sum(map(len, rows)) >= FILE_ROWS or time.monotonic() - began >= FILE_SECONDS:
                    written += self._write_file(rows)
                    messages.say(f"{written:,} of {total:,} photos answered")
                    rows, began = [], time.monotonic()
        finally:
            self._write_file(rows)

    def counts(self) -> tuple[int, int]:
        """Rows, and how many of them are photos that could not be read."""
        columns = list(self._columns("error"))
        return sum(map(len, columns)), sum(len(column) - column.null_count for column in columns)

    def _files(self) -> list[Path]:
        return sorted(self.path.glob("*.parquet"))

    def _columns(self, name: str) -> Iterator[pa.ChunkedArray]:
        for path in self._files():
            try:
                yield pq.read_table(path, columns=[name], partitioning=None)[name]
            except (pa.ArrowException, OSError) as error:
                raise UserError(f"{path} is damaged: {error}. Remove it and start again.") from None

    def _write_file(self, rows: list[pa.Table]) -> int:
        if rows:
            paths = (self.path / f"answers-{number:06d}.parquet" for number in count(len(self._files())))
            with replacing(next(path for path in paths if not path.exists())) as beside:
                pq.write_table(pa.concat_tables(rows), beside)
        return sum(map(len, rows))

    def _check_record(self, classifier: Classifier) -> None:
        path = self.path / RECORD
        names = list(classifier.bundle.manifest.class_names)
        record = {"digest": answers_digest(classifier), "format": classifier.format, "class_names": names}
        try:
            if not path.exists():
                write_json(path, record)
            elif read_json(path) != record:
                raise UserError(f"{self.path} holds answers of another bundle or format. Name a new folder.")
        except ValueError as error:
            raise UserError(f"{path} can't be read: {error}. Name a new folder.") from None
