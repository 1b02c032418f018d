"""A new classifier on an existing network, in seconds: no training of the network itself.

The network looks at every photograph once; a regularized logistic regression learns the classes from what
it sees. Strength and accuracy come from cross-validation, so no photograph has to be held back. Afterwards
scaling and regression are one ordinary Dense layer: the model is exported like any other.
"""

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.conversion.export import CALIBRATION_PHOTOS, CHECK_PHOTOS, Pictures, write_exported
from mobilevit_core.data.class_names import check_class_names
from mobilevit_core.data.dataset import (
    CROSS_VALIDATION,
    NONE_OF_THESE,
    THUMBNAIL,
    LabelledPhoto,
    PhotoDataset,
)
from mobilevit_core.data.findings import write_findings
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.data.near_duplicates import group_alike
from mobilevit_core.data.provenance import DIGITS, RECORDED_SPLITS, Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.calibration import Calibration
from mobilevit_core.evaluation.metrics import Evaluation
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.messages import note
from mobilevit_core.models.released_weights import HEAD
from mobilevit_core.training.features import Example, FeatureCache, Network, Progress, open_network
from mobilevit_core.training.recipes import UNEVEN, Recipe
from mobilevit_core.training.run_folder import RunFolder
from mobilevit_core.training.transfer import Start

RECIPE = "head"
FOLDS = 5
FEWEST = 3  # photographs per class: with fewer, nothing is left to choose the strength by
INNER_FOLDS = 3  # for the strength, inside of the photographs that a classifier is fitted on
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)  # scikit-learn's C
MOST_FIRST = 2000  # photographs that a classifier is fitted on before the network is trained
TOLERANCE = 1e-3  # ten times scikit-learn's: a third of the time, the same loss on others to 0.001

Photos = str | os.PathLike[str] | PhotoDataset | Mapping[str, Sequence[PhotoSource]]


