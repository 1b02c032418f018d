"""Several sources as one data set, and the class of photos that show none of the others."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mobilevit_core.data.class_names import spelling_key
from mobilevit_core.data.dataset import NONE_OF_THESE, LabelledPhoto, PhotoDataset
from mobilevit_core.data.near_duplicates import LOOK_ALIKE, likeness_to
from mobilevit_core.data.splitting import group_copies, groups_apart, without_copies
from mobilevit_core.errors import UserError
from mobilevit_core.messages import counted

WORDNET_ID = re.compile(r"n\d{8}(?!\d)")


def merge(datasets: Sequence[PhotoDataset]) -> PhotoDataset:
    """The union of data sets; classes of the same name are one class.

    Upper and lower case, spaces, hyphens and underscores make no difference, and names that begin with a
    WordNet id (n02085620, n02085620-Chihuahua) are the same by that id. The first spelling stays.

    Args:
        datasets: each divided into its own splits.

    Returns:
        One data set with the photos of all, none of which is trained on if it looks like one that
        another source validates or tests with.
    """
    if len(datasets) == 1:
        return datasets[0]
    names: dict[str, str] = {}
    for dataset in datasets:
        for name in _wanted(dataset):
            names.setdefault(class_key(name), name)
    has_other = any(dataset.other_class for dataset in datasets)
    class_names = (*names.values(), *([NONE_OF_THESE] if has_other else []))
    numbers = {name: label for label, name in enumerate(class_names)}
    splits: dict[str, list[LabelledPhoto]] = {}
    for dataset in datasets:
        labels = [numbers[names.get(class_key(name), name)] for name in dataset.class_names]
        for split, photos in dataset.splits.items():
            splits.setdefault(split, []).extend(replace(photo, label=labels[photo.label]) for photo in photos)
    union = PhotoDataset(
        name=" + ".join(dataset.name for dataset in datasets),
        split_scheme=datasets[0].split_scheme,
        class_names=class_names,
        splits={split: tuple(photos) for split, photos in splits.items()},
        notes=tuple(f"{dataset.name}: {note}" for dataset in datasets for note in dataset.notes),
        sources=tuple(source for dataset in datasets for source in dataset.sources),
        other_class=NONE_OF_THESE if has_other else None,
        skipped=tuple(file for dataset in datasets for file in dataset.skipped),
    )
    return _without_straddling(union)


def add_train_only(dataset: PhotoDataset, more: Sequence[PhotoDataset]) -> PhotoDataset:
    """Adds photos of the same classes to the training split alone.

    So that photos from elsewhere may help without changing what the figures are measured on.

    Args:
        dataset: the classes, in splits.
        more: photos of some of these classes, named alike as in `merge`; their own splits don't count.
            Photos outside of a class folder have the class "".

    Returns:
        The same but for the training split, in which none looks like a photo of another split.

    Raises:
        UserError: one of `more` has photos of another class.
    """
    if not more:
        return dataset
    labels = {class_key(name): label for label, name in enumerate(_wanted(dataset))}
    train, sources, skipped = list(dataset.splits["train"]), list(dataset.sources), list(dataset.skipped)
    for source in more:
        _check_known(source, dataset, labels)
        own = [labels.get(class_key(name), -1) for name in source.class_names]
        train += [replace(p, label=own[p.label]) for photos in source.splits.values() for p in photos]
        sources += [replace(each, train_only=True) for each in source.sources]
        skipped += source.skipped
    splits = {**dataset.splits, "train": tuple(train)}
    notes = (*dataset.notes, *(f"{source.name}: {note}" for source in more for note in source.notes))
    return _without_straddling(
        replace(dataset, splits=splits, sources=tuple(sources), skipped=tuple(skipped), notes=notes)
    )


def _check_known(source: PhotoDataset, dataset: PhotoDataset, labels: Mapping[str, int]) -> None:
    unknown = sorted(
        name
        for name, counts in source.counts().items()
        if any(counts.values()) and class_key(name) not in labels
    )
    if not unknown:
        return
    what = f"a class {unknown[0]!r}" if unknown[0] else "photos outside of class folders"
    raise UserError(
        f"{source.name} is only trained on, and has {what}. Its subfolders must have the names of classes of "
        f"{dataset.name}: {', '.join(_wanted(dataset))}."
    )


def _wanted(dataset: PhotoDataset) -> tuple[str, ...]:
    return tuple(name for name in dataset.class_names if name != dataset.other_class)


def class_key(name: str) -> str:
    """What two spellings of one class have in common."""
    found = WORDNET_ID.match(name)
    return found.group() if found else spelling_key(name)


def _singular(name: str) -> str:
    """Of an English word, well enough to see that "sunflower" and "sunflowers" are the same."""
    key = class_key(name)
    if key.endswith("ies"):
        return f"{key[:-3]}y"
    return key[:-1] if key.endswith("s") and not key.endswith("ss") else key


def _without_straddling(dataset: PhotoDataset) -> PhotoDataset:
    """Drops training photos that look like a held-out one of any source."""
    photos = [photo for split in dataset.splits.values() for photo in split]
    copies = group_copies(photos)
    groups, alike = groups_apart(photos, copies, dataset.class_names)
    train, notes = without_copies(dataset.splits, groups, dataset.class_names)
    notes = (*dataset.notes, *(note for note in alike if note not in dataset.notes), *notes)
    return replace(dataset, splits={**dataset.splits, "train": train}, notes=notes, copies=copies)


def with_training_split(
    dataset: PhotoDataset, train: tuple[LabelledPhoto, ...], reason: str, always: bool = False
) -> PhotoDataset:
    """The same with fewer training photos, and a note of how many are gone and why."""
    dropped = len(dataset.splits["train"]) - len(train)
    if not dropped and not always:
        return dataset
    note = f"{counted(dropped, 'training photo')} left out: {reason}"
    splits = {**dataset.splits, "train": train}
    return replace(dataset, splits=splits, notes=(*dataset.notes, note))


def add_other(dataset: PhotoDataset, others: Sequence[PhotoDataset], without: Sequence[str]) -> PhotoDataset:
    """Adds photos of anything else as the last class, "none of these".

    Left out are classes with the name of a wanted class, those that the person names, and photos that
    look like one of a wanted class. Outside of training there are at most as many as wanted ones, the same
    number of every source, so that they don't drown the figures.

    Args:
        dataset: the wanted classes, perhaps with a "none of these" of its own.
        others: photos of anything else.
        without: names of classes of these that stay out.

    Raises:
        UserError: a name that none of the others has, or nothing is left of them.
    """
    _check_names(without, others)
    sources = [*_split_off(dataset), *others]
    if not sources:
        return dataset
    known, notes = dataset.without_other(), []
    names = known.class_names
    unwanted = {_singular(name) for name in (*names, *without)}
    splits = {split: list(photos) for split, photos in known.splits.items()}
    wanted = [photo for photos in known.splits.values() for photo in photos]
    for other in sources:
        left_out = sorted(name for name in other.class_names if _singular(name) in unwanted)
        if left_out:
            notes.append(f"{other.name}: left out of {NONE_OF_THESE!r} by name: {', '.join(left_out)}")
        labels = {other.class_names.index(name) for name in left_out}
        other, alike = _without_look_alikes(other.without_labels(labels), wanted)
        if alike:
            some = counted(alike, "photo")
            notes.append(f"{other.name}: {some} left out of {NONE_OF_THESE!r}: like one of a class")
        for split, photos in other.splits.items():
            moved = (replace(photo, label=len(names), origin=other.sources[0].data) for photo in photos)
            splits.setdefault(split, []).extend(moved)
    joined = replace(
        dataset,
        class_names=(*names, NONE_OF_THESE),
        splits={split: _cap_others(photos, len(names), split) for split, photos in splits.items()},
        other_class=NONE_OF_THESE,
        other_without=tuple(without),
        sources=(
            *known.sources,
            *(replace(source, other=True) for other in sources for source in other.sources),
        ),
        notes=(*dataset.notes, *(f"{o.name}: {note}" for o in others for note in o.notes), *notes),
        skipped=(*dataset.skipped, *(file for other in others for file in other.skipped)),
    )
    _check_left(joined)
    return joined


def _split_off(dataset: PhotoDataset) -> list[PhotoDataset]:
    """The data set's own "none of these", as data sets of one source and one class each."""
    return [
        PhotoDataset(
            source.data,
            dataset.split_scheme,
            (NONE_OF_THESE,),
            {
                split: tuple(replace(photo, label=0) for photo in photos if photo.origin == source.data)
                for split, photos in dataset.splits.items()
            },
            sources=(source,),
        )
        for source in dataset.sources
        if source.other
    ]


