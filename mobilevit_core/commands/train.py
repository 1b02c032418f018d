"""`train`: from a folder of photos to a measured bundle."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilevit_core import messages
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.download import find_bundle
from mobilevit_core.bundle.files import EXAMPLES, REPORT, REPORT_PAGE
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.commands.plan import ENOUGH_TEST, FINETUNE, REJECT, Plan, Wish
from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.dataset import CROSS_VALIDATION, PhotoDataset
from mobilevit_core.data.findings import CONTACT_SHEET, SKIPPED_LIST, Findings, counts_table
from mobilevit_core.data.loading import (
    Data,
    UndividedPhotos,
    check_enough,
    check_there,
    load_unlabelled,
    read_photos,
)
from mobilevit_core.data.provenance import RECORDED_SPLITS, Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.images.memory import remembering
from mobilevit_core.training.recipes import HEAD, Recipe, balance_notes, head_balance_notes

if TYPE_CHECKING:
    from mobilevit_core.evaluation.metrics import Evaluation
    from mobilevit_core.training.own_classes import NetworkTeachers
    from mobilevit_core.training.run_folder import RunFolder
    from mobilevit_core.training.transfer import Start

RUNS = Path("runs")
DEFAULT_DATA = "tf_flowers"


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Attributes:
        bundle: the artefact.
        figures: what was measured on `split`, as `evaluate` gives it.
        split: "test", "validation", or "cross-validation" where all photos were trained on.
        report: the page with plots and mistakes.
        refused: a sentence for every weight format that was refused.
        dataset: the photos.
    """

    bundle: Bundle
    figures: dict[str, Any]
    split: str
    report: Path
    refused: tuple[str, ...]
    dataset: PhotoDataset = field(repr=False)

    @property
    def result(self) -> dict[str, Any]:
        """The figures of the first weight format: accuracy, interval_95, photos, per_class ..."""
        return next(iter(self.figures["formats"].values()))

    @property
    def doubts(self) -> list[str]:
        """Sentences about what the accuracy hides: one class is most of it, or a class is never found."""
        figures = self.result
        rows = figures["per_class"]
        name = max(rows, key=lambda name: rows[name]["photos"])
        share = rows[name]["photos"] / figures["photos"]
        told = []
        if share > max(figures["interval_95"][0], 1.5 / len(rows)):
            told.append(
                f"always answering {name!r} would be right for {100 * share:.1f} % of these photos, so "
                "the accuracy says little; look at the recall of each class."
            )
        never = [name for name, row in rows.items() if row["photos"] and not row["recall"]]
        if never:
            told.append(f"never recognized: {', '.join(never)}. More photos of such classes help most.")
        return told


def train(
    data: Data,
    run: str | os.PathLike[str] | None = None,
    *,
    recipe: str | None = None,
    weights: str | os.PathLike[str] | None = None,
    values: Mapping[str, Any] | None = None,
    teachers: Sequence[str | os.PathLike[str]] = (),
    unlabelled: Sequence[str] = (),
    examples: bool = True,
) -> Trained:
    """Trains on photos, exports, evaluates and writes the report.

    Whatever is not set is chosen and explained on standard error. If it is stopped, the same call
    continues after the last finished epoch; once finished, it returns what is there.

    Args:
        data: a folder with one subfolder per class, a zip or CSV file, a name in tensorflow-datasets,
            several of them, or a `DataChoice`, which says more about the photos.
        run: folder of the run; by default below `runs`, named after the data.
        recipe: "head" or a key of `recipes.RECIPES`.
        weights: what to start from: a bundle's folder, "general", "imagenet", a safetensors file,
            "hf://OWNER/NAME", or "fresh".
        values: of the recipe, to override.
        teachers: bundles of the same classes to learn from, or networks that saw more of the world: names
            of `teacher_networks.TEACHERS` or ONNX files.
        unlabelled: folders or data sets with photos without labels, that teacher networks are asked about.
        examples: keeps up to six held-out photos, shrunk, in the bundle, for its page to open on.

    Returns:
        The bundle and its figures.

    Raises:
        UserError: photos, weights, values or the run folder do not allow a training.
        Stopped: Ctrl-C or SIGTERM; the run folder keeps the last finished epoch. Also the end of a training
            on several machines, whose bundle another process makes.
    """
    choice = DataChoice.of(data)
    texts = {key: str(value) for key, value in (values or {}).items()}
    for name in choice.sources:
        check_there(name)
    folder = Path(run) if run else default_run(choice.data[0], recipe)
    source = os.fspath(weights) if weights else None
    wish = Wish(recipe, source, texts, bool(teachers), _began_with(folder))
    plan = wish.before_loading()
    from mobilevit_core.training.run_folder import RunFolder
    from mobilevit_core.training.transfer import open_start

    if wish.recipe and not plan.is_head:  # a named recipe is final
        RunFolder(folder).check_values(plan.recipe.to_json())
    _prepare_keras(plan, wish)
    start = open_start(plan.start, plan.recipe.variant) if plan.start else None
    if start:
        start.check(plan.recipe)
    opened = _open_teachers([os.fspath(teacher) for teacher in teachers], plan, unlabelled)
    with remembering():
        messages.say(f"Reading {', '.join(choice.data)} ...")
        photos = read_photos(choice)
        dataset = _divided(photos, plan.recipe)
        findings = Findings.of(dataset)
        before, plan = plan, wish.with_photos(plan, dataset, findings)
        if plan.recipe.split_scheme != before.recipe.split_scheme:
            dataset = _divided(photos, plan.recipe)
        _tell(dataset, findings, plan, folder)
        if plan.is_head:
            return _train_head(plan, dataset, RunFolder(folder), examples)
        return _train_network(plan, dataset, RunFolder(folder), start, opened, examples)


