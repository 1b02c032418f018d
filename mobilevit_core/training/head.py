"""A new classifier on an existing network, in seconds: no training of the network itself.

The trunk looks at every photo once; a classifier in closed form (`linear_probe.py`) learns the classes
from its features. Strength and accuracy come from cross-validation, so no photo has to be held back.
Afterwards the classifier is one layer, which is grafted onto the trunk's files.
"""

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.conversion.graft import Head, graft, graft_keras
from mobilevit_core.conversion.packing import CHECK_PHOTOS, Converted, versions, write_converted
from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.class_names import check_class_names
from mobilevit_core.data.dataset import (
    CROSS_VALIDATION,
    JOINING,
    NONE_OF_THESE,
    THUMBNAIL,
    LabelledPhoto,
    PhotoDataset,
)
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.data.near_duplicates import group_alike
from mobilevit_core.data.provenance import RECORDED_SPLITS, Provenance
from mobilevit_core.data.splitting import groups_apart, in_turns
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.calibration import HeldOut
from mobilevit_core.evaluation.metrics import Evaluation
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.messages import note
from mobilevit_core.training.features import Trunk, open_trunk
from mobilevit_core.training.linear_probe import fit, left_out
from mobilevit_core.training.recipes import HEAD, UNEVEN
from mobilevit_core.training.run_folder import RunFolder

FOLDS = 5
FEWEST = 3  # photos per class: with fewer, nothing is left to choose the strength by
MADE_WITH = ("ai-edge-litert", "pillow", "numpy")

Photos = str | os.PathLike[str] | PhotoDataset | Mapping[str, Sequence[PhotoSource]]