def _without_look_alikes(dataset: PhotoDataset, wanted: list[LabelledPhoto]) -> tuple[PhotoDataset, int]:
    thumbnails, dropped, splits = [photo.thumbnail for photo in wanted], 0, {}
    for split, photos in dataset.splits.items():
        likeness = likeness_to([photo.thumbnail for photo in photos], thumbnails)
        kept = tuple(photo for photo, value in zip(photos, likeness, strict=True) if value < LOOK_ALIKE)
        dropped += len(photos) - len(kept)
        splits[split] = kept
    return replace(dataset, splits=splits), dropped


def _cap_others(photos: list[LabelledPhoto], other: int, split: str) -> tuple[LabelledPhoto, ...]:
    """At most as many of "none of these" as of all classes together outside of training, evenly by source."""
    wanted = [photo for photo in photos if photo.label != other]
    by_source: dict[str, list[LabelledPhoto]] = {}
    for photo in photos:
        if photo.label == other:
            by_source.setdefault(photo.origin, []).append(photo)
    if split == "train" or not wanted:
        return tuple(photos)
    chosen: list[LabelledPhoto] = []
    sources = sorted(by_source.values(), key=len)
    for number, members in enumerate(sources):
        room = (len(wanted) - len(chosen)) // (len(sources) - number)
        # Evenly through the source, because photos of one class often follow each other.
        step = max(len(members) / max(room, 1), 1)
        chosen += [members[int(index * step)] for index in range(min(room, len(members)))]
    return (*wanted, *chosen)