def _began_with(folder: Path) -> str | None:
    """What a run in this folder started from: "imagenet", or "" for anything else; None without a run."""
    from mobilevit_core.models.released_weights import IMAGENET, IMAGENET_DATA
    from mobilevit_core.training.run_folder import RunFolder

    run = RunFolder(folder)
    if not run.config.exists():
        return None
    start = run.record().get("start") or {}
    return IMAGENET if (start.get("data") or {}).get("name") == IMAGENET_DATA else ""


def _prepare_keras(plan: Plan, wish: Wish) -> None:
    """Checks and joins the devices before anything is computed; what may become a head needs no Keras yet."""
    plain = plan.recipe.devices == "one" and os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow"
    if plain and not wish.has_teacher and wish.recipe in (None, HEAD):
        return
    from mobilevit_core.training.devices import check_devices, join_machines

    check_devices(plan.recipe.devices, wish.has_teacher)
    if plan.recipe.devices == "machines":
        join_machines()


def _open_teachers(
    teachers: Sequence[str], plan: Plan, unlabelled: Sequence[str]
) -> "Sequence[Bundle] | NetworkTeachers":
    """Bundles of the same classes, or networks; a UserError for both at once."""
    from mobilevit_core.training.teacher_networks import is_network, open_teacher

    networks = [teacher for teacher in teachers if is_network(teacher)]
    if unlabelled and not networks:
        raise UserError("--unlabelled needs a network to explain the photos: --teacher efficientnet_lite0")
    if not networks:
        return [find_bundle(teacher) for teacher in teachers]
    if len(networks) < len(teachers):
        raise UserError("Teachers are either bundles of the same classes or networks. Leave out one kind.")
    if plan.recipe.devices != "one":
        raise UserError("--devices takes no teacher network. Leave one of them out.")
    from mobilevit_core.training.own_classes import NetworkTeachers

    photos = load_unlabelled(unlabelled).splits["train"] if unlabelled else ()
    return NetworkTeachers([open_teacher(network) for network in networks], photos)


def _divided(photos: UndividedPhotos, recipe: Recipe) -> PhotoDataset:
    return photos.divided(recipe.split_scheme, recipe.seed, keep_suspects=recipe.suspects != "drop")


def default_run(data: str, recipe: str | None) -> Path:
    """Where a run goes that names no folder.

    Args:
        data: the first of the photos: a folder, a zip or CSV file, or a data set's name.
        recipe: as the person chose it, None where that is left to us.

    Returns:
        A folder named after the data, and after the recipe if there is one.
    """
    path = Path(data)
    name = path.stem if path.is_file() else (path.resolve().name if path.is_dir() else data)
    name = name.replace("/", "-").replace(":", "-") or "run"
    return RUNS / (f"{name}-{recipe}" if recipe else name)


def _tell(dataset: PhotoDataset, findings: Findings, plan: Plan, folder: Path) -> None:
    """Says what was found and chosen, before the training begins."""
    messages.notes(dataset.notes)
    balance = head_balance_notes(dataset) if plan.is_head else balance_notes(dataset, plan.recipe)
    fitted = RECORDED_SPLITS if plan.is_head else ("train",)
    warnings = [*check_enough(dataset, fitted), *balance]
    if dataset.skipped:
        messages.note(f"all skipped files are listed in {folder / SKIPPED_LIST}")
    messages.show(counts_table(dataset))
    for sentence in findings.sentences():
        messages.say(f"Found: {sentence}")
    messages.say(f"Contact sheet: {folder / CONTACT_SHEET}")
    for reason in plan.reasons:
        messages.say(f"Chosen {reason}")
    for warning in warnings:
        messages.warn(f"{warning}.")


