"""Dividing photographs into splits, copies together."""

import hashlib
import os
from collections.abc import Iterable, Mapping

from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.data.near_duplicates import group_alike


def group_copies(photos: Iterable[LabelledPhoto]) -> dict[str, int]:
    """Digest -> group; (near) copies have the same one."""
    unique = {photo.sha256: photo for photo in photos}
    thumbnails, labels = [p.thumbnail for p in unique.values()], [p.label for p in unique.values()]
    return dict(zip(unique, group_alike(thumbnails, labels).tolist(), strict=True))


def divide(
    photos: Iterable[LabelledPhoto], shares: Mapping[str, int], seed: int, groups: Mapping[str, int]
) -> dict[str, tuple[LabelledPhoto, ...]]:
    """Splits every class by the given percentages, the last splits first; groups stay together.

    The order inside a class comes from a digest of seed and file name: the same on every machine, and
    hardly disturbed when photographs are added.

    Args:
        photos: of all classes.
        shares: split -> per cent; the first split is trained on and takes what is left.
        seed: of the order.
        groups: digest -> group; photographs of one group come into one split, whatever their classes.
    """
    members: dict[int, list[LabelledPhoto]] = {}
    for photo in sorted(photos, key=lambda photo: _order(seed, photo.name)):
        members.setdefault(photo.label, []).append(photo)
    training = next(iter(shares))
    placed: dict[int, str] = {}
    for label in sorted(members):
        _place(members[label], shares, groups, placed)
    splits: dict[str, list[LabelledPhoto]] = {split: [] for split in shares}
    for label in sorted(members):
        for photo in members[label]:
            splits[placed.get(groups[photo.sha256], training)].append(photo)
    return {split: tuple(chosen) for split, chosen in splits.items()}


def _order(seed: int, name: str) -> bytes:
    return hashlib.sha256(os.fsencode(f"{seed} {name}")).digest()


def _place(
    members: list[LabelledPhoto],
    shares: Mapping[str, int],
    groups: Mapping[str, int],
    placed: dict[int, str],
) -> None:
    """Chooses groups of one class for every split but training, from the end of the order."""
    sizes: dict[int, int] = {}
    for photo in reversed(members):
        group = groups[photo.sha256]
        sizes[group] = sizes.get(group, 0) + 1
    count = len(members)
    left = sum(size for group, size in sizes.items() if group not in placed)
    for split, share in list(shares.items())[:0:-1]:
        # At least one a split, as long as training keeps one too.
        wanted = max(round(count * share / sum(shares.values())), 1)
        wanted -= sum(size for group, size in sizes.items() if placed.get(group) == split)
        for group in _fitting(sizes, placed, wanted):
            if sizes[group] < left:
                placed[group] = split
                left -= sizes[group]


def _fitting(sizes: Mapping[int, int], placed: Mapping[int, str], wanted: int) -> list[int]:
    """Groups in order that together have at most the wanted size; the smallest one if all are larger."""
    free = [group for group in sizes if group not in placed]
    chosen, total = [], 0
    for group in free:
        if total + sizes[group] <= wanted:
            chosen.append(group)
            total += sizes[group]
    if not chosen and free and wanted > 0:
        chosen = [min(free, key=lambda group: sizes[group])]
    return chosen
