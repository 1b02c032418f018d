"""The report's plots, as SVG text that is the same every time."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from mobilevit_core.bundle.weight_formats import WeightFormat

INK, GREY, FIRST, SECOND = "#333333", "#aaaaaa", "#1b7a4b", "#b5651d"
COLORS = (FIRST, SECOND, "#4a6fa5", "#888888")
CELL, ROW, WIDE = 48, 22, 420  # pixels: a cell of the matrix, a bar with its space, what bars are drawn in
LEGIBLE = 20  # classes, up to which the matrix's counts can be read
Point = tuple[float, float]


def confusion(matrix: list[list[int]], names: list[str]) -> str:
    """Counts, rows the true classes."""
    left, count = _width(names) + 36, len(names)
    bottom, parts = CELL * count, []
    for y, row in enumerate(matrix):
        total = max(sum(row), 1)
        for x, number in enumerate(row):
            share, place = number / total, (left + CELL * x, CELL * y)
            parts.append(_box(*place, CELL, CELL, FIRST, share))
            if count <= LEGIBLE:
                color = "white" if share > 0.5 else INK
                parts.append(
                    _text(place[0] + CELL / 2, place[1] + CELL / 2 + 4, str(number), "middle", color)
                )
        parts.append(_text(left - 6, CELL * y + CELL / 2 + 4, names[y], "end"))
        parts.append(_text(left + CELL * (y + 0.6), bottom + 16, names[y], "end", turned=-30))
    parts.append(_outline(left, 0, CELL * count, bottom))
    parts.append(_text(left + CELL * count / 2, bottom + _width(names) / 2 + 34, "answer", "middle"))
    parts.append(_text(10, bottom / 2, "true class", "middle", turned=-90))
    return _svg(left + CELL * count + 4, bottom + _width(names) / 2 + 44, parts)


def reliability(before: list[dict[str, float]], after: list[dict[str, float]]) -> str:
    """Accuracy against confidence, before and after the temperature."""
    series = {
        "perfect": (GREY, [(0.0, 0.0), (1.0, 1.0)]),
        "before": (SECOND, [(row["confidence"], row["accuracy"]) for row in before]),
        "after temperature scaling": (FIRST, [(row["confidence"], row["accuracy"]) for row in after]),
    }
    return _svg(*_curves(series, "highest probability", "share of right answers", marked=True))


def training_curves(history: list[dict[str, str]]) -> str:
    """Accuracy and loss of training and validation over the epochs."""
    changes = [
        int(after["epoch"]) + 0.5
        for before, after in zip(history, history[1:], strict=False)
        if before["image_size"] != after["image_size"]
    ]
    parts, left, height = [], 0.0, 0.0
    for key in ("accuracy", "loss"):
        series = {
            name: (color, [(int(row["epoch"]) + 1.0, float(row[prefix + key])) for row in history])
            for prefix, name, color in (("", "training, augmented", SECOND), ("val_", "validation", FIRST))
        }
        width, height, drawn = _curves(series, "epoch", key, changes)
        parts.append(f'<g transform="translate({left:g} 0)">{"".join(drawn)}</g>')
        left += width
    return _svg(left, height, parts)


def robustness(accuracy: dict[str, float]) -> str:
    """A bar for every distortion."""
    rows = [(name, [(value, value, f"{value:.1%}", FIRST)]) for name, value in accuracy.items()]
    return _bars(rows, 1.0, "accuracy", next(iter(accuracy.values())))


def latencies(rows: Mapping[str, dict[str, Any]], formats: Mapping[str, WeightFormat]) -> str:
    """A bar for the median of every weight format and number of threads, a line up to the 95th percentile."""
    threads = list(next(iter(rows.values()))["latency_ms"])
    bars, highest = [], 0.0
    for name, row in rows.items():
        group = []
        for number, color in zip(threads, COLORS * len(threads), strict=False):
            latency = row["latency_ms"][number]
            said = f"{latency['p50']:.1f} ms, {number} thread{'s' if number != '1' else ''}"
            group.append((latency["p50"], max(latency["p95"], latency["p50"]), said, color))
            highest = max(highest, latency["p95"], latency["p50"])
        bars.append((formats[name].title, group))
    return _bars(bars, highest, "milliseconds per image, median and 95th percentile")


def _bars(
    rows: Sequence[tuple[str, Sequence[tuple[float, float, str, str]]]],
    highest: float,
    title: str,
    mark: float | None = None,
) -> str:
    """Groups of bars: name -> for each bar length, end of the line behind it, text and colour."""
    left, y, parts = _width(name for name, _ in rows) + 8, 0.0, []
    scale = WIDE / max(highest, 1e-9)
    for name, bars in rows:
        parts.append(_text(left - 6, y + ROW * len(bars) / 2 + 4, name, "end"))
        for value, end, said, color in bars:
            parts.append(_box(left, y + 3, value * scale, ROW - 6, color))
            parts.append(_path([(left + value * scale, y + ROW / 2), (left + end * scale, y + ROW / 2)], INK))
            parts.append(_text(left + end * scale + 6, y + ROW / 2 + 4, said))
            y += ROW
        y += 4
    if mark is not None:
        parts.append(_path([(left + mark * scale, 0), (left + mark * scale, y)], GREY))
    parts.append(_text(left, y + 18, title))
    return _svg(left + WIDE + 150, y + 26, parts)


def _curves(
    series: Mapping[str, tuple[str, Sequence[Point]]],
    across: str,
    upwards: str,
    changes: Sequence[float] = (),
    marked: bool = False,
) -> tuple[float, float, list[str]]:
    """Width, height and parts of lines in a frame; `changes` are vertical lines."""
    xs, ys = zip(*[point for _, points in series.values() for point in points], strict=True)
    (low_x, high_x), (low_y, high_y) = (min(xs), max(xs)), (min(0.0, *ys), max(1.0, *ys))
    left, top, width, height = 52, 10 + 16 * len(series), 320, 240

    def placed(point: Point) -> Point:
        x = left + (point[0] - low_x) / max(high_x - low_x, 1e-9) * width
        return x, top + height - (point[1] - low_y) / max(high_y - low_y, 1e-9) * height

    parts = [_outline(left, top, width, height)]
    parts += [_path([placed((x, low_y)), placed((x, high_y))], GREY) for x in changes]
    for number, (name, (color, points)) in enumerate(series.items()):
        drawn = [placed(point) for point in points]
        parts += [_path(drawn, color), _text(left, 14 + 16 * number, f"\u2014 {name}", color=color)]
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in drawn if marked]
    for share in (0, 0.5, 1):
        x, y = low_x + share * (high_x - low_x), low_y + share * (high_y - low_y)
        parts.append(_text(placed((x, low_y))[0], top + height + 16, f"{x:.3g}", "middle"))
        parts.append(_text(left - 6, placed((low_x, y))[1] + 4, f"{y:.3g}", "end"))
    parts.append(_text(left + width / 2, top + height + 34, across, "middle"))
    parts.append(_text(12, top + height / 2, upwards, "middle", turned=-90))
    return left + width + 24, top + height + 42, parts


def _svg(width: float, height: float, parts: Iterable[str]) -> str:
    style = f'font-family="sans-serif" font-size="12" width="{width:.0f}" height="{height:.0f}"'
    box = f'viewBox="0 0 {width:.0f} {height:.0f}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {box} {style}>{"".join(parts)}</svg>'


def _width(names: Iterable[str]) -> float:
    """About as wide as the longest name, pixels."""
    return max((7.0 * len(name) for name in names), default=0.0)


def _text(x: float, y: float, text: str, anchor: str = "start", color: str = INK, turned: int = 0) -> str:
    turn = f' transform="rotate({turned} {x:.1f} {y:.1f})"' if turned else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{color}"{turn}'
    return f"<text {place}>{escape(text)}</text>"


def _box(x: float, y: float, width: float, height: float, color: str, opacity: float = 1) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{color}" fill-opacity="{opacity:.3f}"/>'


def _outline(x: float, y: float, width: float, height: float) -> str:
    size = f'width="{width:.1f}" height="{height:.1f}"'
    return f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="none" stroke="{INK}"/>'


def _path(points: Sequence[Point], color: str) -> str:
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{places}" fill="none" stroke="{color}" stroke-width="1.5"/>'
