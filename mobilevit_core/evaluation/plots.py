"""The report's plots, as SVG text that is the same every time."""

import functools
import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from mobilevit_core.bundle.weight_formats import WeightFormat

INK, FIRST, SECOND = "#333333", "#1b7a4b", "#b5651d"
STYLE = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "mobilevit",
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.parse_math": False,  # a class may be named "5$ and 10$"
}


def _styled(plot: Callable[..., Figure]) -> Callable[..., str]:
    """Draws inside the style and returns SVG without the XML declaration: it goes into a page."""

    @functools.wraps(plot)
    def drawn(*arguments: Any) -> str:
        buffer = io.StringIO()
        with matplotlib.rc_context(STYLE):
            plot(*arguments).savefig(buffer, format="svg", metadata={"Date": None})
        text = buffer.getvalue()
        return text[text.index("<svg") :]

    return drawn


@_styled
def confusion(matrix: list[list[int]], names: list[str]) -> Figure:
    """Counts, rows the true classes."""
    figure = _figure(1.6 + 0.75 * len(names), 1.2 + 0.6 * len(names))
    axes = figure.add_subplot()
    totals = [max(sum(row), 1) for row in matrix]
    shares = [[count / total for count in row] for row, total in zip(matrix, totals, strict=True)]
    axes.imshow(shares, cmap="Greens", vmin=0, vmax=1)
    if len(names) <= 20:  # more would not be legible
        for y, row in enumerate(matrix):
            for x, count in enumerate(row):
                color = "white" if shares[y][x] > 0.5 else INK
                axes.text(x, y, str(count), ha="center", va="center", color=color)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="answer", ylabel="true class")
    return figure


@_styled
def reliability(before: list[dict[str, float]], after: list[dict[str, float]]) -> Figure:
    """Accuracy against confidence, before and after the temperature."""
    figure = _figure(5, 4)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#aaaaaa", linewidth=1)
    for rows, label, color, marker in (
        (before, "before", SECOND, "s"),
        (after, "after temperature scaling", FIRST, "o"),
    ):
        axes.plot(
            [row["confidence"] for row in rows],
            [row["accuracy"] for row in rows],
            color=color,
            label=label,
            marker=marker,
            markersize=5,
            linewidth=1,
        )
    axes.set(xlabel="highest probability", ylabel="share of right answers", xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(frameon=False)
    return figure


@_styled
def training_curves(history: list[dict[str, str]]) -> Figure:
    """Accuracy and loss of training and validation over the epochs."""
    figure = _figure(9, 3.4)
    epochs = [int(row["epoch"]) + 1 for row in history]
    for index, (key, label) in enumerate((("accuracy", "accuracy"), ("loss", "loss"))):
        axes = figure.add_subplot(1, 2, index + 1)
        for prefix, name, color in (("", "training, augmented", SECOND), ("val_", "validation", FIRST)):
            values = [float(row[prefix + key]) for row in history]
            axes.plot(epochs, values, color=color, label=name, linewidth=1.5)
        for before, after in zip(history, history[1:], strict=False):
            if before["image_size"] != after["image_size"]:
                axes.axvline(int(after["epoch"]) + 0.5, color="#aaaaaa", linewidth=1)
        axes.set(xlabel="epoch", ylabel=label)
    figure.axes[0].legend(frameon=False)
    return figure


@_styled
def robustness(accuracy: dict[str, float]) -> Figure:
    """A bar for every distortion."""
    figure = _figure(8, 0.8 + 0.3 * len(accuracy))
    axes = figure.add_subplot()
    names = list(accuracy)[::-1]
    axes.barh(names, [accuracy[name] for name in names], color=FIRST, height=0.7)
    for row, name in enumerate(names):
        axes.text(accuracy[name] + 0.005, row, f"{accuracy[name]:.1%}", va="center", color=INK)
    axes.axvline(accuracy[names[-1]], color="#aaaaaa", linewidth=1)
    axes.set(xlim=(0, 1.08), xlabel="accuracy")
    return figure


@_styled
def latencies(rows: Mapping[str, dict[str, Any]], formats: Mapping[str, WeightFormat]) -> Figure:
    """A bar for the median of every weight format and number of threads, a line up to the 95th percentile."""
    threads = list(next(iter(rows.values()))["latency_ms"])
    figure = _figure(8, 1.2 + 0.28 * len(rows) * len(threads))
    axes = figure.add_subplot()
    height = 0.8 / len(threads)
    for index, number in enumerate(threads):
        figures = [row["latency_ms"][number] for row in rows.values()]
        places = [row + (index - (len(threads) - 1) / 2) * height for row in range(len(rows))]
        medians = [latency["p50"] for latency in figures]
        rest = [max(latency["p95"] - latency["p50"], 0) for latency in figures]
        color = (FIRST, SECOND, "#4a6fa5", "#888888")[index % 4]
        label = f"{number} thread{'s' if number != '1' else ''}"
        axes.barh(places, medians, height * 0.9, color=color, label=label)
        axes.errorbar(medians, places, xerr=[[0] * len(rows), rest], fmt="none", ecolor=INK, linewidth=1)
        for place, median in zip(places, medians, strict=True):
            axes.text(median / 2, place, f"{median:.1f}", ha="center", va="center", color="white", size=8)
    axes.set_yticks(range(len(rows)), [formats[name].title for name in rows])
    axes.invert_yaxis()
    axes.set(xlabel="milliseconds per picture, median and 95th percentile")
    axes.legend(frameon=False)
    return figure


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")
