"""A folder of one's own: one subfolder a class, or such folders for the parts."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from mobilevit_core.data.dataset import JOINING, PARTS, SPLITS, LabelledPhoto, PhotoDataset
from mobilevit_core.errors import UserError
from mobilevit_core.images.reading import SUFFIXES, read_photo

# What people call the parts when they lay them out as folders.
FOLDER_NAMES = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


def load_folder(folder: Path, split: str, seed: int) -> PhotoDataset:
    """Reads a folder; what can't be read as a photograph is left out and noted.

    Args:
        folder: class folders, or folders such as train and val with class folders inside.
        split: a key of `SPLITS`, for a folder that does not come in parts; "whole" joins parts.
        seed: decides who goes into which part.

    Raises:
        UserError: the folder is no data set; the message says what is missing.
    """
    layout = _parts_layout(folder)
    roots = layout or {"train": folder}
    class_names = _class_folders(roots["train"])
    photos, notes = {}, []
    for part, root in roots.items():
        unknown = set(_class_folders(root)) - set(class_names)
        if unknown:
            raise UserError(f"{root} has classes that {roots['train']} lacks: {', '.join(sorted(unknown))}.")
        photos[part], unreadable = _readable(_photos_below(root, class_names), class_names, root)
        notes += unreadable
    if layout and split != JOINING:
        if "validation" not in photos:
            photos |= _divide(photos.pop("train"), {"train": 90, "validation": 10}, seed)
        return PhotoDataset(str(folder), "folders", class_names, photos, tuple(notes))
    joined = [
        replace(photo, name=f"{roots[part].name}/{photo.name}") if layout else photo
        for part, members in photos.items()
        for photo in members
    ]
    return PhotoDataset(str(folder), split, class_names, _divide(joined, SPLITS[split], seed), tuple(notes))


def _parts_layout(folder: Path) -> dict[str, Path]:
    """Part -> folder, where the person has laid the parts out; empty where the folders are classes."""
    folders = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = {
        part: path for path in folders for part, names in FOLDER_NAMES.items() if path.name.lower() in names
    }
    if "train" not in found or len(found) < 2:
        return {}
    others = sorted(path.name for path in folders if path not in found.values())
    if others:
        raise UserError(
            f"{folder} has folders for the parts ({', '.join(p.name for p in found.values())}) beside others "
            f"({', '.join(others)}). Move the others away, or the parts, if they are meant as classes."
        )
    return {part: found[part] for part in PARTS if part in found}


def _class_folders(root: Path) -> tuple[str, ...]:
    names = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if len(names) < 2:
        what = f"only one class folder ({names[0]})" if names else "no class folders"
        raise UserError(
            f"{root} holds {what}. A classifier needs at least two subfolders of photographs, "
            "one a class, for example photos/daisy and photos/tulip."
        )
    return tuple(names)


def _photos_below(root: Path, class_names: tuple[str, ...]) -> list[LabelledPhoto]:
    return [
        LabelledPhoto(path.relative_to(root).as_posix(), label, path)
        for label, name in enumerate(class_names)
        if (root / name).is_dir()
        for path in sorted((root / name).rglob("*"))
        if path.is_file() and not any(name.startswith(".") for name in path.relative_to(root).parts)
    ]


def _readable(
    photos: list[LabelledPhoto], class_names: tuple[str, ...], root: Path
) -> tuple[tuple[LabelledPhoto, ...], list[str]]:
    """Leaves out what is no photograph or is damaged, and says so; every class must keep at least one."""
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(_problem, photos))
    kept = tuple(photo for photo, problem in zip(photos, problems, strict=True) if problem is None)
    notes = [f"skipped {problem}" for problem in problems if problem is not None]
    filled = Counter(photo.label for photo in kept)
    for label, name in enumerate(class_names):
        if not filled[label] and (root / name).is_dir():
            raise UserError(
                f"Class {name!r} has no readable photograph in {root / name}. Add JPEG, PNG or WebP files "
                "or remove the folder." + "".join(f"\n  {note}" for note in notes[:5])
            )
    return kept, notes


def _problem(photo: LabelledPhoto) -> str | None:
    suffix = photo.source.suffix.lower()
    if suffix not in SUFFIXES:
        return f"{photo.source}: {suffix or 'no suffix'} is none of {', '.join(SUFFIXES)}"
    try:
        read_photo(photo.source)
    except UserError as error:
        return str(error)
    return None


def _divide(
    photos: Iterable[LabelledPhoto], shares: Mapping[str, int], seed: int
) -> dict[str, tuple[LabelledPhoto, ...]]:
    """Splits every class by the given percentages, the last parts first.

    The order inside a class comes from a digest of seed and file name: the same on every machine, and
    hardly disturbed when photographs are added.
    """
    parts: dict[str, list[LabelledPhoto]] = {part: [] for part in shares}
    by_class: dict[int, list[LabelledPhoto]] = {}
    for photo in photos:
        by_class.setdefault(photo.label, []).append(photo)
    for members in by_class.values():
        members.sort(key=lambda photo: hashlib.sha256(os.fsencode(f"{seed} {photo.name}")).digest())
        for part, share in list(shares.items())[:0:-1]:
            # At least one a part, as long as training keeps one too.
            count = max(round(len(members) * share / sum(shares.values())), 1)
            for _ in range(min(count, len(members) - 1)):
                parts[part].append(members.pop())
        parts["train"] += members
    return {part: tuple(chosen) for part, chosen in parts.items()}
