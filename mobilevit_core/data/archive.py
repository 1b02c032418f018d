"""A zip file of a folder with photos: unpacked once into a cache, and never out of it.

The cache is the folder MOBILEVIT_CACHE, or `mobilevit` in the user's cache folder. An archive that grows
beyond all reason, leads out of its folder, holds links or is encrypted is refused before anything is written.

Names are UTF-8 where they decode as such, whatever the archive's flags say (a Mac sets none), and composed
(NFC). A backslash separates folders: PowerShell 5 writes them.
"""

import shutil
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from mobilevit_core import messages
from mobilevit_core.data.class_names import FEWEST_CLASSES
from mobilevit_core.data.folder import read_folder
from mobilevit_core.data.gathering import Gathered, some
from mobilevit_core.errors import UserError, reason
from mobilevit_core.files import CACHE, cache_folder, file_sha256, replacing

MOST_FILES = 1_000_000
MOST_GROWTH = 20  # times the archive's size; photos hardly shrink, so more is no archive of photos
MANY_FILES, LEAST_BYTES = 10_000, 100  # an archive of more files than that has so many bytes per photo
SMALL = 100 * 2**20  # bytes, under which any growth is harmless
SPARE = 2**30  # bytes of the disk that stay free
CHUNK = 2**20
UTF8_FLAG, UNICODE_PATH = 0x800, 0x7075
FORM = "2"  # of what is unpacked: how names are read


def read_zip(path: Path, labelled: bool = True, fewest: int = FEWEST_CLASSES) -> Gathered:
    """Unpacks a zip file, unless it is unpacked already, and reads it as a folder.

    Args:
        path: the zip file.
        labelled: as `read_folder`.
        fewest: as `read_folder`.

    Raises:
        UserError: the archive is damaged or refused, or what it holds is not a data set.
    """
    folder, unreadable = unpacked(path)
    try:
        gathered = read_folder(folder, labelled, fewest)
    except UserError as error:
        raise UserError(str(error).replace(str(folder), str(path))) from None
    notes = tuple(note.replace(str(folder), str(path)) for note in gathered.notes)
    skipped = tuple(replace(s, path=s.path.replace(str(folder), str(path))) for s in gathered.skipped)
    if unreadable:
        notes += (
            f"{path} does not say how its names are written, and they are not UTF-8: {some(unreadable)}. If "
            "these are not the names of your classes, unpack it yourself and name the folder, or zip it "
            "again with UTF-8 names",
        )
    return replace(gathered, name=str(path), origin=str(path), notes=notes, skipped=skipped)


def unpacked(path: Path) -> tuple[Path, list[str]]:
    """The folder that a zip file is unpacked into, and folder names in doubt.

    Done once per content, and again after damage.

    Raises:
        UserError: the archive is damaged or refused, or the disk is too small.
    """
    try:
        digest = file_sha256(path)
        with zipfile.ZipFile(path) as archive:
            members = _members(archive, path)
            folder = cache_folder() / "unpacked" / f"{digest[:32]}-{FORM}"
            if folder.is_dir() and not _is_intact(folder, members):
                messages.note(f"{folder}, where {path} was unpacked, is damaged: it is unpacked again")
                shutil.rmtree(folder)
            if not folder.is_dir():
                _unpack(archive, members, folder, path)
    except (zipfile.BadZipFile, NotImplementedError, EOFError) as error:
        raise UserError(f"{path} is damaged, or not a zip file: {reason(error)}.") from error
    doubtful = {PurePosixPath(name).parent.name or name for name in members if not _name(members[name])[1]}
    return folder, sorted(doubtful)


def _name(member: zipfile.ZipInfo) -> tuple[str, bool]:
    """A member's path with "/" between folders, and whether it is known how its letters are written."""
    name, known = _decoded(member)
    return unicodedata.normalize("NFC", name.replace("\\", "/")), known


