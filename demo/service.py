"""The page's functions for programs: `/classify`, `/explain` and `/benchmark`, documented by their types."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from demo.comparison import AT_ONCE, Comparison
from demo.one_photo import DEFAULT_RUNS, MAX_RUNS
from demo.photo_field import PhotoField
from mobilevit_core.errors import UserError


def build(comparison: Comparison) -> None:
    """Connects the functions to components that nobody sees."""
    with gr.Row(visible=False):
        photo = PhotoField(type="filepath", image_mode=None, label="photo")
        runs = gr.Number(DEFAULT_RUNS, precision=0, minimum=1, maximum=MAX_RUNS, label="runs")
        figures, map_, about = gr.JSON(label="answers"), gr.Image(label="map"), gr.Textbox(label="class")
        choices = list(comparison.names)
        weights = gr.Dropdown(choices, value=[], multiselect=True, label="weights")
        measured = gr.JSON(label="latencies")
        buttons = [gr.Button() for _ in range(3)]
    measuring: dict[str, Any] = {"concurrency_id": "measure", "concurrency_limit": AT_ONCE}
    buttons[0].click(_classify(comparison), [photo, runs, weights], figures, api_name="classify", **measuring)
    buttons[1].click(
        _explain(comparison), photo, [map_, about], api_name="explain", concurrency_limit=AT_ONCE
    )
    buttons[2].click(_benchmark(comparison), runs, measured, api_name="benchmark", **measuring)


def _classify(comparison: Comparison) -> Callable[..., dict[str, Any]]:
    def classify(
        photo: str | None, runs: int = DEFAULT_RUNS, weights: list[str] | None = None
    ) -> dict[str, Any]:
        """Classifies a photograph with runtimes of the bundle.

        Args:
            photo: the photograph's file.
            runs: timed runs of each runtime.
            weights: names of the runtimes, such as "float32"; none for all.

        Returns:
            Runtime's name -> {"predictions": [{"label", "score"}, ...], "latency_ms": {"p50", "p95", "runs",
            "threads"}, "size_bytes"}.
        """
        result = comparison.run(_given(photo), runs, weights or None)
        return {name: answer.to_json() for name, answer in result.answers.items()}

    return classify


def _explain(comparison: Comparison) -> Callable[[str | None], tuple[Image.Image, str]]:
    def explain(photo: str | None) -> tuple[Image.Image, str]:
        """Shows what the Keras weights looked at.

        Args:
            photo: the photograph's file.

        Returns:
            The photograph with a map laid over it, and the class that the map speaks for.
        """
        return comparison.explain(_given(photo))

    return explain


def _benchmark(comparison: Comparison) -> Callable[[int], dict[str, Any]]:
    def benchmark(runs: int = DEFAULT_RUNS) -> dict[str, Any]:
        """Measures every runtime of the bundle on this server, in turns, on a random picture.

        Args:
            runs: timed runs of each runtime.

        Returns:
            Runtime's name -> {"p50", "p95", "runs", "threads"}, milliseconds.
        """
        latencies = comparison.benchmark(runs)
        return {name: latency.to_json() for name, latency in latencies.items()}

    return benchmark


def _given(photo: str | None) -> Path:
    if photo is None:
        raise UserError("There is no photograph yet: upload one, paste one, or use the camera.")
    return Path(photo)
