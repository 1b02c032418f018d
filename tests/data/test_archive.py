"""Data in a zip or CSV file, and what is refused."""

import csv
import io
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from mobilevit_core.data import archive
from mobilevit_core.data.listing import listed_paths
from mobilevit_core.data.loading import load_dataset, load_described
from mobilevit_core.errors import UserError
from tests.drawing import draw_folder, noise_folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(archive.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def zipped(folder: Path, path: Path, inside: str = "") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for photo in sorted(folder.rglob("*.jpg")):
            file.write(photo, inside + photo.relative_to(folder).as_posix())
        file.writestr("__MACOSX/red/._00.jpg", b"x")
    return path


def test_a_zip_is_the_folder_in_it(photo_folder: Path, tmp_path: Path, cache: Path) -> None:
    path = zipped(photo_folder, tmp_path / "my photos.zip", "wrapper/")
    dataset, expected = load_dataset(str(path)), load_dataset(str(photo_folder))
    assert dataset.name == str(path) and dataset.class_names == expected.class_names
    digests = [
        {split: sorted(photo.sha256 for photo in photos) for split, photos in each.splits.items()}
        for each in (dataset, expected)
    ]
    assert digests[0] == digests[1]
    (unpacked,) = (cache / "unpacked").iterdir()
    before = unpacked.stat().st_mtime_ns
    again = load_described(dataset.describe(), "default", 0)
    assert again.describe()["digest"] == dataset.describe()["digest"]
    assert unpacked.stat().st_mtime_ns == before  # not unpacked a second time


def test_a_zip_with_other_things_is_found_again(photo_folder: Path, tmp_path: Path) -> None:
    path = zipped(photo_folder, tmp_path / "photos.zip")
    more = noise_folder(tmp_path / "more", {"_other": 12})
    with zipfile.ZipFile(path, "a") as file:
        for photo in sorted(more.rglob("*.jpg")):
            file.write(photo, f"_other/{photo.name}")
    dataset = load_dataset(str(path))
    assert [source.data for source in dataset.sources] == [str(path), f"{path}/_other"]
    again = load_described(dataset.describe(), "default", 0)
    assert again.describe() == dataset.describe()


def raw_zip(path: Path, photos: Path, names: dict[str, bytes], extra: dict[str, bytes] | None = None) -> Path:
    """A zip file whose names are these bytes and whose flags say nothing about them.

    Args:
        path: of the zip file.
        photos: a folder of class folders.
        names: class folder -> the bytes that are written in place of it, with the separator.
        extra: class folder -> its name as Info-ZIP's extra field has it.
    """
    body, central, count = b"", b"", 0
    for photo in sorted(photos.rglob("*.jpg")):
        kind, content = photo.parent.name, photo.read_bytes()
        name, more = names[kind] + photo.name.encode(), b""
        if extra:
            unicode = f"{extra[kind].decode()}/{photo.name}".encode()
            more = struct.pack("<HHBL", 0x7075, 5 + len(unicode), 1, zlib.crc32(name)) + unicode
        sizes = (zlib.crc32(content), len(content), len(content), len(name), len(more))
        central += struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 0, 0, 0, *sizes, 0, 0, 0, 0, len(body))
        central += name + more
        body += struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0, *sizes) + name + more + content
        count += 1
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, len(central), len(body), 0)
    path.write_bytes(body + central + end)
    return path


GERMAN = {"blue": "Gänseblümchen", "green": "Röschen", "red": "Tulpe"}
CHINESE = {"blue": "雏菊", "green": "玫瑰", "red": "郁金香"}


def test_names_of_a_mac_are_utf8_and_composed(photo_folder: Path, tmp_path: Path) -> None:
    names = {k: unicodedata.normalize("NFD", f"Blüten/{v}/").encode() for k, v in GERMAN.items()}
    dataset = load_dataset(str(raw_zip(tmp_path / "mac.zip", photo_folder, names)))
    assert dataset.class_names == tuple(sorted(GERMAN.values()))
    assert not [note for note in dataset.notes if "UTF-8" in note]


