"""The command line: parses, calls, prints. No logic of its own.

A person's mistake gives one message and exit code 2; results go to standard output, all else to standard
error. Libraries are imported inside the commands, so that --help and a mistyped path answer at once.
"""

import dataclasses
import json
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table
from typer.core import TyperGroup

from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import ALL, SPLIT_SCHEMES, SPLITS, PhotoDataset
from mobilevit_core.data.loading import check_enough, load_dataset, load_described
from mobilevit_core.data.summary import SKIPPED_LIST, counts_table
from mobilevit_core.errors import UserError
from mobilevit_core.training.recipes import RECIPES, Recipe, balance_notes, make_recipe

if TYPE_CHECKING:
    from mobilevit_core.inference.answer import Answer

SHOWN_NOTES = 10
# Modules that the light installation lacks -> the extra that brings them.
EXTRAS = dict.fromkeys(
    (
        "ai_edge_quantizer",
        "filelock",
        "huggingface_hub",
        "jinja2",
        "keras",
        "matplotlib",
        "safetensors",
        "scipy",
        "sklearn",
        "tensorflow",
        "tensorflow_datasets",
    ),
    "train",
)
# Options that have another name since version 3 of the manifest, for one release.
FORMER_OPTIONS = {"--part": "--split", "--runtime": "--format", "--all-variants": "--all-formats"}
EVALUATED_SPLITS = (*SPLITS, ALL)
HEAD_RECIPE = "head"  # a new classifier on the features of --weights, in seconds

console = Console(highlight=False)
messages = Console(stderr=True, highlight=False)