@dataclass(frozen=True)
class FittedHead:
    """A trunk with a new classifier, and how good that is.

    Attributes:
        head: from features to calibrated probabilities.
        trunk: what it was made on.
        data: of the manifest: name, split and number of photos, digest.
        photos: without repetitions.
        images: place of a photo among them -> uint8 (size, size, 3): what files are compared on.
        evaluation: by cross-validation: every photo answered by a classifier that never saw it.
        strength: of the regularization, chosen by cross-validation.
        held_out: the answers by cross-validation that the classifier was calibrated by.
        seconds: for all of it.
        seed: of the folds.
        provenance: the photos that went into it, and into the network before.
    """

    head: Head = field(repr=False)
    trunk: Trunk
    data: dict[str, Any]
    photos: tuple[LabelledPhoto, ...] = field(repr=False)
    images: Mapping[int, np.ndarray] = field(repr=False)
    evaluation: Evaluation = field(repr=False)
    strength: float
    held_out: HeldOut = field(repr=False)
    seconds: float
    seed: int
    provenance: Provenance = field(repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.evaluation.class_names

    @property
    def other_class(self) -> str | None:
        """The class that means "none of these", where the photos have one."""
        return NONE_OF_THESE if self.class_names[-1] == NONE_OF_THESE else None

    @property
    def rule(self) -> ResizeRule:
        """How a photo becomes the network's input."""
        return self.trunk.rule

    @property
    def accuracy(self) -> float:
        """Share of right answers in cross-validation."""
        return self.evaluation.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return self.evaluation.interval

    def probabilities(self, photo: PhotoSource) -> np.ndarray:
        """The answer for one photo: float32 (classes,)."""
        return self.head.probabilities(self.trunk.features(preprocess(photo, self.rule)))

    def write_bundle(self, folder: Path) -> tuple[Bundle, list[str]]:
        """Grafts the classifier onto every weight format and writes the bundle.

        Args:
            folder: where; must not exist.

        Returns:
            The bundle, and one sentence for every format that was refused.

        Raises:
            UserError: the folder exists.
        """
        converted = Converted(
            graft_keras(self.trunk.keras, self.head),
            {name: graft(content, name, self.head) for name, content in self.trunk.files.items()},
            list(self.images.values()),
            self.head.probabilities(self.head.features[list(self.images)]),
        )
        figures = {
            "data": self.data["name"],
            "split_scheme": self.data["split_scheme"],
            "split": CROSS_VALIDATION,
            "provenance": None,
            "formats": {"float32": self.evaluation.to_json()},
        }
        manifest = Manifest(
            class_names=self.class_names,
            rule=self.rule,
            architecture=self.trunk.architecture,
            variant=self.trunk.variant,
            recipe=_recipe(self.data["split_scheme"], self.seed) | {"strength": self.strength},
            data=self.data,
            versions={**self.trunk.versions, **versions(*MADE_WITH)},
            start=self.trunk.origin,
            metrics={CROSS_VALIDATION: figures},
            other_class=self.other_class,
            **self.held_out.sections(),
        )
        return write_converted(folder, converted, manifest, provenance=self.provenance)


def fit_head(
    photos: Photos,
    weights: Bundle | Trunk | str | os.PathLike[str],
    *,
    variant: str = "xxs",
    seed: int = 0,
    title: str = "",
) -> FittedHead:
    """Teaches a network new classes from a few photos of each.

    Args:
        photos: class name -> photos (files, encoded bytes, Pillow images or arrays), a folder with one
            subfolder per class, or a data set, whose training and validation photos are used.
        weights: what the features come from: an opened trunk, or what `open_trunk` takes.
        variant: see `open_trunk`.
        seed: of the folds of the cross-validation.
        title: of the progress display; none without it.

    Returns:
        The head with its accuracy by cross-validation.

    Raises:
        UserError: too few photos of a class, one that can't be read, or no such weights.
    """
    start = time.perf_counter()
    if isinstance(photos, Mapping):
        dataset = _in_memory(photos)
    else:
        dataset = photos if isinstance(photos, PhotoDataset) else load_dataset(os.fspath(photos), JOINING)
    class_names, data = dataset.class_names, dataset.describe()
    check_class_names(class_names)
    everything = [photo for split in RECORDED_SPLITS for photo in dataset.splits.get(split, ())]
    used, notes = distinct(everything)
    labels = np.array([photo.label for photo in used])
    folds = folds_for(class_names, labels)
    turns = list(islice(in_turns(labels), CHECK_PHOTOS))
    if not isinstance(weights, Trunk):
        weights = open_trunk(weights, variant, [used[place].source for place in turns])
    features, thumbnails, images = _look(weights, used, set(turns), title)
    copies = dataset.copies
    if isinstance(photos, Mapping):  # nobody has compared them yet
        found = group_alike(thumbnails, labels)
        copies = dict(zip((photo.sha256 for photo in used), found.tolist(), strict=True))
    by_digest, doubts = groups_apart(used, copies, class_names)
    groups = np.array([by_digest[photo.sha256] for photo in used])
    balanced = is_uneven(labels)
    doubts = [doubt for doubt in doubts if doubt not in data["notes"]]
    before = left_out(features, labels, groups, folds, seed, balanced)
    kernel, bias, strength = fit(features, labels, groups, folds, seed, balanced)
    other = len(class_names) - 1 if class_names[-1] == NONE_OF_THESE else None
    known = np.count_nonzero(labels != other)
    held_out = HeldOut(before, labels, f"{known} photos by cross-validation", other)
    kernel, bias = (part.astype(np.float32) for part in held_out.calibration.fold(kernel, bias))
    return FittedHead(
        head=Head(kernel, bias, features),
        trunk=weights,
        data={**data, "notes": [*data["notes"], *notes, *doubts]},
        photos=used,
        images={place: images[place] for place in turns},
        evaluation=Evaluation(class_names, labels, held_out.after, other),
        strength=strength,
        held_out=held_out,
        seconds=time.perf_counter() - start,
        seed=seed,
        provenance=Provenance.joined([Provenance.of(everything), *weights.provenance]),
    )


def train_head(
    dataset: PhotoDataset, trunk: Trunk, run: RunFolder, seed: int = 0
) -> tuple[Bundle, list[str], FittedHead]:
    """What `train --recipe head` does: fits the classifier and writes the bundle into a run folder.

    A bundle that is there already stays.

    Args:
        dataset: its training and validation photos are used, its test photos are not.
        trunk: what the features come from.
        run: its folder; made if it is missing.
        seed: of the folds.

    Returns:
        The bundle, a sentence for every weight format that was refused, and the head.

    Raises:
        UserError: as `fit_head`, or the folder holds another run.
    """
    with run.locked():
        run.claim(dataset, _recipe(dataset.split_scheme, seed), {"start": trunk.origin})
        fitted = fit_head(dataset, trunk, seed=seed, title="Looking at the photos")
        for doubt in fitted.data["notes"][len(dataset.notes) :]:  # the others were told with the data set
            note(doubt)
        if run.bundle.exists():
            return open_bundle(run.bundle), [], fitted
        return *fitted.write_bundle(run.bundle), fitted


def _recipe(split_scheme: str, seed: int) -> dict[str, Any]:
    return {"name": HEAD, "split_scheme": split_scheme, "seed": seed}


def _in_memory(photos: Mapping[str, Sequence[PhotoSource]]) -> PhotoDataset:
    """Photos that a program has at hand, as a data set that is trained on whole."""
    train = []
    for label, (name, sources) in enumerate(photos.items()):
        for number, source in enumerate(sources, 1):
            title = f"photo {number} of {name!r}"
            if isinstance(source, str | os.PathLike):
                source, title = Path(source), os.fspath(source)
            elif isinstance(source, Image.Image):
                source = np.asarray(source.convert("RGB"))
            train.append(LabelledPhoto(title, label, source))
    return PhotoDataset("photos in memory", JOINING, tuple(map(str, photos)), {"train": tuple(train)})


def distinct(photos: Sequence[LabelledPhoto]) -> tuple[tuple[LabelledPhoto, ...], list[str]]:
    """Every photo once; without those that are in two classes, which the notes name."""
    first: dict[str, LabelledPhoto] = {}
    contradictory: dict[str, str] = {}
    for photo in photos:
        known = first.setdefault(photo.sha256, photo)
        if known.label != photo.label:
            note = f"{known.name} and {photo.name} are the same photo in two classes: both left out"
            contradictory.setdefault(photo.sha256, note)
    kept = (photo for digest, photo in first.items() if digest not in contradictory)
    return tuple(kept), list(contradictory.values())


def folds_for(class_names: Sequence[str], labels: np.ndarray) -> int:
    """How many folds the smallest class allows."""
    counts = Counter(labels.tolist())
    label = min(range(len(class_names)), key=lambda label: counts[label])
    if counts[label] < FEWEST:
        raise UserError(
            f"Class {class_names[label]!r} has {counts[label]} different photos; at least {FEWEST} of "
            "every class are needed, and 20 or more are better."
        )
    return min(FOLDS, counts[label])


def _look(
    trunk: Trunk, photos: Sequence[LabelledPhoto], kept: set[int], title: str
) -> tuple[np.ndarray, list[np.ndarray], dict[int, np.ndarray]]:
    """Reads every photo once.

    Args:
        trunk: what looks at them.
        photos: without repetitions.
        kept: places of those whose pixels are needed again.
        title: of the progress display.

    Returns:
        Features, float32 (photos, features); thumbnails, uint8 (24, 24) each; place -> the trunk's
        input, uint8 (size, size, 3).
    """

    def look(place: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        photo = photos[place]
        image = preprocess(photo.source, trunk.rule, photo.name)
        pixels = np.uint8(np.rint(image))
        grey = Image.fromarray(pixels).convert("L").resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        return trunk.features(image), np.asarray(grey), pixels if place in kept else None

    features, thumbnails, pixels = zip(*in_order(look, range(len(photos)), title), strict=True)
    images = {place: image for place, image in enumerate(pixels) if image is not None}
    return np.stack(features), list(thumbnails), images


def is_uneven(labels: np.ndarray) -> bool:
    """Whether the largest class has so many more photos than the smallest that they must be balanced."""
    counts = np.bincount(labels)
    return bool(counts.max() > UNEVEN * counts.min())
