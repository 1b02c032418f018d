"""The tab for many photographs at once: a table and a CSV."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from demo import uploads
from demo.comparison import Comparison
from demo.escaping import cell
from demo.photo_field import PhotosField
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.inference.answer import Answer

MOST = 500
COLUMNS = ["photograph", "answer", "probability", "second", "its probability", "note"]
NONE = "probably none of these"


def build(comparison: Comparison) -> None:
    """Places the tab's components and connects them."""
    names = comparison.names
    preferred = "float32" if "float32" in names else names[0]
    with gr.Row():
        with gr.Column(scale=1, min_width=280):
            photos = PhotosField(
                label=f"Photographs, at most {MOST}",
                file_count="multiple",
                height=220,
                elem_id="many",
            )
            choices = [(FORMATS[name].title, name) for name in names]
            weights = gr.Dropdown(choices, value=preferred, label="Weights")
            start = gr.Button("Classify all", variant="primary")
            download = gr.DownloadButton("Download as CSV", visible=False)
        with gr.Column(scale=3, min_width=300):
            note = gr.Markdown("Drop photographs, then classify them: a row for each appears here.")
            table = gr.Dataframe(headers=COLUMNS, interactive=False, wrap=True, label="Answers")
    start.click(
        _classified(comparison),
        [photos, weights],
        [note, table, download],
        api_visibility="private",
        concurrency_limit=1,
    )


def _classified(comparison: Comparison) -> Callable[..., tuple[Any, ...]]:
    def classify_all(
        photos: list[str] | None,
        weights: str,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way)
    ) -> tuple[Any, ...]:
        if not photos:
            return "There are no photographs yet.", None, gr.DownloadButton(visible=False)
        if len(photos) > MOST:
            text = f"These are {len(photos)} photographs; at most {MOST} at a time."
            return text, None, gr.DownloadButton(visible=False)
        rows = [_row(comparison, Path(photo), weights) for photo in progress.tqdm(photos, unit="photographs")]
        frame = pd.DataFrame(rows, columns=COLUMNS)
        file = uploads.new_file("answers.csv")  # holds visitors' file names: deleted as their uploads
        frame.map(cell).to_csv(file, index=False, quoting=csv.QUOTE_NONNUMERIC)
        unread = sum(row[1] == "" for row in rows)
        text = f"{len(rows) - unread} of {len(rows)} photographs classified with {FORMATS[weights].title}."
        return text, frame, gr.DownloadButton(value=str(file), visible=True)

    return classify_all


def _row(comparison: Comparison, photo: Path, weights: str) -> list[Any]:
    manifest = comparison.bundle.manifest
    try:
        probabilities = comparison.classify(photo, weights)
    except UserError as error:
        return [photo.name, "", None, "", None, uploads.without_path(error)]
    answer = Answer.of(probabilities, manifest, weights)
    (best, first), (other, second) = answer.top(2)
    unknown = answer.unknown
    return [photo.name, best, round(first, 4), other, round(second, 4), NONE if unknown else ""]