def _train_head(plan: Plan, dataset: PhotoDataset, run: "RunFolder", examples: bool) -> Trained:
    from mobilevit_core.conversion.packing import CALIBRATION_PHOTOS
    from mobilevit_core.training.features import open_trunk
    from mobilevit_core.training.head import train_head
    from mobilevit_core.training.label_noise import write_suspects

    training = dataset.splits["train"]
    evenly = training[:: -(-len(training) // CALIBRATION_PHOTOS)]
    trunk = open_trunk(plan.start, plan.recipe.variant, [photo.source for photo in evenly])
    bundle, refused, fitted = train_head(dataset, trunk, run, plan.recipe.seed)
    if len(dataset.splits.get("test", ())) >= ENOUGH_TEST:
        split, crossed = "test", None
    else:  # every photo answered by a classifier that never saw it
        split, crossed = CROSS_VALIDATION, fitted.evaluation
        dataset = replace(dataset, splits={**dataset.splits, split: fitted.photos})
    if not _is_measured(bundle, split):
        write_suspects(run.path, fitted.photos, dataset.class_names, fitted.evaluation.probabilities)
    # A head's network was not fitted to the head's photos; what it had seen before can't be told apart.
    on_head = (trunk.origin.get("recipe") or {}).get("name") == HEAD
    seen = None if on_head else Provenance.joined(trunk.provenance)
    # Keras, which takes seconds to load, has the same classifier on the same network.
    formats = [name for name in bundle.expected if FORMATS[name].engine == "litert"]
    return _measure(bundle, refused, dataset, run, split, examples, crossed, seen, formats)


def _train_network(
    plan: Plan,
    dataset: PhotoDataset,
    run: "RunFolder",
    start: "Start | None",
    teachers: "Sequence[Bundle] | NetworkTeachers",
    examples: bool,
) -> Trained:
    from mobilevit_core.training.distillation import Teachers
    from mobilevit_core.training.first_classifier import WithClassifier
    from mobilevit_core.training.label_noise import check_labels
    from mobilevit_core.training.trainer import train_bundle

    recipe = plan.recipe
    if start and plan.name in (FINETUNE, REJECT):
        start = WithClassifier(start, dataset.splits["train"], recipe.rule, recipe.flip > 0)
    if isinstance(teachers, Sequence):
        teachers = Teachers(teachers, dataset.class_names, dataset.other) if teachers else None
    else:
        held_out = [photo for split in ("validation", "test") for photo in dataset.splits.get(split, ())]
        teachers = teachers.without(held_out)
    bundle, refused = train_bundle(dataset, recipe, run, start, teachers)
    split = "test" if dataset.splits.get("test") else "validation"
    if not _is_measured(bundle, split):
        check_labels(run.path, bundle, dataset)
    return _measure(bundle, refused, dataset, run, split, examples)


def _page(bundle: Bundle) -> Path:
    return bundle.folder / REPORT / REPORT_PAGE


def _is_measured(bundle: Bundle, split: str) -> bool:
    return split in bundle.manifest.metrics and _page(bundle).is_file()


def _measure(
    bundle: Bundle,
    refused: Sequence[str],
    dataset: PhotoDataset,
    run: "RunFolder",
    split: str,
    examples: bool,
    crossed: "Evaluation | None" = None,
    seen: Provenance | None = None,
    formats: Sequence[str] = (),
) -> Trained:
    """Evaluates a bundle and writes the report, unless both are there.

    Args:
        bundle: the new bundle.
        refused: sentences about its formats.
        dataset: its photos.
        run: its folder.
        split: to measure on.
        examples: whether the bundle gets photos to try it with.
        crossed: the answers by cross-validation, where those are the figures.
        seen: with `crossed`, what the network had seen before; None where that is not known.
        formats: that are measured where not by cross-validation; default: all.
    """
    if _is_measured(bundle, split):
        figures = bundle.manifest.metrics[split]
        return Trained(bundle, figures, split, _page(bundle), tuple(refused), dataset)
    from mobilevit_core.evaluation.examples import write_examples
    from mobilevit_core.evaluation.metrics import Measured, warn_of_provenance
    from mobilevit_core.evaluation.report import write_report
    from mobilevit_core.inference.classifier import DEFAULT_FORMAT, load_formats
    from mobilevit_core.training.answers import write_answers

    names = formats or bundle.expected
    classifiers = load_formats(bundle, names[:1] if crossed else names)
    if crossed:
        measured = Measured(dataset, split, {DEFAULT_FORMAT: crossed})
    else:
        messages.say(f"Measuring accuracy on the {split} split ...")
        measured, seen = Measured.of(classifiers, dataset, split), bundle.provenance
    write_answers(run.path, measured)
    figures = measured.figures(seen)
    warn_of_provenance(figures)
    if examples:
        kept = write_examples(classifiers[0], measured)
        messages.say(
            f"Kept {len(kept)} of your photos in {bundle.folder / EXAMPLES}, for the page; --no-examples "
            "leaves them out."
        )
    page = write_report(classifiers[0], measured, figures)
    return Trained(bundle, figures, split, page, tuple(refused), dataset)
