"""Every file of the corpus: the right answer, or a refusal in one sentence."""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.cli import app
from mobilevit_core.errors import UserError
from mobilevit_core.images.isolated import IsolatedReader
from mobilevit_core.images.photo_file import read_file
from mobilevit_core.images.preprocessing import ResizeRule, prepare, preprocess
from mobilevit_core.images.reading import read_photo
from tests.hostile.corpus import ANSWERED, EITHER, REFUSED, Entry, corpus, good, write

RULE = ResizeRule(64, "center_crop", 0.875)
LIGHT = [entry for entry in corpus() if not entry.heavy]
HEAVY = [entry for entry in corpus() if entry.heavy]


@pytest.fixture(scope="module")
def reader() -> Iterator[IsolatedReader]:
    reader = IsolatedReader()
    yield reader
    reader.close()


def is_one_sentence(message: str) -> bool:
    """Short, printable, on one line, without the computer's own words."""
    return (
        10 < len(message) < 300 and message.isprintable() and " at 0x" not in message and "/" not in message
    )


def test_the_corpus_is_large_and_has_both_outcomes() -> None:
    outcomes = [entry.outcome for entry in corpus()]
    assert len(outcomes) >= 150
    assert outcomes.count(ANSWERED) > 100 and outcomes.count(REFUSED) > 80 and outcomes.count(EITHER) < 25


@pytest.mark.parametrize("entry", LIGHT, ids=[ascii(entry.name)[:40] for entry in LIGHT])
def test_reading_is_right_or_says_why_not(entry: Entry) -> None:
    try:
        pixels = read_photo(entry.content, entry.name)
    except UserError as error:
        assert entry.outcome != ANSWERED, error
        assert is_one_sentence(str(error)), error
        return
    assert entry.outcome != REFUSED
    assert entry.pixels is None or np.array_equal(pixels, entry.pixels)


def test_much_metadata_takes_no_time() -> None:
    """No loop grows with the square of a file, and nothing is inflated again and again."""
    many = [entry for entry in LIGHT if entry.name.startswith(("many-", "chunks", "tables", "fill-bytes"))]
    assert len(many) >= 8
    for entry in many:
        start = time.process_time()
        with suppress(UserError):
            read_photo(entry.content, entry.name)
        assert time.process_time() - start < 1, entry.name


def test_isolated_reading_is_the_same_bit_for_bit(reader: IsolatedReader) -> None:
    for entry in LIGHT[::3]:
        try:
            expected = preprocess(entry.content, RULE, entry.name)
            # Turned upright once, and not again by what is left of its EXIF.
            assert np.array_equal(expected, preprocess(read_photo(entry.content), RULE))
            prepared = prepare(entry.content, RULE, entry.name)
            assert np.array_equal(prepared.tensor, expected)
            assert np.array_equal(reader.prepare(entry.content, RULE, entry.name).shown, prepared.shown)
        except UserError as error:
            with pytest.raises(UserError) as told:
                reader.preprocess(entry.content, RULE, entry.name)
            assert str(told.value) == str(error)
        else:
            assert np.array_equal(reader.preprocess(entry.content, RULE, entry.name), expected)


@pytest.mark.parametrize("entry", HEAVY, ids=[entry.name for entry in HEAVY])
def test_heavy_files_end_in_time_and_the_next_photo_is_right(entry: Entry, reader: IsolatedReader) -> None:
    start = time.perf_counter()
    try:
        tensor = reader.preprocess(entry.content, RULE, entry.name)
    except UserError as error:
        assert entry.outcome != ANSWERED, error
        assert is_one_sentence(str(error)), error
    else:
        assert tensor.shape == (64, 64, 3) and entry.outcome != REFUSED
    assert time.perf_counter() - start < 15  # 8 s of work, and workers that start
    expected = preprocess(good("JPEG"), RULE)
    assert np.array_equal(reader.preprocess(good("JPEG"), RULE), expected)


def test_predict_answers_or_says_why_not(shipped: Bundle, tmp_path: Path) -> None:
    chosen = ("exif-6.jpg", "exif-odd-00.jpg", "size-2x1.png", "really-heic.jpg", "scans-2000.jpg", "-rf.jpg")
    files = {entry.name: path for path, entry in write(tmp_path)}
    for name in (*chosen, "line\nbreak.jpg", "bad\nname\x1b[31m.jpg"):
        entry = next(entry for entry in corpus() if entry.name == name)
        result = CliRunner().invoke(app, ["predict", str(shipped.folder), "--", str(files[name])])
        assert result.exit_code == (0 if entry.outcome == ANSWERED else 2), (name, result.output)
        assert "Traceback" not in result.output


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
    for path in (tmp_path / "pipe.jpg", tmp_path / "socket.jpg", Path("/dev/zero"), Path("/dev/stdin")):
        if path.name == "stdin" and path.is_file():
            continue  # the tests' own input is a file here
        start = time.perf_counter()
        with pytest.raises(UserError, match=rf"{path.name} is not a regular file"):
            read_photo(path)
        assert time.perf_counter() - start < 1
    with pytest.raises(UserError, match="is a folder"):
        read_photo(tmp_path)


def test_links_to_photos_are_followed(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(good("PNG"))
    (tmp_path / "link.png").symlink_to(tmp_path / "photo.png")
    assert np.array_equal(read_photo(tmp_path / "link.png"), read_photo(good("PNG")))


def test_never_more_than_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.jpg"
    with path.open("wb") as file:
        file.truncate(2**40)  # a terabyte of nothing
    with pytest.raises(UserError, match="sparse.jpg is larger than the limit of 64 MiB"):
        read_photo(path)
    with pytest.raises(UserError, match="limit"):
        read_file(path, "sparse.jpg", 10)


@pytest.mark.parametrize("path", ["a\0b.jpg", "x" * 5000 + ".jpg", "\ud800.jpg"])
def test_impossible_names_are_told(path: str) -> None:
    with pytest.raises(UserError) as told:
        read_photo(path)
    assert is_one_sentence(str(told.value))


def test_a_given_name_hides_the_path(tmp_path: Path, reader: IsolatedReader) -> None:
    for path in (tmp_path / "nothing.jpg", tmp_path):
        for read in (
            lambda p: read_photo(p, "The photo"),
            lambda p: reader.preprocess(p, RULE, "The photo"),
        ):
            with pytest.raises(UserError, match="photo") as told:
                read(path)
            assert "/" not in str(told.value)
