"""`evaluate` and `unknown`: how good a bundle is on photos."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilevit_core import hub, messages
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.download import find_bundle
from mobilevit_core.bundle.private_paths import last_name
from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.dataset import ALL, FOLDERS, SPLIT_SCHEMES, SPLITS, PhotoDataset
from mobilevit_core.data.loading import load_dataset, load_described
from mobilevit_core.data.tfds import is_known
from mobilevit_core.errors import UserError

EVALUATED_SPLITS = (*SPLITS, ALL)


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Attributes:
        figures: data, split and, under "formats", accuracy, its 95 % interval, precision and recall per class
            and the confusion matrix of every weight format; as `bundle.json` records them.
        report: the page that was written, None without `record`.
    """

    figures: dict[str, Any]
    report: Path | None = None

    @property
    def accuracy(self) -> float:
        """Of the first weight format."""
        return next(iter(self.figures["formats"].values()))["accuracy"]


def evaluate(
    bundle: str | os.PathLike[str] | Bundle,
    data: str | None = None,
    split: str = "test",
    *,
    split_scheme: str | None = None,
    format: str | None = None,
    record: bool = False,
    all_formats: bool = False,
    ood: Sequence[str] = (),
) -> Evaluated:
    """Measures a bundle on one split of a data set.

    Args:
        bundle: its folder, or an opened one.
        data: a folder, zip or CSV file, or a name in tensorflow-datasets; by default what it was trained on.
        split: "train", "validation", "test" or "all".
        split_scheme: how the splits are made; by default as in the bundle's training.
        format: the weight format to measure; by default each that the bundle has.
        record: store the figures in `bundle.json` and a page in the bundle's `report/`.
        ood: folders or names in tensorflow-datasets whose photos show none of the classes
            (out-of-distribution); how many of each are rejected comes under "rejection".
        all_formats: also compare parity, size, latency, load time and memory of all formats; implies
            `record`.

    Returns:
        The figures.

    Raises:
        UserError: no such bundle, data, split or format, or options that contradict each other.
    """
    record = record or all_formats
    if record and hub.is_address(bundle):
        raise UserError(f"{bundle} is on the Hub; only a bundle in a folder of yours takes a report.")
    _check(split, format, record, all_formats)
    opened = find_bundle(bundle)
    names = [format] if format else opened.expected
    for name in names:
        opened.weights(name)
    manifest = opened.manifest
    recipe = {**manifest.recipe, "split_scheme": split_scheme or manifest.recipe["split_scheme"]}
    dataset = load_as(data or _trained_on(opened), recipe, to_measure=True)
    if record and (split_scheme or data and dataset.describe()["digest"] != manifest.data["digest"]):
        raise UserError(
            f"{'--all-formats' if all_formats else '--record'} stores what the bundle does on its own data, "
            "and these are others. Leave out --data and --split-scheme, or print the figures with --json."
        )
    if not manifest.other_class:
        dataset = dataset.without_other()
    if not data and not split_scheme:
        _warn_of_changes(dataset, manifest.data, split)
    from mobilevit_core.evaluation.metrics import Measured, warn_of_provenance
    from mobilevit_core.inference.classifier import load_formats

    classifiers = load_formats(opened, names)
    measured = Measured.of(classifiers, dataset, split)
    figures = measured.figures(opened.provenance)
    if all_formats:
        from mobilevit_core.evaluation.format_comparison import compare_formats

        messages.say("Measuring latency and memory of every weight format ...")
        figures["comparison"] = compare_formats(opened, measured.evaluations)
    if ood:
        from mobilevit_core.evaluation.ood_sources import rejection_by_source

        figures["rejection"] = rejection_by_source(classifiers[0], measured.first, ood)
    warn_of_provenance(figures)
    if not record:
        return Evaluated(figures)
    from mobilevit_core.evaluation.report import write_report

    return Evaluated(figures, write_report(classifiers[0], measured, figures))


def _trained_on(bundle: Bundle) -> Mapping[str, Any]:
    """The description of a bundle's own data. It names a folder; where that lies, the run beside it knows."""
    from mobilevit_core.training.run_folder import RunFolder

    run, described = RunFolder(bundle.folder.resolve().parent), bundle.manifest.data
    recorded = run.record()["data"] if run.config.is_file() else described
    if last_name(recorded["name"]) == described["name"]:
        described = recorded
    names = DataChoice.from_manifest(described).data
    # A data set is recorded with its version: a folder "caltech101" is not the data set of that name.
    missing = [name for name in names if not Path(name).exists() and not (":" in name and is_known(name))]
    if missing:
        raise UserError(
            f"{bundle.folder} was trained on {missing[0]}, and does not say where that folder lies. Name it "
            "with --data."
        )
    return described


def _warn_of_changes(dataset: PhotoDataset, trained: Mapping[str, Any], split: str) -> None:
    """Says so where a bundle's own data are no longer those of its training."""
    now = dataset.describe()
    if now["digest"] == trained["digest"] or not trained.get("photos"):
        return
    before, found = trained["photos"].get(split), len(dataset.splits.get(split, ()))
    if before is not None and found != before:
        messages.warn(
            f"the {split} split has {found} photos, it had {before} when the bundle was trained: the "
            "data have changed since, or some are missing here."
        )


def _check(split: str, format: str | None, record: bool, all_formats: bool) -> None:
    """Raises a UserError where the options contradict each other."""
    if split in SPLIT_SCHEMES:
        raise UserError(f"{split} is a split scheme, not a split: --split-scheme {split}")
    if split not in EVALUATED_SPLITS:
        raise UserError(f"Unknown split {split!r}. There are: {', '.join(EVALUATED_SPLITS)}.")
    if all_formats and format:
        raise UserError("--all-formats compares all of them. Leave out --format.")


def unknown(
    bundle: str | os.PathLike[str], data: str, split: str = "test", format: str | None = None
) -> tuple[PhotoDataset, dict[str, dict[str, float]]]:
    """How well photos of classes that a bundle does not know are told apart from those that it knows.

    Args:
        bundle: its folder.
        data: a data set with classes that the bundle knows, and others.
        split: of the data set.
        format: the weight format to ask.

    Returns:
        The data set, and unknown class -> figures of `metrics.separation`.

    Raises:
        UserError: as `evaluate`, or the bundle has no rule for unknown photos.
    """
    recipe = find_bundle(bundle).manifest.recipe
    from mobilevit_core.evaluation.metrics import unknown_classes
    from mobilevit_core.inference.classifier import load_classifier

    dataset = load_as(data, recipe)
    return dataset, unknown_classes(load_classifier(bundle, format), dataset, split)


def load_as(
    data: str | Mapping[str, Any], recipe: Mapping[str, Any], to_measure: bool = False
) -> PhotoDataset:
    """Loads a data set by name, or the one that a bundle describes, as a recipe says; prints its notes."""
    keep_suspects = recipe.get("suspects") != "drop"
    scheme = recipe["split_scheme"]
    if scheme == FOLDERS:  # the folder's own layout decided, and does so again
        scheme = "default"
    if isinstance(data, str):
        dataset = load_dataset(data, scheme, recipe["seed"], keep_suspects, to_measure)
    else:
        dataset = load_described(data, scheme, recipe["seed"], keep_suspects)
    messages.notes(dataset.notes)
    return dataset
