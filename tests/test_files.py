"""Atomic writing, and careful reading of JSON."""

import json
from pathlib import Path

import pytest

from mobilevit_core.files import read_json, replacing, write_bytes, write_json


def test_a_file_is_replaced_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "weights.h5"
    write_bytes(path, b"old")
    with replacing(path) as beside:
        assert beside.parent == tmp_path and beside.suffix == ".h5" and not beside.exists()
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


def test_json_may_have_64_levels_and_64_megabytes(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"[" * 64 + b"]" * 64)
    assert json.dumps(read_json(path)) == "[" * 64 + "]" * 64
    with path.open("wb") as file:
        file.truncate(64 * 2**20 + 1)
    with pytest.raises(ValueError, match="it is larger than 64 MB"):
        read_json(path)
