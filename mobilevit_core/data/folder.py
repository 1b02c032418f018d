"""A folder of one's own: one subfolder per class, or such folders for the splits.

photos/daisy/..., photos/tulip/...                   classes; whatever lies deeper belongs to them, too
photos/train/daisy/..., photos/test/daisy/...        the same for each split, in the usual spellings
photos/_other/...                                    photos that show none of the classes
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from mobilevit_core.data.class_names import FEWEST_CLASSES, clean_name, spelling_key
from mobilevit_core.data.dataset import OTHER_FOLDER, SPLITS, LabelledPhoto, Skipped
from mobilevit_core.data.gathering import (
    Gathered,
    Reading,
    is_photo,
    no_photo,
    read_all,
    skipped_notes,
    some,
    without_contradictions,
)
from mobilevit_core.errors import UserError
from mobilevit_core.images.containers import READ
from mobilevit_core.messages import counted

# What people call the splits when they lay them out as folders, without "set", "data", "images", digits ...
SPLIT_NAMES = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "eval", "evaluation", "dev"),
    "test": ("test", "testing", "tst"),
}
SPLIT_AFFIXES = re.compile(r"^(set|data|images?|photos?|split)+|(set|data|images?|photos?|split|folder)+$")
SYSTEM_NAMES = ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin")

NOWHERE, BACK = "links that lead nowhere", "links that lead back to a folder above them"
OUTPUT = "folders of training runs or bundles, which are no class"
RUN_FILES, BUNDLE_FILE = ("config.json", "photographs.csv"), "bundle.json"


def read_folder(folder: Path, labelled: bool = True, fewest: int = FEWEST_CLASSES) -> Gathered:
    """Reads a folder; what can't be read as a photo is left out, counted and listed.

    Args:
        folder: class folders, or folders such as train and val with class folders inside.
        labelled: False for photos of anything else: one class is enough, and so are photos without
            a class folder.
        fewest: classes that it must have, where they are labelled.

    Raises:
        UserError: the folder is not a data set; the message says what is missing.
    """
    reading = Reading(folder)
    folder = _unwrapped(folder, reading) if labelled else folder
    layout = _split_folders(folder, reading) if labelled else {}
    roots = layout or {"train": folder}
    class_names = _class_names(roots["train"], fewest) if labelled else _loose_classes(folder)
    unread = {split: _photos_below(root, class_names, reading, labelled) for split, root in roots.items()}
    beside = folder / OTHER_FOLDER if layout and (folder / OTHER_FOLDER).is_dir() else None
    if beside:
        unread[OTHER_FOLDER] = _labelled(beside, beside, len(class_names), reading)
    photos = read_all(unread, reading)
    if labelled:
        photos = without_contradictions(photos, reading)
        _check_filled(photos, roots, class_names, reading)
    folders = {split: root.name for split, root in roots.items()} if len(roots) > 1 else {}
    return Gathered(
        str(reading.folder), str(folder), class_names, photos, bool(layout), *reading.found(), folders
    )


def _is_ignored(name: str) -> bool:
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def _subfolders(folder: Path) -> list[Path]:
    """Folders right inside a folder, links to folders included, but none that leads back to it."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_dir() and not _is_ignored(path.name) and not _leads_back(path) and not _is_output(path)
    )


def _is_output(folder: Path) -> bool:
    """Whether a folder is a run or a bundle of this program, or only holds some: `cd photos; train .`"""

    def is_one(path: Path) -> bool:
        return (path / BUNDLE_FILE).is_file() or all((path / name).is_file() for name in RUN_FILES)

    if is_one(folder):
        return True
    return any(path.is_dir() and is_one(path) for path in folder.iterdir()) and not _pictures_in(folder)


def _leads_back(path: Path) -> bool:
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())


def _pictures_in(folder: Path) -> list[Path]:
    """Photos right inside a folder."""
    return sorted(
        path for path in folder.iterdir() if not _is_ignored(path.name) and path.is_file() and is_photo(path)
    )


def photos_below(folder: Path) -> tuple[list[Path], list[Skipped]]:
    """Photos below a folder, however deep, and what else is there; links are followed."""
    reading = Reading(folder)
    photos = []
    for path in _files(folder, reading, _identities(folder.resolve().parent)):
        if is_photo(path):
            photos.append(path)
        else:
            reading.skipped.append(no_photo(path))
    return photos, reading.skipped