def _check_names(without: Sequence[str], others: Sequence[PhotoDataset]) -> None:
    known = sorted({name for other in others for name in other.class_names if name})
    keys = {_singular(name) for name in known}
    missing = [name for name in without if _singular(name) not in keys]
    if missing:
        has = f"They have: {', '.join(known)}." if known else "There are none; name some with --other."
        raise UserError(f"The photos of anything else have no class {missing[0]!r}. {has}")


def _check_left(dataset: PhotoDataset) -> None:
    for split in ("train", "validation"):
        if not any(photo.label == dataset.other for photo in dataset.splits.get(split, ())):
            raise UserError(
                f"No photos of anything else are left in split {split!r}: they are too few, or all look "
                "like photos of the classes or have their names."
            )


def with_weights(dataset: PhotoDataset, weights: Mapping[str, float]) -> PhotoDataset:
    """Sets the weights of sources by their names, with or without the version of a TFDS data set.

    Raises:
        UserError: there is no such source, or the weight is not over 0.
    """
    known = {
        key: source.data for source in dataset.sources for key in (source.data.split(":")[0], source.data)
    }
    for name, weight in weights.items():
        if name not in known:
            raise UserError(
                f"There is no source {name!r} to give a weight to. There are: {', '.join(known.values())}."
            )
        if not 0 < weight < float("inf"):
            raise UserError(f"The weight of {name} is {weight:g}; it must be over 0.")
    by_data = {known[name]: weight for name, weight in weights.items()}
    sources = tuple(replace(s, weight=by_data.get(s.data, s.weight)) for s in dataset.sources)
    return replace(dataset, sources=sources)