def _decoded(member: zipfile.ZipInfo) -> tuple[str, bool]:
    name = member.filename
    if member.flag_bits & UTF8_FLAG or name.isascii():
        return name, True
    try:
        raw = name.encode("cp437")  # as zipfile read it
        return _unicode_path(member.extra, raw) or raw.decode(), True
    except UnicodeError:
        # Western names in an old code page are right as they are; signs of any other kind are not meant.
        return name, all(s.isascii() or unicodedata.name(s, "").startswith("LATIN") for s in name)


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """The name in Info-ZIP's extra field, if it is the one of this member."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        content, extra = extra[4 : 4 + length], extra[4 + length :]
        if kind == UNICODE_PATH and content[1:5] == struct.pack("<L", zlib.crc32(raw)):
            return content[5:].decode()
    return None


def _members(archive: zipfile.ZipFile, path: Path) -> dict[str, zipfile.ZipInfo]:
    """Path -> file of an archive, system files left out; raises a UserError for what is refused."""
    members = [m for m in archive.infolist() if not m.filename.endswith(("/", "\\"))]
    if len(members) > MOST_FILES:
        raise UserError(f"{path} has {len(members):,} files; at most {MOST_FILES:,} are unpacked.")
    for member in members:
        _check_member(member, path)
    named = {_name(member)[0]: member for member in members}
    if len(named) < len(members):
        raise UserError(f"{path} has two files of the same name, so it is not unpacked.")
    size, packed = sum(member.file_size for member in members), path.stat().st_size
    if len(members) > MANY_FILES and size < LEAST_BYTES * len(members):
        raise UserError(
            f"{path} has {len(members):,} files of {size / len(members):.0f} bytes on average, which are no "
            "photos, so it is not unpacked."
        )
    if size > SMALL and size > MOST_GROWTH * packed:
        raise UserError(
            f"{path} would grow from {packed / 1e6:,.0f} MB to {size / 1e6:,.0f} MB. Photos hardly "
            "shrink in a zip file, so it is not unpacked. If it is right, unpack it yourself."
        )
    return {name: member for name, member in named.items() if "__MACOSX" not in name.split("/")}


def _check_member(member: zipfile.ZipInfo, path: Path) -> None:
    name, _ = _name(member)
    parts = PurePosixPath(name).parts
    outside = ".." in parts or name.startswith("/") or PureWindowsPath(name).drive or "\0" in name
    if outside:
        raise UserError(f"{path} is not unpacked: {name[:80]!r} would be written outside of its folder.")
    if stat.S_ISLNK(member.external_attr >> 16):
        raise UserError(f"{path} is not unpacked: {name[:80]!r} is a link.")
    if member.flag_bits & 1:
        raise UserError(f"{path} is encrypted. Unpack it yourself and name the folder.")


def _is_intact(folder: Path, members: Mapping[str, zipfile.ZipInfo]) -> bool:
    """Whether every file is still what was unpacked, by its size and checksum."""
    for name, member in members.items():
        path, check = folder / name, 0
        try:
            if path.stat().st_size != member.file_size:
                return False
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    check = zlib.crc32(chunk, check)
        except OSError:
            return False
        if check != member.CRC:
            return False
    return True


def _unpack(
    archive: zipfile.ZipFile, members: Mapping[str, zipfile.ZipInfo], folder: Path, path: Path
) -> None:
    size = sum(member.file_size for member in members.values())
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free - SPARE
    if size > free:
        raise UserError(
            f"{path} needs {size / 1e6:,.0f} MB in {folder.parent}, where {max(free, 0) / 1e6:,.0f} MB can "
            f"be used. Free some, or name a folder on another disk: {CACHE}=/path/to/folder"
        )
    with replacing(folder) as beside:
        beside.mkdir()
        for name, member in members.items():
            _write(archive, member, beside / name)


def _write(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Writes one file; never more than the archive says that it has."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = member.file_size
    with archive.open(member) as source, target.open("xb") as file:
        while chunk := source.read(CHUNK):
            left -= len(chunk)
            if left < 0:
                raise zipfile.BadZipFile(f"{member.filename[:80]!r} is larger than the archive says")
            file.write(chunk)