def _unwrapped(folder: Path, reading: Reading) -> Path:
    """Goes into a folder that is only a wrapper, as unpacked archives have it."""
    while not _pictures_in(folder):
        inner = _subfolders(folder)
        if len(inner) != 1 or _pictures_in(inner[0]) or len(_subfolders(inner[0])) < 1:
            break
        folder = inner[0]
    if folder != reading.folder:
        reading.notes.append(f"the classes are taken from {folder}, the only folder there")
    return folder


def split_of(name: str) -> str | None:
    """Which split a folder's name stands for: "Train_Set" and "train2017" for "train"."""
    letters = re.sub(r"[^a-z]", "", name.lower())
    for word in (letters, SPLIT_AFFIXES.sub("", letters)):
        for split, names in SPLIT_NAMES.items():
            if word in names:
                return split
    return None


def _split_folders(folder: Path, reading: Reading) -> dict[str, Path]:
    """Split -> folder, where the person has laid the splits out; empty where the folders are classes."""
    found: dict[str, list[Path]] = defaultdict(list)
    others = []
    for path in _subfolders(folder):
        split = split_of(path.name)
        if split:
            found[split].append(path)
        elif path.name != OTHER_FOLDER:
            others.append(path.name)
    if not found or (list(found) == ["train"] and others and _pictures_in(found["train"][0])):
        return {}  # one class may well be called "train"
    if "train" not in found and not any(_subfolders(path) for paths in found.values() for path in paths):
        return {}  # people may well be called Val and Dev
    _check_split_folders(folder, found, others)
    chosen = {split: found[split][0] for split in SPLITS if split in found}
    for split, path in list(chosen.items()):
        if split != "train" and not _subfolders(path):
            count = len(_pictures_in(path))
            reading.notes.append(
                f"{path} is not used: it has {counted(count, 'photo')} outside of class folders, so "
                "nothing says what they show"
            )
            del chosen[split]
    return chosen


def _check_split_folders(folder: Path, found: dict[str, list[Path]], others: list[str]) -> None:
    named = ", ".join(path.name for paths in found.values() for path in paths)
    several = [paths for paths in found.values() if len(paths) > 1]
    if several:
        same = " and ".join(path.name for path in several[0])
        raise UserError(f"{folder} has two folders for the same split: {same}. Keep one, or join them.")
    if others:
        raise UserError(
            f"{folder} has folders for the splits ({named}) beside others ({', '.join(sorted(others))}). "
            "Move the others away, or the splits; if a split's name is meant as a class, rename the folder."
        )
    if "train" not in found:
        raise UserError(
            f"{folder} has folders for splits ({named}), but none to train on. Add a folder named train, or "
            "rename these if they are meant as classes."
        )


def _class_folders(root: Path) -> dict[str, list[Path]]:
    """Class name -> its folders, in order of the names; several where one name has several spellings."""
    names: dict[str, str] = {}
    folders: dict[str, list[Path]] = defaultdict(list)
    for path in _subfolders(root):
        if path.name != OTHER_FOLDER:
            folders[names.setdefault(spelling_key(path.name), clean_name(path.name))].append(path)
    return dict(sorted(folders.items()))


def has_classes(data: str) -> bool:
    """Whether a source tells classes: by subfolders, or as a zip or CSV file or a data set's name."""
    return not Path(data).is_dir() or bool(_class_folders(Path(data)))


def _class_names(root: Path, fewest: int) -> tuple[str, ...]:
    names = list(_class_folders(root))
    loose = len(_pictures_in(root)) if not names else 0
    if loose:
        raise UserError(
            f"{root} holds {counted(loose, 'photo')} but no subfolders, so nothing says what they show. "
            "Sort them into one subfolder per class, for example "
            f"{root / 'cat'}/1.jpg and {root / 'dog'}/2.jpg."
        )
    if len(names) < fewest:
        what = f"only one class folder ({names[0]})" if names else "no class folders"
        raise UserError(
            f"{root} holds {what}. A classifier needs at least two subfolders of photos, "
            "one per class, for example photos/daisy and photos/tulip."
        )
    return tuple(names)


def _loose_classes(folder: Path) -> tuple[str, ...]:
    """Names of the subfolders, and "" for photos that lie beside them."""
    return (*_class_folders(folder), *([OTHER_FOLDER] if (folder / OTHER_FOLDER).is_dir() else []), "")


