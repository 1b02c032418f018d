"""Dividing photos into splits, copies together."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.data.near_duplicates import group_alike
from mobilevit_core.messages import counted

FEWEST_GROUPS = 3  # of a class: with fewer, a training, a validation and a test split can't all get one
NEARLY_ALL = 0.9  # of a class, in one group of copies or like photos of other splits


def group_copies(photos: Iterable[LabelledPhoto]) -> dict[str, int]:
    """Digest -> group; (near) copies have the same one."""
    unique = {photo.sha256: photo for photo in photos}
    thumbnails, labels = [p.thumbnail for p in unique.values()], [p.label for p in unique.values()]
    return dict(zip(unique, group_alike(thumbnails, labels).tolist(), strict=True))


def groups_apart(
    photos: Iterable[LabelledPhoto], copies: Mapping[str, int], class_names: Sequence[str]
) -> tuple[dict[str, int], list[str]]:
    """Groups of photos that stay together.

    In classes that groups of copies leave (nearly) whole, each photo gets a group of its own: a fixed camera
    sees one scene again and again, and what differs is what is to be learned.

    Args:
        photos: to divide.
        copies: digest -> group of copies; a photo that is not among them is alone.
        class_names: in the order of the labels.

    Returns:
        Digest -> group, and a sentence about such classes, if there are any.
    """
    by_digest = {photo.sha256: photo for photo in photos}
    alone = max(copies.values(), default=-1) + 1
    labels = np.array([photo.label for photo in by_digest.values()])
    groups = np.array([copies.get(digest, alone + n) for n, digest in enumerate(by_digest)])
    apart, alike = groups.copy(), []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        sizes = np.unique(groups[own], return_counts=True)[1]
        if sizes.max() > 1 and (len(sizes) < FEWEST_GROUPS or sizes.max() > NEARLY_ALL * len(own)):
            apart[own] = groups.max() + 1 + own
            alike.append(repr(class_names[label]))
    note = (
        f"nearly all photos of {', '.join(alike)} show the same scene. They are divided all the same, so the "
        "accuracy is that of this scene and says little about others: take photos from more sides and "
        "places, if the model is to be used elsewhere"
    )
    return dict(zip(by_digest, apart.tolist(), strict=True)), [note] if alike else []


def without_copies(
    splits: Mapping[str, Sequence[LabelledPhoto]], groups: Mapping[str, int], class_names: Sequence[str]
) -> tuple[tuple[LabelledPhoto, ...], list[str]]:
    """The training split without what looks like a photo of another split, and notes.

    A class that would lose nearly all of them (frames of the same films in each split) only loses identical
    files.
    """
    held_out = [photo.sha256 for split, photos in splits.items() if split != "train" for photo in photos]
    held_groups = {groups[digest] for digest in held_out}
    train = splits["train"]
    total = Counter(photo.label for photo in train)
    lost = Counter(photo.label for photo in train if groups[photo.sha256] in held_groups)
    whole = {label for label in lost if lost[label] > NEARLY_ALL * total[label]}
    identical = set(held_out)
    kept = tuple(
        photo
        for photo in train
        if photo.sha256 not in identical and (photo.label in whole or groups[photo.sha256] not in held_groups)
    )
    notes = []
    if dropped := len(train) - len(kept):
        what = counted(dropped, "training photo")
        notes.append(f"{what} left out: (nearly) the same as one of another split")
    names = [repr(class_names[label]) for label in sorted(whole & {photo.label for photo in kept})]
    if names:
        notes.append(
            f"nearly all training photos of {', '.join(names)} look like one of another split. They are "
            "kept all the same, so the accuracy is that of the same scenes and says little about others"
        )
    return kept, notes


def divide(
    photos: Iterable[LabelledPhoto], shares: Mapping[str, int], seed: int, groups: Mapping[str, int]
) -> dict[str, tuple[LabelledPhoto, ...]]:
    """Splits every class by the given percentages, the last splits first; groups stay together.

    The order inside a class comes from a digest of seed and file name: the same on every machine, and
    hardly disturbed when photos are added.

    Args:
        photos: of all classes.
        shares: split -> per cent; the first split is trained on and takes what is left.
        seed: of the order.
        groups: digest -> group; photos of one group come into one split, whatever their classes.
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


def in_turns(labels: np.ndarray) -> Iterator[int]:
    """Places of the photos: one of every class, then the next of every class, and so on."""
    members = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    for number in range(max(map(len, members), default=0)):
        yield from (own[number] for own in members if number < len(own))