@dataclass(frozen=True)
class FittedHead:
    """A network with a new classifier, and how good that is.

    Attributes:
        model: from RGB 0..255, float32 (batch, size, size, 3), to calibrated probabilities. It shares all
            layers but the classifier with the network that it was made from.
        network: what it was made from.
        data: of the manifest: name, split and number of photographs, digest.
        examples: the photographs, without repetitions.
        evaluation: by cross-validation: every photograph answered by a classifier that never saw it.
        strength: scikit-learn's C of the regression; larger is less regularized.
        calibration: what the classifier was calibrated by.
        seconds: for all of it.
        seed: of the folds.
        provenance: the photographs that went into it, and into the network before.
    """

    model: keras.Model
    network: Network
    data: dict[str, Any]
    examples: tuple[Example, ...] = field(repr=False)
    evaluation: Evaluation = field(repr=False)
    strength: float
    calibration: Calibration
    seconds: float
    seed: int
    provenance: Provenance = field(repr=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self.evaluation.class_names

    @property
    def other_class(self) -> str | None:
        """The class that means "none of these", where the photographs have one."""
        return NONE_OF_THESE if self.class_names[-1] == NONE_OF_THESE else None

    @property
    def rule(self) -> ResizeRule:
        """How a photograph becomes the model's input."""
        return self.network.rule

    @property
    def accuracy(self) -> float:
        """Share of right answers in cross-validation."""
        return self.evaluation.accuracy

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the accuracy."""
        return self.evaluation.interval

    def probabilities(self, photo: PhotoSource) -> np.ndarray:
        """The answer for one photograph: float32 (classes,)."""
        image = preprocess(photo, self.rule)
        return np.asarray(self.model(image[None], training=False))[0]

    def write_bundle(self, folder: Path) -> tuple[Bundle, list[str]]:
        """Exports the model to every weight format and writes the bundle.

        Args:
            folder: where; must not exist.

        Returns:
            The bundle, and one sentence for every format that was refused.

        Raises:
            UserError: the folder exists, or a photograph is gone.
        """
        return write_exported(folder, self.model, self._manifest(), self._pictures(), None, self.provenance)

    def _manifest(self) -> Manifest:
        after = self.evaluation
        other = len(self.class_names) - 1 if self.other_class else None
        known = after.labels != other
        where = f"{len(self.examples)} photographs by cross-validation"
        figures = {
            "data": self.data["name"],
            "split_scheme": self.data["split_scheme"],
            "split": CROSS_VALIDATION,
            "provenance": None,
            "formats": {"keras": after.to_json()},
        }
        return Manifest(
            class_names=self.class_names,
            rule=self.rule,
            architecture=self.network.architecture,
            variant=self.network.variant,
            recipe=_recipe(self.data["split_scheme"], self.seed) | {"strength": self.strength},
            data=self.data,
            start=self.network.origin,
            metrics={CROSS_VALIDATION: figures},
            calibration=self.calibration.to_json(after.probabilities, after.labels, where),
            rejection=RejectionRule.fit(after.probabilities[known], other),
            other_class=self.other_class,
        )

    def _pictures(self) -> Pictures:
        """The same number of every class, as far as there are enough."""
        turns = list(_in_turns(self.examples, len(self.class_names)))
        images = np.stack([self.network.read(e.source, self.rule, e.name) for e in turns[:CHECK_PHOTOS]])
        return Pictures(images, images[:CALIBRATION_PHOTOS])


def fit_head(
    photos: Photos,
    weights: Bundle | Network | str | os.PathLike[str],
    *,
    cache: FeatureCache | Path | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> FittedHead:
    """Teaches a network new classes from a few photographs of each.

    Args:
        photos: class name -> photographs (files, encoded bytes, Pillow images or arrays), a folder with one
            subfolder per class, or a data set, whose training and validation photographs are used.
        weights: what the features come from: an opened network, or what `open_network` takes.
        cache: keeps features for the next call, in memory or in a folder.
        seed: of the folds of the cross-validation.
        progress: called with how many photographs of how many have been looked at.

    Returns:
        The model with its accuracy by cross-validation.

    Raises:
        UserError: too few photographs of a class, one that can't be read, or no such weights.
    """
    start = time.perf_counter()
    network = weights if isinstance(weights, Network) else open_network(weights)
    cache = cache if isinstance(cache, FeatureCache) else FeatureCache(cache)
    if isinstance(photos, str | os.PathLike):
        photos = load_dataset(os.fspath(photos), "whole")
    class_names, examples, data, own = _gather(photos)
    check_class_names(class_names)
    examples, notes = _distinct(examples)
    labels = np.array([example.label for example in examples])
    other = len(class_names) - 1 if class_names[-1] == NONE_OF_THESE else None
    folds = _folds(class_names, labels)
    if isinstance(photos, PhotoDataset):
        features, copies = cache.features(network, examples, progress), photos.copies
    else:  # nobody has compared these photographs yet
        seen = _Glances(network)
        features = cache.features(replace(network, read=seen.read), examples, progress)
        copies = seen.copies(examples)
    groups, doubts = _groups(class_names, examples, copies)
    data = {**data, "notes": [*data["notes"], *notes, *doubts]}
    head = _regression(folds, seed, _uneven(labels))
    division = _division(folds, labels, groups, seed)
    before = cross_val_predict(head, features, labels, cv=division, method="predict_proba")
    head.fit(features, labels)
    calibration = Calibration.fit(before, labels, other)
    return FittedHead(
        model=_with_classifier(network.model, *calibration.fold(*_dense_weights(head))),
        network=network,
        data=data,
        examples=examples,
        evaluation=Evaluation(class_names, labels, calibration.apply(before), other),
        strength=float(np.ravel(head[-1].C_)[0]),
        calibration=calibration,
        seconds=time.perf_counter() - start,
        seed=seed,
        provenance=Provenance.joined([own, *network.provenance]),
    )


@dataclass(frozen=True)
class HeadRun:
    """A finished run of the recipe head.

    Attributes:
        bundle: the artefact.
        refused: a sentence for every weight format that was refused.
        fitted: the head with its answers by cross-validation.
    """

    bundle: Bundle
    refused: list[str]
    fitted: FittedHead


def train_head(
    dataset: PhotoDataset,
    network: Network,
    run: RunFolder,
    seed: int = 0,
    progress: Progress | None = None,
) -> HeadRun:
    """What `train --recipe head` does: fits the classifier and writes the bundle into a run folder.

    A bundle that is there already stays; the features of its photographs are kept in the run folder, so that
    the same call gives the answers by cross-validation again within seconds.

    Args:
        dataset: its training and validation photographs are used, its test photographs are not.
        network: what the features come from.
        run: its folder; made if it is missing.
        seed: of the folds.
        progress: see `fit_head`.

    Returns:
        The bundle and the head.

    Raises:
        UserError: as `fit_head`, or the folder holds another run.
    """
    recipe, provenance = _recipe(dataset.split_scheme, seed), Provenance.by_training(dataset)
    with run.locked():
        run.claim(dataset, recipe, {"start": network.origin}, provenance)
        write_findings(run.path, dataset)
        fitted = fit_head(dataset, network, cache=run.path / "features", seed=seed, progress=progress)
        for doubt in fitted.data["notes"][len(dataset.notes) :]:  # the others were told with the data set
            note(doubt)
        if run.bundle.exists():
            return HeadRun(open_bundle(run.bundle), [], fitted)
        return HeadRun(*fitted.write_bundle(run.bundle), fitted)


@dataclass(frozen=True)
class WithHead:
    """Starting weights whose classifier is fitted to the photographs before the training begins.

    Args:
        start: the weights.
        photos: the training photographs; `MOST_FIRST` of them are looked at, the same number of each class.
        rule: how a photograph becomes the model's input.
    """

    start: Start
    photos: Sequence[LabelledPhoto]
    rule: ResizeRule
    # Kernel and bias once fitted: the finished weights may take their share of the start, too.
    _fitted: list[np.ndarray] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def provenance(self) -> list[Provenance]:
        """Of the weights."""
        return self.start.provenance

    def describe(self) -> dict[str, Any]:
        """Of the weights: the fitted classifier is part of the training."""
        return self.start.describe()

    def check(self, recipe: Recipe) -> None:
        """Raises a UserError unless these are weights of the recipe's network."""
        self.start.check(recipe)

    def copy_to(self, model: keras.Model, class_names: tuple[str, ...]) -> None:
        """Gives a fresh model the weights; their classifier if it is for these classes, else a fitted one."""
        self.start.copy_to(model, class_names)
        if self.start.knows(class_names):
            return
        if not self._fitted:
            self._fitted.extend(self._fit(model, class_names))
        model.get_layer(HEAD).set_weights(self._fitted)

    def _fit(self, model: keras.Model, class_names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        examples = _first_examples(self.photos, len(class_names))
        note(f"first a classifier on these weights: {len(examples)} training photographs are looked at.")
        network = Network(model, self.rule, "", "", {"weights_sha256": ""})
        features = FeatureCache().features(network, examples)
        labels = np.array([example.label for example in examples])
        head = _regression(_folds(class_names, labels), 0, _uneven(labels))
        head.fit(features, labels)
        return _dense_weights(head)


def _first_examples(photos: Sequence[LabelledPhoto], classes: int) -> tuple[Example, ...]:
    """Photographs of every class in turns, without repetitions and contradictions, `MOST_FIRST` at most."""
    examples = [Example(photo.source, photo.label, photo.sha256, photo.name) for photo in photos]
    distinct, _ = _distinct(examples)
    return tuple(islice(_in_turns(distinct, classes), MOST_FIRST))


def _recipe(split_scheme: str, seed: int) -> dict[str, Any]:
    return {"name": RECIPE, "split_scheme": split_scheme, "seed": seed}


def _gather(
    photos: PhotoDataset | Mapping[str, Sequence[PhotoSource]],
) -> tuple[tuple[str, ...], tuple[Example, ...], dict[str, Any], Provenance]:
    """Class names, photographs, the manifest's `data` and the photographs' digests."""
    if isinstance(photos, Mapping):
        names = tuple(str(name) for name in photos)
        examples = tuple(
            _example(source, label, f"photograph {number} of {name!r}")
            for label, (name, sources) in enumerate(photos.items())
            for number, source in enumerate(sources, 1)
        )
        return names, examples, _data_in_memory(names, examples), Provenance(_digests(examples))
    used = [photo for split in RECORDED_SPLITS for photo in photos.splits.get(split, ())]
    examples = tuple(Example(photo.source, photo.label, photo.sha256, photo.name) for photo in used)
    return photos.class_names, examples, photos.describe(), Provenance(_digests(examples))


def _example(source: PhotoSource, label: int, name: str) -> Example:
    if isinstance(source, Image.Image):
        source = np.asarray(source.convert("RGB"))
    if isinstance(source, np.ndarray):
        content = repr((source.shape, str(source.dtype))).encode() + np.ascontiguousarray(source).tobytes()
    elif isinstance(source, bytes):
        content = source
    else:
        name, content = os.fspath(source), _content(Path(source))
    return Example(source, label, hashlib.sha256(content).hexdigest(), name)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}.") from error


def _data_in_memory(names: Sequence[str], examples: Sequence[Example]) -> dict[str, Any]:
    lines = sorted(f"train {example.digest} {names[example.label]}" for example in examples)
    return {
        "name": "photographs in memory",
        "split_scheme": "whole",
        "photos": {"train": len(examples)},
        "digest": hashlib.sha256("\n".join(lines).encode(errors="surrogateescape")).hexdigest(),
        "notes": [],
    }


def _distinct(examples: Sequence[Example]) -> tuple[tuple[Example, ...], list[str]]:
    """Every photograph once; without those that are in two classes, which the notes name."""
    first: dict[str, Example] = {}
    contradictory: dict[str, str] = {}
    for example in examples:
        known = first.setdefault(example.digest, example)
        if known.label != example.label:
            note = f"{known.name} and {example.name} are the same photograph in two classes: both left out"
            contradictory.setdefault(example.digest, note)
    kept = (example for digest, example in first.items() if digest not in contradictory)
    return tuple(kept), list(contradictory.values())


def _digests(examples: Sequence[Example]) -> frozenset[str]:
    return frozenset(example.digest[:DIGITS] for example in examples)


def _folds(class_names: Sequence[str], labels: np.ndarray) -> int:
    """How many folds the smallest class allows."""
    counts = Counter(labels.tolist())
    label = min(range(len(class_names)), key=lambda label: counts[label])
    if counts[label] < FEWEST:
        raise UserError(
            f"Class {class_names[label]!r} has {counts[label]} different photographs; at least {FEWEST} of "
            "every class are needed, and 20 or more are better."
        )
    return min(FOLDS, counts[label])


class _Glances:
    """Small copies of the photographs that a network reads, to find those taken at once.

    Args:
        network: how it reads is kept.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._thumbnails: dict[str, np.ndarray] = {}

    def read(self, source: PhotoSource, rule: ResizeRule, name: str) -> np.ndarray:
        """Reads as the network does."""
        picture = self._network.read(source, rule, name)
        grey = Image.fromarray(np.uint8(np.rint(picture))).convert("L")
        small = grey.resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
        self._thumbnails[name] = np.asarray(small)
        return picture

    def copies(self, examples: Sequence[Example]) -> dict[str, int]:
        """Digest -> group of near copies; photographs whose features were known are read for it."""
        for example in examples:
            if example.name not in self._thumbnails:
                self.read(example.source, self._network.rule, example.name)
        thumbnails = [self._thumbnails[example.name] for example in examples]
        groups = group_alike(thumbnails, [example.label for example in examples])
        return dict(zip((example.digest for example in examples), groups.tolist(), strict=True))


def _groups(
    class_names: Sequence[str], examples: Sequence[Example], copies: Mapping[str, int]
) -> tuple[np.ndarray, list[str]]:
    """The number of each photograph's group, (photographs,); near copies have the same.

    A class whose photographs are nearly all the same can't be divided by groups: its photographs stay apart,
    and the notes say what that means.
    """
    alone = max(copies.values(), default=-1) + 1
    groups = np.array([copies.get(one.digest, alone + n) for n, one in enumerate(examples)])
    labels, notes = np.array([example.label for example in examples]), []
    for label, name in enumerate(class_names):
        own = np.flatnonzero(labels == label)
        if len(np.unique(groups[own])) < FEWEST:
            groups[own] = alone + len(examples) + own
            notes.append(
                f"nearly all photographs of {name!r} are the same picture, so its accuracy says little about "
                "others; take them from more sides and places"
            )
    return groups, notes


def _division(
    folds: int, labels: np.ndarray, groups: np.ndarray, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The photographs to fit on and to answer, for every fold of the cross-validation; groups stay in one."""
    if len(np.unique(groups)) == len(groups):
        return list(StratifiedKFold(folds, shuffle=True, random_state=seed).split(labels, labels))
    return list(StratifiedGroupKFold(folds, shuffle=True, random_state=seed).split(labels, labels, groups))


def _uneven(labels: np.ndarray) -> bool:
    """Whether the largest class has so many more photographs than the smallest that they must be balanced."""
    counts = np.bincount(labels)
    return bool(counts.max() > UNEVEN * counts.min())


def _regression(folds: int, seed: int, balanced: bool) -> Pipeline:
    """Chooses its strength by cross-validation of its own, inside of what it is fitted on.

    Args:
        folds: of the cross-validation around it.
        seed: of the folds.
        balanced: every class counts as much as any other, not every photograph.
    """
    regression = LogisticRegressionCV(
        Cs=STRENGTHS,
        l1_ratios=(0,),
        cv=StratifiedKFold(min(INNER_FOLDS, max(folds - 1, 2)), shuffle=True, random_state=seed),
        scoring="neg_log_loss",
        class_weight="balanced" if balanced else None,
        tol=TOLERANCE,
        max_iter=500,
        use_legacy_attributes=False,
    )
    return make_pipeline(StandardScaler(), regression)


def _dense_weights(head: Pipeline) -> tuple[np.ndarray, np.ndarray]:
    """Scaling and regression as one layer: kernel (features, classes) and bias (classes,)."""
    scaler, regression = head[0], head[-1]
    coefficients, intercept = regression.coef_, regression.intercept_
    if len(regression.classes_) == 2:  # scikit-learn keeps the difference of the two logits alone
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercept = np.concatenate([-intercept, intercept]) / 2
    kernel = coefficients.T / scaler.scale_[:, None]
    return kernel, intercept - scaler.mean_ @ kernel


def _with_classifier(model: keras.Model, kernel: np.ndarray, bias: np.ndarray) -> keras.Model:
    """The same network with a classifier of these weights."""
    features = model.get_layer(HEAD).input
    dense = keras.layers.Dense(len(bias), name=HEAD)
    probabilities = keras.layers.Softmax(name="probabilities")(dense(features))
    dense.set_weights([kernel, bias])
    return keras.Model(model.input, probabilities, name=model.name)


def _in_turns(examples: Sequence[Example], classes: int) -> Iterator[Example]:
    """One of every class, then the next of every class, and so on."""
    by_class = [[example for example in examples if example.label == label] for label in range(classes)]
    for number in range(max(map(len, by_class))):
        yield from (members[number] for members in by_class if number < len(members))