def test_names_of_an_old_western_code_page_are_right(photo_folder: Path, tmp_path: Path) -> None:
    names = {k: f"{v}/".encode("cp437") for k, v in GERMAN.items()}
    dataset = load_dataset(str(raw_zip(tmp_path / "old.zip", photo_folder, names)))
    assert dataset.class_names == tuple(sorted(GERMAN.values()))
    assert not [note for note in dataset.notes if "UTF-8" in note]


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("gbk", CHINESE),
        ("shift_jis", {"blue": "ひなぎく", "green": "ばら", "red": "花"}),
        ("cp866", {"blue": "Ромашка", "green": "Роза", "red": "Тюльпан"}),
    ],
)
def test_names_in_an_unknown_code_page_are_told(
    encoding: str, names: dict[str, str], photo_folder: Path, tmp_path: Path
) -> None:
    written = {k: f"{v}/".encode(encoding) for k, v in names.items()}
    dataset = load_dataset(str(raw_zip(tmp_path / "old.zip", photo_folder, written)))
    (note,) = (note for note in dataset.notes if "they are not UTF-8" in note)
    assert all(name in note for name in dataset.class_names)


def test_names_in_the_extra_field_are_used(photo_folder: Path, tmp_path: Path) -> None:
    names = {k: f"{v}/".encode("gbk") for k, v in CHINESE.items()}
    extra = {k: v.encode() for k, v in CHINESE.items()}
    dataset = load_dataset(str(raw_zip(tmp_path / "winrar.zip", photo_folder, names, extra)))
    assert dataset.class_names == tuple(sorted(CHINESE.values()))


def test_backslashes_of_powershell_separate_folders(photo_folder: Path, tmp_path: Path) -> None:
    names = {kind: f"photos\\{kind}\\".encode() for kind in GERMAN}
    dataset = load_dataset(str(raw_zip(tmp_path / "powershell.zip", photo_folder, names)))
    assert dataset.class_names == ("blue", "green", "red")
    with pytest.raises(UserError, match="would be written outside"):
        load_dataset(str(raw_zip(tmp_path / "out.zip", photo_folder, dict.fromkeys(GERMAN, b"..\\..\\"))))