def _photos_below(
    root: Path, class_names: tuple[str, ...], reading: Reading, labelled: bool
) -> list[LabelledPhoto]:
    """All files of one root with their labels, nothing of them read yet."""
    labels = {spelling_key(name): label for label, name in enumerate(class_names) if name}
    folders = _class_folders(root)
    unknown = [name for name in folders if spelling_key(name) not in labels]
    if unknown:
        raise UserError(f"{root} has classes that training lacks: {', '.join(unknown)}.")
    if (root / OTHER_FOLDER).is_dir():
        folders[OTHER_FOLDER] = [root / OTHER_FOLDER]
    labels.setdefault(spelling_key(OTHER_FOLDER), len(class_names))
    photos = [
        photo
        for name, paths in folders.items()
        for path in paths
        for photo in _labelled(path, root, labels[spelling_key(name)], reading)
    ]
    _note_spellings(folders, reading)
    _note_left_out(root, reading)
    loose = _pictures_in(root)
    if not labelled:
        return photos + [LabelledPhoto(path.name, class_names.index(""), path) for path in loose]
    _note_groups(folders, reading)
    for path in loose:
        reading.skip(path, "beside the class folders, so without a class")
    return photos


def _labelled(folder: Path, root: Path, label: int, reading: Reading) -> list[LabelledPhoto]:
    return [
        LabelledPhoto(path.relative_to(root).as_posix(), label, path)
        for path in _files(folder, reading, _identities(root))
    ]


def _note_spellings(folders: dict[str, list[Path]], reading: Reading) -> None:
    """Names the folders that became one class, spaces and code points visible where they differ in them."""
    for name, paths in folders.items():
        if len(paths) > 1:
            spelled = " and ".join(ascii(path.name) for path in paths)
            reading.notes.append(f"the folders {spelled} of {paths[0].parent} are one class, {name!r}")


def _note_left_out(root: Path, reading: Reading) -> None:
    """Names what lies right inside a root and is no class: links that lead nowhere or back, and runs."""
    for path in sorted(root.iterdir()):
        if _is_ignored(path.name):
            continue
        if path.is_symlink() and _leads_back(path):
            reading.skip(path, BACK)
        elif path.is_symlink() and not path.exists():
            reading.skip(path, NOWHERE)
        elif path.is_dir() and _is_output(path):
            reading.skip(path, OUTPUT)


def _note_groups(folders: dict[str, list[Path]], reading: Reading) -> None:
    """Says so where class folders hold folders only: perhaps those are meant as the classes."""
    for name, folder in ((name, path) for name, paths in folders.items() for path in paths):
        if _pictures_in(folder):
            continue
        inner = [path.name for path in _subfolders(folder)]
        if len(inner) > 1:
            reading.notes.append(
                f"{folder} holds only folders ({some(inner)}); all of them are one class, {name!r}. If each "
                f"is meant as a class, give the folders above them: --data {folder}, and so on"
            )


def _files(folder: Path, reading: Reading, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    """Files below a folder in order of their names, links followed, hidden and system files left out."""
    identity = _identity(folder)
    if identity in above:
        reading.skip(folder, BACK)
        return
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        path = folder / entry.name
        if _is_ignored(entry.name):
            continue
        if entry.is_dir() and _is_output(path):
            reading.skip(path, OUTPUT)
        elif entry.is_dir():
            yield from _files(path, reading, (*above, identity))
        elif entry.is_file():
            yield path
        else:
            reading.skip(path, NOWHERE if entry.is_symlink() else "not files")


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _identities(folder: Path) -> tuple[tuple[int, int], ...]:
    """Of a folder and all folders above it."""
    path = folder.resolve()
    return tuple(_identity(each) for each in (path, *path.parents))


def _check_filled(
    photos: dict[str, tuple[LabelledPhoto, ...]],
    roots: dict[str, Path],
    class_names: tuple[str, ...],
    reading: Reading,
) -> None:
    """Every class folder must hold at least one readable photo."""
    labels = {spelling_key(name): label for label, name in enumerate(class_names)}
    for split, root in roots.items():
        filled = {photo.label for photo in photos[split]}
        for name, (folder, *_) in _class_folders(root).items():
            if labels[spelling_key(name)] not in filled:
                inside = [s for s in reading.skipped if Path(s.path).is_relative_to(folder)]
                raise UserError(
                    f"Class {name!r} has no readable photo in {folder}. Add {READ} "
                    "files or remove the folder." + "".join(f"\n  {note}" for note in skipped_notes(inside))
                )
