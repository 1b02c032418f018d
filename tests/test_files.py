"""Atomic writing, and careful reading of JSON."""

import errno
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.files import (
    CACHE,
    UNFINISHED,
    failed_write,
    not_writable,
    read_json,
    replacing,
    write_bytes,
    write_json,
)


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    write_bytes(path, b"old")
    with replacing(path) as beside:
        assert beside.parent == tmp_path and beside.suffix == ".h5" and not beside.exists()
        assert beside.name.startswith(UNFINISHED)
        beside.write_bytes(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("folder", [False, True])
def test_what_failed_leaves_nothing(folder: bool, tmp_path: Path) -> None:
    path = tmp_path / "made"
    with pytest.raises(OSError, match="disk full"), replacing(path) as beside:
        if folder:
            (beside / "inner").mkdir(parents=True)
            (beside / "inner" / "half").write_bytes(b"half")
        else:
            beside.write_bytes(b"half")
        raise OSError("disk full")
    assert not any(tmp_path.iterdir())


def test_a_folder_is_only_replaced_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "made"
    (path / "old").mkdir(parents=True)
    with pytest.raises(OSError, match="made"), replacing(path) as beside:
        beside.mkdir()
    assert (path / "old").is_dir() and list(tmp_path.iterdir()) == [path]
    with replacing(path, over_folder=True) as beside:
        beside.mkdir()
        (beside / "new").touch()
    assert [entry.name for entry in path.iterdir()] == ["new"] and list(tmp_path.iterdir()) == [path]


def test_the_loser_of_two_programs_is_told(tmp_path: Path) -> None:
    path = tmp_path / "made"
    with pytest.raises(FileExistsError, match="another program has made this folder meanwhile"):
        with replacing(path) as mine:
            (mine / "mine").mkdir(parents=True)
            (path / "theirs").mkdir(parents=True)
    assert [entry.name for entry in path.iterdir()] == ["theirs"] and list(tmp_path.iterdir()) == [path]


FULL_DISK = """
import resource
from mobilevit_core.cli import app
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
app()
"""


@pytest.mark.parametrize("options", [(), ("--saved-model",)], ids=str)
def test_an_export_onto_a_full_disk_is_told(
    options: tuple[str, ...], small_bundle: Bundle, tmp_path: Path
) -> None:
    """A limit on the size of files stands for the disk: it fails in the same places."""
    command = [sys.executable, "-c", FULL_DISK, "export", small_bundle.folder]
    command += ["--to", tmp_path / "out", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert line.endswith((f"{tmp_path / 'out'}: File too large.", "could not write: File too large."))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("write", [lambda p: p.write_bytes(b"x" * 9999), lambda p: shutil.copy(__file__, p)])
def test_a_write_that_fails_names_what_was_to_be_made(
    write: Callable[[Path], object], tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.raises(OSError, match="File too large") as caught:
        with replacing(tmp_path / "made") as beside:
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
            try:
                write(beside)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.filename == str(tmp_path / "made") and not_writable(caught.value) == "File too large"
    assert not any(tmp_path.iterdir())


def test_reasons_of_libraries_are_recognized() -> None:
    text = "Can't write data (errno = 28, error message = 'No space left on device')"
    assert not_writable(RuntimeError(text)) == "No space left on device"
    assert not_writable(OSError(errno.ENOENT, "No such file")) is None


def test_the_way_out_of_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE, str(tmp_path / "cache"))

    def told(place: str | None) -> str | None:
        return failed_write(OSError(errno.ENOSPC, "No space left on device", place))

    run, kept = str(tmp_path / "run" / "bundle"), str(tmp_path / "cache" / "trunks")
    assert told(run) == f"{run}: No space left on device. Free some there, or name a folder on another disk."
    assert told(kept).endswith(f"or name another cache folder: {CACHE}=/path/to/folder")
    assert tempfile.gettempdir() in told(None)
    assert (
        failed_write(OSError(errno.EROFS, "Read-only file system", run)) == f"{run}: Read-only file system."
    )
    assert failed_write(OSError(errno.ENOENT, "No such file", run)) is None


def test_everything_is_on_the_disk_before_the_renaming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    monkeypatch.setattr("os.fsync", lambda _: done.append("fsync"))
    monkeypatch.setattr("os.replace", lambda *_: done.append("replace"))
    with replacing(tmp_path / "made") as beside:
        beside.mkdir()
        (beside / "one").touch()
    assert done == ["fsync", "fsync", "replace", "fsync"]  # file, folder; then the folder that has the name


def test_json_survives_also_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    value = {"photo": "caf\udce9.jpg", "class": "向日葵", "share": 0.25, "none": None}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not JSON"),
        (b"{", "it is not JSON"),
        (b"\xff\xfe{}", "it is not UTF-8 text"),
        (b'{"a": 1, "b": 2, "a": 3}', "it has the key 'a' twice"),
        (b'{"a": NaN}', "it has the number NaN, which is not finite"),
        (b'{"a": -Infinity}', "not finite"),
        (b'{"a": 1e999}', "it has the number 1e999, which is not finite"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "it has a number of 10000 digits"),
        (b"[" * 100_000, "too many levels"),
        (b'{"a":' * 100_000, "too many levels"),
        (b"[" * 65 + b"]" * 65, "too many levels"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_damaged_json_is_told_in_a_few_words(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as caught:
        read_json(path)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            b"{" + b",".join(b'"%d": 1' % n for n in range(100_000)) + b', "99999": 2}',
            "the key '99999' twice",
        ),
        (b"[" + b"[]," * 20_000_000 + b"[]]", "more than 1,000,000 lists, objects and keys"),
        (b"[" + b"{}," * 20_000_000 + b"{}]", "more than 1,000,000 lists, objects and keys"),
        (b"{" + b'"":1,' * 10_000_000 + b'"":1}', "more than 1,000,000 lists, objects and keys"),
    ],
    ids=["keys", "lists", "objects", "same-keys"],
)
def test_json_of_many_parts_takes_no_time(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    start = time.process_time()
    with pytest.raises(ValueError, match=said):
        read_json(path)
    assert time.process_time() - start < 1


def test_json_may_have_64_levels_and_64_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"[" * 64 + b"]" * 64)
    assert json.dumps(read_json(path)) == "[" * 64 + "]" * 64
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(ValueError, match="it is larger than 64 MB"):
        read_json(path)
