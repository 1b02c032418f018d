"""The functions `/classify`, `/compare`, `/explain` and `/benchmark`, for programs and for the page itself.

What their descriptions say about the classes comes from the bundle.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from demo import words
from demo.comparison import AT_ONCE, Comparison
from demo.photo_field import PhotoField
from mobilevit_core.errors import UserError

DEFAULT_RUNS, MAX_RUNS = 20, 100  # timed runs of each format
MOST_NAMED = 20  # classes that a description lists


def build(comparison: Comparison) -> None:
    """Connects the functions to components that nobody sees."""
    with gr.Row(visible=False):
        photo = PhotoField(type="filepath", image_mode=None, label="photo")
        runs = gr.Number(DEFAULT_RUNS, precision=0, minimum=1, maximum=MAX_RUNS, label="runs")
        names = list(comparison.names)
        one = gr.Dropdown(names, value=comparison.default, label="format")
        several = gr.Dropdown(names, value=[], multiselect=True, label="formats")
        answer, answers = gr.JSON(label="answer"), gr.JSON(label="answers")
        map_, about = gr.Image(label="map"), gr.Textbox(label="class")
        measured = gr.JSON(label="latencies")
        buttons = [gr.Button() for _ in range(4)]
    calls = [
        (_classify(comparison), [photo, one], answer),
        (_compare(comparison), [photo, runs, several], answers),
        (_explain(comparison), photo, [map_, about]),
        (_benchmark(comparison), runs, measured),
    ]
    for button, (function, inputs, outputs) in zip(buttons, calls, strict=True):
        _say_what_it_knows(function, comparison)
        limits: dict[str, Any] = {"concurrency_id": function.__name__, "concurrency_limit": AT_ONCE}
        button.click(function, inputs, outputs, api_name=function.__name__, **limits)


def _say_what_it_knows(function: Callable[..., Any], comparison: Comparison) -> None:
    """Completes a docstring, which is what the API's page and MCP clients read."""
    manifest = comparison.bundle.manifest
    known = words.known(manifest)
    listed = ", ".join(known[:MOST_NAMED]) + (", ..." if len(known) > MOST_NAMED else "")
    function.__doc__ = (function.__doc__ or "").replace("CLASSES", f"{len(known)} classes ({listed})")


def _classify(comparison: Comparison) -> Callable[..., dict[str, Any]]:
    def classify(photo: str | None, format: str | None = None) -> dict[str, Any]:
        """Names what a photograph shows, out of CLASSES.

        The model knows nothing else: whatever the photograph shows, one of them is the most probable. Where
        "unknown" is true, it is probably none of them.

        Args:
            photo: the photograph's file: JPEG, PNG or WebP.
            format: weight format that answers, such as "float32".

        Returns:
            {"label", "score", "unknown", "predictions": the best five as [{"label", "score"}, ...], "scores":
            probability of every class, "format"}.
        """
        return comparison.classify(_require_photo(photo), format).to_json()

    return classify


def _compare(comparison: Comparison) -> Callable[..., dict[str, Any]]:
    def compare(
        photo: str | None, runs: int = DEFAULT_RUNS, formats: list[str] | None = None
    ) -> dict[str, Any]:
        """Classifies a photograph, one of CLASSES, with several weight formats, and times each here.

        Args:
            photo: the photograph's file: JPEG, PNG or WebP.
            runs: timed runs of each format.
            formats: their names, such as "float32"; none for all.

        Returns:
            Format -> the answer as `classify` returns it, "latency_ms": {"p50", "p95", "p50_range", "runs",
            "threads"}, "size_bytes", "engine", "first_call_ms".
        """
        answers = comparison.run(_require_photo(photo), runs, formats or None)
        return {name: answer.to_json() | comparison.facts(name).to_json() for name, answer in answers.items()}

    return compare


def _explain(comparison: Comparison) -> Callable[[str | None], tuple[Image.Image, str]]:
    def explain(photo: str | None) -> tuple[Image.Image, str]:
        """Shows where in a photograph the model found its answer, one of CLASSES.

        Args:
            photo: the photograph's file: JPEG, PNG or WebP.

        Returns:
            The photograph with a map laid over it, and the class that the map speaks for.
        """
        return comparison.explain(_require_photo(photo))

    return explain


def _benchmark(comparison: Comparison) -> Callable[[int], dict[str, Any]]:
    def benchmark(runs: int = DEFAULT_RUNS) -> dict[str, Any]:
        """Measures every weight format of the bundle on this server, in turns, on a random picture.

        Args:
            runs: timed runs of each format.

        Returns:
            Format -> {"p50", "p95", "p50_range", "runs", "threads"}, milliseconds.
        """
        return {name: latency.to_json() for name, latency in comparison.benchmark(runs).items()}

    return benchmark


def _require_photo(photo: str | None) -> Path:
    if photo is None:
        raise UserError("There is no photograph yet: upload one first.")
    return Path(photo)