class Commands(TyperGroup):
    """Turns a UserError of any command into one message and exit code 2."""

    def invoke(self, ctx: typer.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except UserError as error:
            raise _failed(str(error)) from None
        except OSError as error:
            if error.filename is None:
                raise
            raise _failed(f"{error.filename}: {error.strerror}") from None
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            raise _failed(
                f"{ctx.invoked_subcommand} needs {error.name}, which is not installed. In the folder of this "
                f"project: pip install '.[{extra}]'"
            ) from None
        except KeyboardInterrupt as stop:
            messages.print(str(stop) or "Stopped.", markup=False, soft_wrap=True)
            raise typer.Exit(getattr(stop, "exit_code", 128 + signal.SIGINT)) from None
        except Exception as error:
            former = getattr(error, "option_name", None)  # of an unknown option
            if former not in FORMER_OPTIONS:
                raise
            raise _failed(f"{former} is called {FORMER_OPTIONS[former]} now.") from None


def _failed(message: str) -> typer.Exit:
    messages.print(f"Error: {message}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(2)


app = typer.Typer(
    cls=Commands,
    help="MobileViT from photographs to a phone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

BundleArgument = Annotated[Path, typer.Argument(help="Folder of a bundle, for example demo/weights.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
FormatOption = Annotated[str | None, typer.Option(help=f"One of: {', '.join(FORMATS)}.")]
DataHelp = "A folder with one subfolder of photographs a class, or a data set of tensorflow-datasets."
DataOption = Annotated[
    list[str] | None,
    typer.Option(help=f"{DataHelp} Repeated: the union, same classes joined. Default: tf_flowers."),
]
OtherOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Photographs that show none of the classes, a folder or a data set of tensorflow-datasets; "
        "they become the class 'none of these', like a subfolder _other of the data. Can be repeated."
    ),
]
OtherWithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A class to leave out of --other; those with the name of a wanted class are left out anyway. "
        "Can be repeated."
    ),
]
DataWeightOption = Annotated[
    list[str] | None,
    typer.Option(
        help="SOURCE=NUMBER: how often photographs of a source of --data or --other are drawn, compared "
        "with the others. Can be repeated."
    ),
]


@app.command()
def train(
    data: DataOption = None,
    other: OtherOption = None,
    other_without: OtherWithoutOption = None,
    data_weight: DataWeightOption = None,
    recipe: Annotated[str, typer.Option(help=f"One of: {', '.join((*RECIPES, HEAD_RECIPE))}.")] = "default",
    run: Annotated[
        Path | None, typer.Option(help="Run folder; the same one goes on. Default: runs/RECIPE.")
    ] = None,
    values: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override a value of the recipe, NAME=VALUE; can be repeated."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            help="What to start from: a bundle of any classes, imagenet (the authors' weights), a "
            "safetensors file of timm or transformers, or hf://OWNER/NAME. Default: fresh weights."
        ),
    ] = None,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(help="A bundle of the same classes to learn from; can be repeated."),
    ] = None,
    leave_out: Annotated[
        str | None,
        typer.Option(
            help="A data set whose validation and test photographs, and copies of them, must not "
            "be trained on; for pretraining."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A class to leave out, to test the model on the unknown; can be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a MobileViT and write its bundle into the run folder.

    Stopped at any time, the same command goes on after the last finished epoch.

    Example: python -m mobilevit_core train --data my_photos --run runs/mine --set stages=128:40,192:10

    With a class "none of these": train --data my_photos --other caltech101 --run runs/mine
    """
    overrides = dict(_name_and_value(value) for value in values or [])

    def load(chosen: Recipe, folder: Path) -> PhotoDataset:
        dataset = load_dataset(
            data or ["tf_flowers"],
            chosen.split_scheme,
            chosen.seed,
            leave_out=load_dataset(leave_out) if leave_out else None,
            without=without or (),
            keep_suspects=chosen.suspects != "drop",
            other=other or (),
            other_without=other_without or (),
            weights=_weights(data_weight or ()),
        )
        _show_data(dataset, [*check_enough(dataset), *balance_notes(dataset, chosen)], folder)
        return dataset

    if recipe == HEAD_RECIPE:
        _train_head(load, run, overrides, weights, bool(teacher), as_json)
        return
    chosen = make_recipe(recipe, overrides)
    folder = run or Path("runs") / recipe
    from mobilevit_core.bundle.bundle import open_bundle
    from mobilevit_core.training.transfer import open_start

    start = open_start(weights, chosen.variant) if weights else None
    if start:
        start.check(chosen)
    teacher_bundles = [open_bundle(path) for path in teacher or []]
    dataset = load(chosen, folder)

    from mobilevit_core.training.distillation import Teachers
    from mobilevit_core.training.run_folder import RunFolder
    from mobilevit_core.training.trainer import train_bundle

    teachers = Teachers(teacher_bundles, dataset.class_names) if teacher_bundles else None
    bundle, refused = train_bundle(dataset, chosen, RunFolder(folder), start, teachers)
    for sentence in refused:
        messages.print(sentence, style="yellow", markup=False)
    if as_json:
        print(json.dumps({"bundle": str(bundle.folder), **bundle.manifest.to_json()}))
    else:
        measured = next(iter(bundle.manifest.metrics["validation"]["formats"].values()))
        split = "test" if dataset.splits.get("test") else "validation"
        for line in (
            f"Bundle: {bundle.folder}, accuracy {measured['accuracy']:.1%} on the validation split",
            f"Next: python -m mobilevit_core evaluate {bundle.folder} --split {split}",
        ):
            console.print(line, markup=False, soft_wrap=True)


def _train_head(
    load: Callable[[Recipe, Path], PhotoDataset],
    run: Path | None,
    overrides: Mapping[str, str],
    weights: str | None,
    has_teacher: bool,
    as_json: bool,
) -> None:
    """What `train --recipe head` does."""
    allowed = ("seed", "split_scheme", "suspects", "variant")
    others = sorted(set(overrides) - set(allowed))
    if others:
        raise UserError(f"The recipe head has no value {others[0]!r}. It has: {', '.join(allowed)}.")
    if not weights or has_teacher:
        raise UserError(
            "The recipe head needs --weights, whose features it uses, and takes no --teacher: "
            "--weights imagenet, or a bundle such as --weights demo/weights."
        )
    chosen = make_recipe("finetune", {"suspects": "keep", **overrides})  # checks the values
    from mobilevit_core.training.features import open_network
    from mobilevit_core.training.head import CROSS_VALIDATION, train_head
    from mobilevit_core.training.run_folder import RunFolder

    network = open_network(weights, chosen.variant)
    folder = run or Path("runs") / HEAD_RECIPE
    dataset = load(chosen, folder)
    with Progress(console=messages, transient=True) as bar:
        task = bar.add_task("Looking at the photographs", total=None)
        bundle, refused = train_head(
            dataset,
            network,
            RunFolder(folder),
            chosen.seed,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
    for sentence in refused:
        messages.print(sentence, style="yellow", markup=False)
    if as_json:
        print(json.dumps({"bundle": str(bundle.folder), **bundle.manifest.to_json()}))
        return
    result = bundle.manifest.metrics[CROSS_VALIDATION]["formats"]["keras"]
    low, high = result["interval_95"]
    lines = [
        f"Bundle: {bundle.folder}, accuracy {result['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) "
        f"by cross-validation on {result['photos']} photographs"
    ]
    if dataset.splits.get("test"):
        lines.append(f"Next: python -m mobilevit_core evaluate {bundle.folder} --split test")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


@app.command()
def finish(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, for example runs/mine.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder of the bundle. Default: inside the run folder.")
    ] = None,
) -> None:
    """Make a bundle from a run's newest checkpoint, even before its end or with photographs missing."""
    from mobilevit_core.training.finish import finish_run
    from mobilevit_core.training.run_folder import RunFolder

    bundle, refused = finish_run(RunFolder(run), to)
    for sentence in refused:
        messages.print(sentence, style="yellow", markup=False)
    console.print(f"Bundle: {bundle.folder}", markup=False, soft_wrap=True)


@app.command()
def evaluate(
    bundle: BundleArgument,
    data: Annotated[str | None, typer.Option(help=f"{DataHelp} Default: what it was trained on.")] = None,
    split: Annotated[str, typer.Option(help=f"One of: {', '.join(EVALUATED_SPLITS)}.")] = "test",
    split_scheme: Annotated[str | None, typer.Option(help="Default: the bundle's.")] = None,
    format: FormatOption = None,
    record: Annotated[
        bool,
        typer.Option(help="Store the figures in bundle.json and a page in the bundle's report/."),
    ] = False,
    all_formats: Annotated[
        bool,
        typer.Option(
            help="Compare all weight formats: parity with Keras, size, latency, load time, memory; "
            "with --record."
        ),
    ] = False,
    readme: Annotated[
        Path | None, typer.Option(help="Write the table of --all-formats into this Markdown file, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Accuracy with its 95 % interval, and per class, on one split of a data set."""
    from mobilevit_core.bundle.bundle import open_bundle

    if split in SPLIT_SCHEMES:
        raise UserError(f"{split} is a split scheme, not a split: --split-scheme {split}")
    if split not in EVALUATED_SPLITS:
        raise UserError(f"Unknown split {split!r}. There are: {', '.join(EVALUATED_SPLITS)}.")
    if all_formats and format:
        raise UserError("--all-formats compares all of them. Leave out --format.")
    if readme and not all_formats:
        raise UserError("--readme writes the table of --all-formats. Add --all-formats.")
    record = record or all_formats
    if record and (data or split_scheme):
        raise UserError(
            "--record stores what the bundle does on its own data. Leave out --data and --split-scheme, "
            "or print the figures for other data with --json."
        )
    if all_formats:
        from mobilevit_core.evaluation.format_comparison import (
            check_markers,
            compare_formats,
            markdown,
            write_between,
        )
    if readme:
        check_markers(readme)
    opened = open_bundle(bundle)
    names = [format] if format else opened.expected
    for name in names:
        opened.weights(name)
    source, recipe = opened.manifest.data, opened.manifest.recipe
    recipe = {**recipe, "split_scheme": split_scheme or recipe["split_scheme"]}
    dataset = _load(data or source, recipe)
    if not opened.manifest.other_class:
        dataset = dataset.without_other()
    from mobilevit_core.evaluation.metrics import evaluate_formats, figures_of

    evaluations = evaluate_formats(opened, dataset, split, names)
    figures = figures_of(evaluations, dataset, split, opened.provenance)
    if all_formats:
        messages.print("Measuring latency and memory of every weight format ...")
        figures["comparison"] = compare_formats(opened, evaluations)
    _warn_of_provenance(figures)
    if as_json:
        print(json.dumps(figures))
    else:
        for index, (name, result) in enumerate(figures["formats"].items()):
            _print_evaluation(FORMATS[name].title, figures, result, classes=index == 0)
        if all_formats:
            print(markdown(figures))
    if readme:
        write_between(readme, markdown(figures))
    if record:
        from mobilevit_core.evaluation.report import write_report

        messages.print("Measuring robustness and pictures of something else for the report ...")
        page = write_report(opened, dataset, split, evaluations, figures)
        opened.record_metrics(split, figures)
        messages.print(f"Report: {page}", markup=False, soft_wrap=True)


@app.command()
def unknown(
    bundle: BundleArgument,
    data: Annotated[str, typer.Option(help=f"{DataHelp} With classes that the bundle does not know.")],
    split: Annotated[str, typer.Option(help=f"One of: {', '.join(EVALUATED_SPLITS)}.")] = "test",
    format: FormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """How well photographs of classes that the bundle never saw are told from those that it knows."""
    from mobilevit_core.bundle.bundle import open_bundle
    from mobilevit_core.evaluation.metrics import unknown_classes
    from mobilevit_core.inference.classifier import load_classifier

    recipe = open_bundle(bundle).manifest.recipe
    dataset = _load(data, recipe)
    figures = unknown_classes(load_classifier(bundle, format), dataset, split)
    if as_json:
        print(json.dumps({"data": dataset.name, "split": split, "unknown": figures}))
        return
    for name, row in figures.items():
        console.print(
            f"{name}: AUROC {row['auroc']:.3f}; {row['found']:.1%} of {row['pictures']} called unknown, "
            f"{row['false_alarms']:.1%} of the photographs of known classes ({dataset.name}, split {split})",
            markup=False,
            soft_wrap=True,
        )


@app.command()
def predict(
    bundle: BundleArgument,
    photos: Annotated[list[Path], typer.Argument(help="JPEG, PNG or WebP files.")],
    format: FormatOption = None,
    top: Annotated[int, typer.Option(min=1, help="How many answers a photo.")] = 5,
    as_json: JsonOption = False,
) -> None:
    """The most probable classes of photographs.

    A photograph that can't be read is named on standard error; the others get their answers all the same.
    """
    from mobilevit_core.inference.classifier import load_classifier

    classifier = load_classifier(bundle, format)
    answers, problems = {}, []
    for photo in photos:
        try:
            answers[str(photo)] = classifier.predict(photo)
        except UserError as error:
            problems.append(str(error))
    _print_answers(classifier.format, answers, top, as_json)
    if problems:
        raise UserError("\n".join(problems))


def _print_answers(format: str, answers: dict[str, "Answer"], top: int, as_json: bool) -> None:
    if as_json:
        rows = {photo: answer.to_json(top) for photo, answer in answers.items()}
        print(json.dumps({"format": format, "photos": rows}))
        return
    for photo, answer in answers.items():
        none = "  (probably none of these)" if answer.unknown else ""
        console.print(f"{photo}{none}", markup=False, soft_wrap=True)
        for label, score in answer.top(top):
            console.print(f"  {score:7.2%}  {label}", markup=False)


@app.command()
def export(
    bundle: BundleArgument,
    to: Annotated[Path, typer.Option(help="Folder to write to; must not exist.")],
    saved_model: Annotated[bool, typer.Option(help="Write a SavedModel instead of TFLite files.")] = False,
    data: Annotated[
        str | None, typer.Option(help=f"{DataHelp} To compare on; without it, on drawn pictures.")
    ] = None,
) -> None:
    """Convert a bundle's Keras weights anew: the bundle with all TFLite formats, or a SavedModel."""
    from mobilevit_core.bundle.bundle import open_bundle

    opened = open_bundle(bundle)
    opened.weights("keras")
    if to.exists():
        raise UserError(f"{to} exists already. Name a new folder with --to.")

    from mobilevit_core.conversion.export import export_again, export_saved_model

    if saved_model:
        export_saved_model(opened, to)
        console.print(f"SavedModel: {to}", markup=False, soft_wrap=True)
        return
    dataset = _load(data, opened.manifest.recipe) if data else None
    written, refused = export_again(opened, to, dataset)
    for name, parity in written.manifest.parity.items():
        console.print(
            f"{written.weights(name)}: {written.size_bytes(name):,} bytes, {parity['same_top1']:.1%} of "
            f"{parity['pictures']} pictures as Keras, largest difference "
            f"{parity['largest_difference']:.2g}",
            markup=False,
            soft_wrap=True,
        )
    if not data:
        messages.print("int8 is not among them: it finds its scales on photographs. Name some with --data.")
    if refused:
        raise UserError("\n".join(refused))


@app.command()
def benchmark(
    bundle: BundleArgument,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each format.")] = 50,
    threads: Annotated[str, typer.Option(help="Numbers of threads to measure with, 1 to 256.")] = "1,2",
    plot: Annotated[Path | None, typer.Option(help="SVG file to draw the latencies into.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Latency, load time and memory of every format of a bundle, each in a process of its own."""
    from mobilevit_core.bundle.bundle import open_bundle
    from mobilevit_core.inference.benchmark import benchmark_bundle

    figures = benchmark_bundle(open_bundle(bundle), runs, _numbers(threads))
    if plot:
        from mobilevit_core.evaluation.plots import latencies
        from mobilevit_core.files import write_bytes

        write_bytes(plot, latencies(figures["formats"], FORMATS).encode())
        messages.print(f"Plot: {plot}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps(figures))
        return
    console.print(f"{figures['processor']}; {figures['protocol']}", markup=False, soft_wrap=True)
    table = Table()
    columns = [f"p50 / p95 ms, {number} thr." for number in figures["threads"]]
    for column in ("weights", *columns, "load ms", "memory MB", "size MB"):
        table.add_column(column, justify="left" if column == "weights" else "right")
    for name, row in figures["formats"].items():
        latencies_ms = (row["latency_ms"][str(number)] for number in figures["threads"])
        table.add_row(
            FORMATS[name].title,
            *(f"{latency['p50']:.1f} / {latency['p95']:.1f}" for latency in latencies_ms),
            f"{row['load_ms']:.0f}",
            f"{row['peak_memory_mb']:.0f}" if row["peak_memory_mb"] else "?",
            f"{row['size_bytes'] / 1e6:.2f}",
        )
    console.print(table)


def _numbers(text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UserError(f"--threads {text}: write numbers with commas between them, such as 1,2.") from None
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--threads {text}: every number once.")
    return numbers


@app.command(name="examples")
def write_example_photos(
    to: Annotated[Path, typer.Option(help="Folder to write to; the demo looks in the default.")] = Path(
        "demo/examples"
    ),
) -> None:
    """Write ten test photographs of tf_flowers, with their photographers, for the demo's gallery."""
    from mobilevit_core.data.tf_flowers.examples import CREDITS, LICENCE, write_examples

    written = write_examples(to)
    console.print(
        f"{len(written)} photographs in {to} ({LICENCE}, photographers in {CREDITS})",
        markup=False,
        soft_wrap=True,
    )


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write NAME=VALUE, for example --set batch_size=16.")
    return name.strip(), value.strip()


def _weights(texts: Sequence[str]) -> dict[str, float]:
    """Source -> weight of SOURCE=NUMBER texts; a path may have "=" in it."""
    weights = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise UserError(
                f"--data-weight {text}: write SOURCE=NUMBER, for example --data-weight my_photos=2."
            ) from None
    return weights


def _load(data: str | Mapping[str, Any], recipe: Mapping[str, Any]) -> PhotoDataset:
    """Loads a data set by name, or the one that a bundle describes, as a recipe says; shows the notes."""
    keep_suspects = recipe.get("suspects") != "drop"
    if isinstance(data, str):
        dataset = load_dataset(data, recipe["split_scheme"], recipe["seed"], keep_suspects=keep_suspects)
    else:
        dataset = load_described(data, recipe["split_scheme"], recipe["seed"], keep_suspects)
    _show_notes(dataset.notes)
    return dataset


def _show_notes(notes: Sequence[str]) -> None:
    for note in notes[:SHOWN_NOTES]:
        messages.print(f"Note: {note}", markup=False, soft_wrap=True)
    if len(notes) > SHOWN_NOTES:
        messages.print(f"Note: and {len(notes) - SHOWN_NOTES} more.")


def _show_data(dataset: PhotoDataset, warnings: Sequence[str], run: Path) -> None:
    """Says on standard error what a training finds, before it begins."""
    _show_notes(dataset.notes)
    if dataset.skipped:
        messages.print(
            f"Note: all skipped files are listed in {run / SKIPPED_LIST}", markup=False, soft_wrap=True
        )
    messages.print(counts_table(dataset))
    for warning in warnings:
        messages.print(f"Warning: {warning}.", style="yellow", markup=False, soft_wrap=True)


def _warn_of_provenance(figures: dict[str, Any]) -> None:
    """Says so where the bundle has seen photographs that it is evaluated on."""
    provenance, split = figures["provenance"], figures["split"]
    if provenance is None:
        text = "the bundle does not tell which photographs it was trained on; these may be among them."
    elif provenance["trained_on"] and split != "train":
        trained_on = provenance["trained_on"]
        text = f"{trained_on} of these photographs were trained on; the accuracy flatters the bundle."
    elif provenance["chosen_by"] and split not in ("train", "validation"):
        text = f"something was chosen by {provenance['chosen_by']} of these photographs (temperature, epoch)."
    else:
        return
    messages.print(f"Warning: {text}", style="yellow", soft_wrap=True, markup=False)


def _print_evaluation(title: str, figures: dict[str, Any], result: dict[str, Any], classes: bool) -> None:
    low, high = result["interval_95"]
    console.print(
        f"{title}: accuracy {result['accuracy']:.2%} (95 % interval {low:.1%} to {high:.1%}) on the "
        f"{result['photos']} photographs of {figures['data']}, {figures['split']} split, "
        f"split scheme {figures['split_scheme']}",
        markup=False,
        soft_wrap=True,
    )
    if "other" in result:
        found, count = result["other"]["found"], result["other"]["photos"]
        console.print(f"  {found:.1%} of {count} photographs of other things are called so")
    if not classes:  # those of the first weights are enough to read; --json has all
        return
    table = Table()
    for column in ("class", "precision", "recall", "photos"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, row in result["per_class"].items():
        table.add_row(escape(name), f"{row['precision']:.1%}", f"{row['recall']:.1%}", str(row["photos"]))
    console.print(table)


weights_app = typer.Typer(no_args_is_help=True, help="Weights that others released.")
app.add_typer(weights_app, name="weights")


@weights_app.command()
def check(
    source: Annotated[str, typer.Argument(help="imagenet, hf://OWNER/NAME or a safetensors file.")],
    picture: Annotated[Path, typer.Option(help="COCO's 000000039769.jpg.")],
    variant: Annotated[str, typer.Option(help="xxs, xs or s.")] = "xxs",
    as_json: JsonOption = False,
) -> None:
    """Compare released weights with the logits that were published for them.

    The picture is http://images.cocodataset.org/val2017/000000039769.jpg, saved to a file.
    """
    from mobilevit_core.models.create import check_variant
    from mobilevit_core.models.published_logits import check_published

    check_variant("paper", variant)
    result = check_published(source, variant, picture)
    if as_json:
        print(json.dumps({**dataclasses.asdict(result), "passed": result.passed}))
    else:
        for title, values in (("published", result.expected), ("measured", result.measured)):
            console.print(f"{title:9} {' '.join(f'{value:8.4f}' for value in values)}")
        console.print(f"largest difference {result.difference:.1e}")
    if not result.passed:
        raise UserError(f"{source} does not give the published logits for {picture}.")
