"""The commands that measure: evaluate, unknown, benchmark."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from mobilevit_core import messages
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.cli.app import app, console, result
from mobilevit_core.cli.options import BundleArgument, DataHelp, FormatOption, JsonOption
from mobilevit_core.commands import evaluate as commands
from mobilevit_core.errors import UserError


@app.command()
def evaluate(
    bundle: BundleArgument,
    data: Annotated[str | None, typer.Option(help=f"{DataHelp} Default: what it was trained on.")] = None,
    split: Annotated[str, typer.Option(help=f"One of: {', '.join(commands.EVALUATED_SPLITS)}.")] = "test",
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
            "implies --record."
        ),
    ] = False,
    ood: Annotated[
        list[str] | None,
        typer.Option(
            help="Photos that show none of the classes, a folder or a data set of tensorflow-datasets: "
            "how many are rejected. Can be repeated."
        ),
    ] = None,
    readme: Annotated[
        Path | None, typer.Option(help="Write the table of --all-formats into this Markdown file, too.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Accuracy with its 95 % interval, and per class, on one split of a data set."""
    if readme and not all_formats:
        raise UserError("--readme writes the table of --all-formats. Add --all-formats.")
    from mobilevit_core.evaluation import format_comparison

    if readme:
        format_comparison.check_markers(readme)
    evaluated = commands.evaluate(
        bundle,
        data,
        split,
        split_scheme=split_scheme,
        format=format,
        record=record,
        all_formats=all_formats,
        ood=ood or (),
    )
    if as_json:
        print(json.dumps(evaluated.figures))
    else:
        print_figures(evaluated.figures)
        print_rejection(evaluated.figures.get("rejection", {}))
        if all_formats:
            print(format_comparison.markdown(evaluated.figures))
    if readme:
        format_comparison.write_between(readme, format_comparison.markdown(evaluated.figures))
    if evaluated.report:
        messages.say(f"Report: {evaluated.report}")


def print_figures(figures: dict[str, Any]) -> None:
    """Accuracy of every weight format, and the classes of the first."""
    for name, row in figures["formats"].items():
        low, high = row["interval_95"]
        result(
            f"{FORMATS[name].title}: accuracy {row['accuracy']:.2%} (95 % interval {low:.1%} to {high:.1%}) "
            f"on {messages.counted(row['photos'], 'photo')} of {figures['data']}, {figures['split']} split, "
            f"split scheme {figures['split_scheme']}"
        )
        if "other" in row:
            rate, count = row["other"]["detection_rate"], row["other"]["photos"]
            result(f"  {rate:.1%} of {count} photos of anything else are rejected (OOD detection rate)")
    print_classes(next(iter(figures["formats"].values())))


def print_rejection(rows: dict[str, Any]) -> None:
    """One row per source of photos that show none of the classes."""
    if not rows:
        return
    table = Table("source", "photos", "trained on", "AUROC", "OOD detection rate", "TPR at 5 % FPR")
    for source, row in rows.items():
        seen = "unknown" if row["trained_on"] is None else str(row["trained_on"])
        shares = (f"{row[key]:.1%}" for key in ("detection_rate", "tpr_at_5_percent_fpr"))
        table.add_row(escape(source), str(row["photos"]), seen, f"{row['auroc']:.3f}", *shares)
    console.print(table)


def print_classes(figures: dict[str, Any]) -> None:
    """Precision and recall of one weight format for every class that there are photos of."""
    classes = {name: row for name, row in figures["per_class"].items() if row["photos"]}
    table = Table()
    for column in ("class", "precision", "recall", "photos"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for name, row in classes.items():
        precision = f"{row['precision']:.1%}" if len(classes) > 1 else "-"  # nothing else could be mistaken
        table.add_row(escape(name), precision, f"{row['recall']:.1%}", str(row["photos"]))
    console.print(table)


@app.command()
def unknown(
    bundle: BundleArgument,
    data: Annotated[str, typer.Option(help=f"{DataHelp} With classes that the bundle does not know.")],
    split: Annotated[str, typer.Option(help=f"One of: {', '.join(commands.EVALUATED_SPLITS)}.")] = "test",
    format: FormatOption = None,
    as_json: JsonOption = False,
) -> None:
    """How well photos of classes that the bundle never saw are told apart from those that it knows."""
    dataset, figures = commands.unknown(bundle, data, split, format)
    if as_json:
        print(json.dumps({"data": dataset.name, "split": split, "unknown": figures}))
        return
    for name, row in figures.items():
        result(
            f"{name}: AUROC {row['auroc']:.3f}; {row['detection_rate']:.1%} of {row['photos']} rejected, "
            f"{row['false_rejection_rate']:.1%} of photos of known classes ({dataset.name}, {split} split)"
        )


@app.command()
def benchmark(
    bundle: BundleArgument,
    runs: Annotated[int, typer.Option(min=1, help="Timed runs of each format.")] = 50,
    threads: Annotated[str, typer.Option(help="Numbers of threads to measure with, 1 to 256.")] = "1,2",
    plot: Annotated[Path | None, typer.Option(help="SVG file to draw the latencies into.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Latency, load time and memory of every format of a bundle, each in a process of its own."""
    from mobilevit_core.bundle.download import find_bundle
    from mobilevit_core.inference.benchmark import benchmark_bundle

    figures = benchmark_bundle(find_bundle(bundle), runs, _numbers(threads))
    if plot:
        from mobilevit_core.evaluation.plots import latencies
        from mobilevit_core.files import write_bytes

        write_bytes(plot, latencies(figures["formats"], FORMATS).encode())
        messages.say(f"Plot: {plot}")
    if as_json:
        print(json.dumps(figures))
    else:
        _print_benchmark(figures)


def _print_benchmark(figures: dict[str, Any]) -> None:
    result(f"{figures['processor']}; {figures['protocol']}")
    table = Table()
    columns = [f"p50 / p95 ms, {number} thr." for number in figures["threads"]]
    for column in ("format", *columns, "load ms", "memory MB", "size MB"):
        table.add_column(column, justify="left" if column == "format" else "right")
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
        raise UserError(f"--threads {text}: name each number once.")
    return numbers
