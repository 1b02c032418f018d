"""The comparison of a bundle's weight formats: parity with Keras, size, latency, load time, memory."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.metrics import Evaluation
from mobilevit_core.evaluation.parity import Parity
from mobilevit_core.files import write_bytes
from mobilevit_core.inference.benchmark import benchmark_bundle

START, END = "<!-- formats -->", "<!-- end of formats -->"
REFERENCE = "keras"
RUNS = 100


def compare_formats(bundle: Bundle, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Measures every weight format.

    Args:
        bundle: an opened bundle.
        evaluations: weight format -> what it did with the same photos, Keras's among them.

    Returns:
        Protocol and "rows": weight format -> parity, size_bytes, latency_ms, load_ms, peak_memory_mb.

    Raises:
        UserError: the bundle has no Keras weights to compare with.
    """
    if REFERENCE not in evaluations:
        raise UserError(
            f"{bundle.folder} has no {FORMATS[REFERENCE].file}, which the others are compared with."
        )
    expected = evaluations[REFERENCE].probabilities
    figures = benchmark_bundle(bundle, RUNS)
    rows = figures.pop("formats")
    return {
        **figures,
        "rows": {
            name: {**rows[name], "parity": asdict(Parity.between(expected, evaluation.probabilities))}
            for name, evaluation in evaluations.items()
        },
    }


def markdown(figures: Mapping[str, Any]) -> str:
    """The table of an evaluation's figures with `comparison`, as Markdown."""
    comparison = figures["comparison"]
    threads = comparison["threads"]
    head = ["format", "accuracy (95 % interval)", "top-1 agreement", "largest / mean difference", "size"]
    head += [f"p50 / p95 ms, {number} thread{'s' if number > 1 else ''}" for number in threads]
    lines = [head + ["load", "peak memory"], ["---"] * (len(head) + 2)]
    for name, row in comparison["rows"].items():
        result, parity = figures["formats"][name], row["parity"]
        low, high = result["interval_95"]
        latencies = (row["latency_ms"][str(number)] for number in threads)
        memory = row["peak_memory_mb"]
        lines.append(
            [
                FORMATS[name].title,
                f"{result['accuracy']:.1%} ({low:.1%} to {high:.1%})",
                f"{parity['top1_agreement']:.1%}",
                f"{parity['largest_difference']:.2g} / {parity['mean_difference']:.2g}",
                f"{row['size_bytes'] / 1e6:.2f} MB",
                *(f"{latency['p50']:.1f} / {latency['p95']:.1f}" for latency in latencies),
                f"{row['load_ms']:.0f} ms",
                f"{memory:.0f} MB" if memory else "?",
            ]
        )
    photos = next(iter(figures["formats"].values()))["photos"]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    note = (
        f"{photos} photos of {figures['data']}, split {figures['split']}; "
        f"{comparison['image_size']} px; {comparison['processor']}; {comparison['system']}; "
        f"{comparison['protocol']}."
    )
    return f"{table}\n\n{note}"


def check_markers(path: Path) -> None:
    """Raises a UserError unless the file has a place for the table."""
    text = path.read_text(encoding="utf-8")
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UserError(f"{path} has no place for the table: two lines, {START} and {END}.")


def write_between(path: Path, text: str) -> None:
    """Replaces what a Markdown file has between the two markers."""
    check_markers(path)
    whole = path.read_text(encoding="utf-8")
    before, rest = whole.split(START)
    after = rest.split(END)[1]
    write_bytes(path, f"{before}{START}\n{text}\n{END}{after}".encode())