def test_a_refusal_names_the_zip_and_not_the_cache(tmp_path: Path, cache: Path) -> None:
    path = zipped(noise_folder(tmp_path / "one", {"red": 3}), tmp_path / "one.zip")
    with pytest.raises(UserError, match="one.zip.* holds only one class folder") as told:
        load_dataset(str(path))
    assert str(cache) not in str(told.value)
    path = zipped(noise_folder(tmp_path / "two", {"red": 6, "blue": 6}), tmp_path / "two.zip")
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("red/notes.txt", "x")
    (skipped,) = load_dataset(str(path)).skipped
    assert skipped.path == f"{path}/red/notes.txt"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("../outside.jpg", "outside of its folder"),
        ("red/../../outside.jpg", "outside of its folder"),
        ("/etc/outside.jpg", "outside of its folder"),
        ("..\\outside.jpg", "outside of its folder"),
        ("C:\\outside.jpg", "outside of its folder"),
    ],
)
def test_nothing_leads_out_of_an_archive(name: str, message: str, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(zipfile.ZipInfo("red/00.jpg"), b"x")
        info = zipfile.ZipInfo("placeholder")
        info.filename = name
        file.writestr(info, b"x")
    with pytest.raises(UserError, match=message):
        load_dataset(str(path))
    assert not cache.exists() and not (tmp_path / "outside.jpg").exists()


def test_a_bomb_is_refused_before_anything_is_written(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name in ("red/1.jpg", "blue/1.jpg"):
            file.writestr(name, bytes(60 * 2**20))
    assert path.stat().st_size < 2**20
    with pytest.raises(UserError, match="Photos hardly shrink"):
        load_dataset(str(path))
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["emptied", "removed", "changed", "a folder"])
def test_what_was_damaged_in_the_cache_is_unpacked_again(
    damage: str, photo_folder: Path, tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = zipped(photo_folder, tmp_path / "photos.zip")
    expected = load_dataset(str(path)).describe()
    victim = next((cache / "unpacked").rglob("red/*.jpg"))
    content = victim.read_bytes()
    victim.unlink()
    if damage == "a folder":
        victim.mkdir()
    elif damage != "removed":
        victim.write_bytes(b"" if damage == "emptied" else content[:-9] + b"otherwise")
    capsys.readouterr()
    assert load_dataset(str(path)).describe() == expected and victim.read_bytes() == content
    assert "is damaged: it is unpacked again" in " ".join(capsys.readouterr().err.split())


def test_a_file_that_is_larger_than_declared_is_refused(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "lies.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("red/1.jpg", bytes(100_000))
    content = path.read_bytes()
    size = (100_000).to_bytes(4, "little")
    assert content.count(size) == 2  # in the local header and in the directory
    path.write_bytes(content.replace(size, (10).to_bytes(4, "little")))
    with pytest.raises(UserError, match="damaged, or not a zip"):
        load_dataset(str(path))
    assert not list((cache / "unpacked").iterdir())  # nothing half written


def test_links_encryption_and_damage_are_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("red/link.jpg")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "link.zip", "w") as file:
        file.writestr(link, "/etc/passwd")
    with pytest.raises(UserError, match="is a link"):
        load_dataset(str(tmp_path / "link.zip"))
    with zipfile.ZipFile(tmp_path / "secret.zip", "w") as file:
        file.writestr("red/1.jpg", b"x")
    content = bytearray((tmp_path / "secret.zip").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the directory's flag for encryption
    (tmp_path / "secret.zip").write_bytes(content)
    with pytest.raises(UserError, match="is encrypted"):
        load_dataset(str(tmp_path / "secret.zip"))
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(UserError, match="damaged, or not a zip file"):
        load_dataset(str(tmp_path / "text.zip"))


def listing(folder: Path, rows: list[list[str]], header: tuple[str, ...] = ("path", "label")) -> Path:
    text = io.StringIO()
    csv.writer(text).writerows([header, *rows])
    path = folder / "photos.csv"
    path.write_bytes(text.getvalue().encode())
    return path


def test_a_csv_names_photos_and_classes(tmp_path: Path) -> None:
    photos = sorted(draw_folder(tmp_path / "images").rglob("*.jpg"))
    rows = [[photo.relative_to(tmp_path).as_posix(), f"a {photo.parent.name}"] for photo in photos]
    path = listing(tmp_path, rows, ("File", " Class"))
    dataset = load_dataset(str(path))
    assert dataset.class_names == ("a blue", "a green", "a red") and dataset.name == str(path)
    assert {split: len(members) for split, members in dataset.splits.items()} == {
        "train": 24,
        "validation": 3,
        "test": 3,
    }
    again = load_described(dataset.describe(), "default", 0)
    assert again.describe() == dataset.describe()


def test_a_csv_may_say_the_splits(tmp_path: Path) -> None:
    photos = sorted(noise_folder(tmp_path / "images", {"cat": 8, "dog": 8}).rglob("*.jpg"))
    words = ["Train"] * 5 + ["val"] + ["test"] * 2
    rows = [
        [photo.relative_to(tmp_path).as_posix(), photo.parent.name, words[number % 8]]
        for number, photo in enumerate(photos)
    ]
    dataset = load_dataset(str(listing(tmp_path, rows, ("path", "label", "split"))))
    assert dataset.split_scheme == "folders"
    assert {split: len(members) for split, members in dataset.splits.items()} == {
        "train": 10,
        "validation": 2,
        "test": 4,
    }


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([["a.jpg", "cat"]], ("path", "kind"), "no column label; its first line is: path, kind"),
        ([["../a.jpg", "cat"]], ("path", "label"), "line 2: ../a.jpg lies outside"),
        ([["/etc/hosts", "cat"]], ("path", "label"), "line 2: /etc/hosts lies outside"),
        ([["a.jpg", "cat"], ["b.jpg", ""]], ("path", "label"), "line 3: there is no label"),
        ([["a.jpg", "cat", "exam"]], ("path", "label", "split"), "'exam' is not a split"),
        ([["a.jpg", "cat"]], ("path", "label"), r"has one class \(cat\) only"),
        ([], ("path", "label"), "has no rows"),
    ],
)
def test_mistakes_in_a_csv_are_named(
    rows: list[list[str]], header: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        load_dataset(str(listing(tmp_path, rows, header)))


def test_a_folder_without_subfolders_shows_the_layout(tmp_path: Path) -> None:
    noise_folder(tmp_path / "mine", {"": 7})
    with pytest.raises(UserError, match="7 photos but no subfolders.*mine/cat/1.jpg"):
        load_dataset(str(tmp_path / "mine"))


@pytest.mark.parametrize(
    ("written", "header", "separator"),
    [
        (lambda path: path.replace("/", "\\"), "path,label", ","),
        (lambda path: "C:\\Users\\Eva\\photos\\" + path.replace("/", "\\"), "path,label", ","),
        (lambda path: f"/home/eva/photos/{path}", "path,label", ","),
        (lambda path: path.removesuffix(".jpg"), "image_id,label", ","),
        (lambda path: f"https://example.org/photos/{path}?size=large", "image_url,label", ","),
        (lambda path: path, "image_path;label", ";"),
        (lambda path: path, "id\timg_path\tspecies", "\t"),
    ],
)
def test_lists_of_other_machines_are_read(
    written: Callable[[str], str], header: str, separator: str, tmp_path: Path
) -> None:
    folder = noise_folder(tmp_path / "photos", {"blue": 10, "red": 10})
    lines = [header]
    for number, photo in enumerate(sorted(folder.rglob("*.jpg"))):
        row = [written(photo.relative_to(folder).as_posix()), photo.parent.name]
        lines.append(separator.join([str(number), *row] if header.startswith("id") else row))
    table = folder / "photos.csv"
    table.write_text("\n".join(lines))
    dataset = load_dataset(str(table))
    assert dataset.class_names == ("blue", "red")
    assert sum(len(photos) for photos in dataset.splits.values()) == 20
    moved = [note for note in dataset.notes if "20 of 20 paths were found below" in note]
    assert len(moved) == (written("a.jpg") != "a.jpg" or "\\" in written("a/b.jpg"))
    assert sorted(listed_paths(table)) == sorted(folder.rglob("*.jpg"))


def test_files_of_a_list_that_are_not_there_are_counted(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path, {"blue": 10, "red": 10})
    rows = [[path.relative_to(folder).as_posix(), path.parent.name] for path in folder.rglob("*.jpg")]
    gone = [["red/gone.jpg", "red"], ["blue/gone.jpg", "red"]]
    dataset = load_dataset(str(listing(folder, rows + gone)))
    assert sum(len(photos) for photos in dataset.splits.values()) == 20
    assert [n for n in dataset.notes if "2 of 22 rows" in n and "not there, such as red/gone.jpg" in n]
    gone[1][1] = "blue"
    with pytest.raises(UserError, match="2 of 2 rows .*such as red/gone.jpg. Paths must be relative to"):
        load_dataset(str(listing(folder, gone)))
    web = [[f"https://example.org/{number}.jpg", "red" if number % 2 else "blue"] for number in range(9)]
    with pytest.raises(UserError, match="9 of 9 rows .*Nothing is downloaded"):
        load_dataset(str(listing(folder, web)))


def test_labels_in_several_spellings_are_one_class(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path, {"blue": 10, "red": 10})
    rows = [[path.relative_to(folder).as_posix(), path.parent.name] for path in folder.rglob("*.jpg")]
    rows = [[path, label.title() if number % 2 else label] for number, (path, label) in enumerate(rows)]
    dataset = load_dataset(str(listing(folder, rows)))
    assert dataset.class_names == ("Blue", "Red")
    assert len([note for note in dataset.notes if "are one class" in note]) == 2


def test_a_list_that_excel_wrote_as_unicode_text_is_read(tmp_path: Path) -> None:
    folder = noise_folder(tmp_path, {"blue": 10, "red": 10})
    rows = [f"{path.relative_to(folder)}\t{path.parent.name} ü" for path in sorted(folder.rglob("*.jpg"))]
    (folder / "photos.csv").write_text("\n".join(["path\tlabel", *rows]), encoding="utf-16")
    assert load_dataset(str(folder / "photos.csv")).class_names == ("blue ü", "red ü")
