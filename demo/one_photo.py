"""The tab for one photograph: the answers of the chosen weights side by side, and what each costs."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from demo import device_panel, gallery
from demo.comparison import TOP, Answer, Comparison, Result
from demo.photo_field import PhotoField
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.inference.latency import processor

PLACEHOLDER = "### No photograph yet\n\nGive it one: the answers and the time that each takes appear here."
LOADING = "loading ..."
DEFAULT_RUNS, MAX_RUNS = 20, 100  # timed runs of each runtime


def build(comparison: Comparison) -> None:
    """Places the tab's components and connects them."""
    names, first = comparison.names, comparison.chosen_first()
    with gr.Row(elem_id="one"):
        with gr.Column(scale=2, min_width=300, elem_classes="given"):
            photo = PhotoField(
                label="Photograph",
                sources=["upload", "webcam", "clipboard"],
                type="filepath",
                image_mode=None,
                height=260,
                elem_id="photo",
            )
            look = gr.Checkbox(label="Show what it looked at", elem_id="look")
            looked = gr.Image(
                label="What it looked at", visible=False, height=260, interactive=False, buttons=[]
            )
            gallery.build(photo)
        with gr.Column(scale=3, min_width=300, elem_classes="answer"):
            summary = gr.Markdown(PLACEHOLDER, elem_id="summary")
            with gr.Row():
                columns = [_runtime_column(name, name in first) for name in names]
            with gr.Accordion("Other weights, more runs, a plot", open=False):
                choices = [(FORMATS[name].title, name) for name in names]
                chosen = gr.CheckboxGroup(choices, value=first, label="Weights to compare")
                runs = gr.Slider(5, MAX_RUNS, DEFAULT_RUNS, step=5, label="Timed runs of each")
                start = gr.Button("Measure again", variant="primary")
                plot = gr.BarPlot(
                    x="weights", y="milliseconds", color="figure", title="Latency", height=220, sort=None
                )
        with gr.Column(scale=2, min_width=300, elem_classes="own"):
            device_panel.build(comparison.bundle)
    outputs = [summary, plot, *(component for column in columns for component in column)]
    gr.on(
        [start.click, photo.change, chosen.change],
        _shown(comparison),
        [photo, runs, chosen],
        outputs,
        api_visibility="private",
        trigger_mode="always_last",
        concurrency_id="measure",
        concurrency_limit=1,
    )
    gr.on(
        [photo.change, look.change],
        _looked(comparison),
        [photo, look],
        looked,
        api_visibility="private",
        trigger_mode="always_last",
    )
    photo.change(None, photo, js=device_panel.TELL_PHOTO, api_visibility="private")


def _runtime_column(name: str, visible: bool) -> tuple[gr.Column, gr.Label, gr.Markdown]:
    with gr.Column(min_width=200, visible=visible) as column:
        title = FORMATS[name].title
        label = gr.Label(label=title, num_top_classes=TOP, show_heading=False, elem_classes="answers")
        return column, label, gr.Markdown("", elem_classes="figures")


def _shown(comparison: Comparison) -> Callable[..., Iterator[list[Any]]]:
    def show(photo: str | None, runs: int, chosen: list[str]) -> Iterator[list[Any]]:
        """First what is loaded already, then everything that was chosen."""
        chosen = [name for name in comparison.names if name in chosen]
        if photo is None or not chosen:
            text = PLACEHOLDER if photo is None else "### No weights are chosen\n\nChoose some below."
            yield [text, None, *_columns(comparison, chosen, None)]
            return
        try:
            ready = comparison.ready(chosen)
            if ready and len(ready) < len(chosen):
                yield _page(comparison, chosen, comparison.run(Path(photo), runs, ready))
            yield _page(comparison, chosen, comparison.run(Path(photo), runs, chosen))
        except UserError as error:
            # In the answer's place, so that no older answer stands beside another photograph.
            yield [f"### No answer\n\n{error}", None, *_columns(comparison, chosen, None)]

    return show


def _page(comparison: Comparison, chosen: Sequence[str], result: Result) -> list[Any]:
    text = summary(result, comparison.bundle.manifest.rejection, comparison.waiting)
    return [text, _latencies(result), *_columns(comparison, chosen, result)]


def _columns(comparison: Comparison, chosen: Sequence[str], result: Result | None) -> list[Any]:
    shown: list[Any] = []
    rule = comparison.bundle.manifest.rejection
    for name in comparison.names:
        answer = result.answers.get(name) if result else None
        column = gr.Column(visible=name in chosen)
        if answer is None:
            text = comparison.problems().get(name, LOADING) if result and name in chosen else ""
            shown += [column, gr.Label(None, elem_classes="answers"), text]
        else:
            # Greyed, but there to be seen, where the picture is probably none of the classes.
            pale = ["none"] if rule and rule.rejects(answer.probabilities) else []
            label = gr.Label(dict(answer.predictions), elem_classes=["answers", *pale])
            shown += [column, label, _figures(answer)]
    return shown


def _looked(comparison: Comparison) -> Callable[[str | None, bool], Any]:
    def show(photo: str | None, wanted: bool) -> Any:
        if not wanted or photo is None:
            return gr.Image(None, visible=False)
        try:
            picture, name = comparison.explain(Path(photo))
        except UserError as error:
            return gr.Image(None, visible=True, label=str(error))
        return gr.Image(picture, visible=True, label=f"What speaks for {name} (dark: cropped away)")

    return show


def _figures(answer: Answer) -> str:
    latency = answer.latency
    threads = f"{latency.threads} thread{'s' if latency.threads > 1 else ''}"
    return (
        f"**{latency.p50:.1f} ms** median, {latency.p95:.1f} ms p95 of {latency.runs} runs, {threads}  \n"
        f"{answer.size_bytes / 1e6:.2f} MB, first call {answer.first_call_ms:.0f} ms, {answer.engine}"
    )


def _latencies(result: Result) -> pd.DataFrame:
    rows = [
        (FORMATS[name].title, figure, value)
        for name, answer in result.answers.items()
        # The plot stacks, the last at the bottom: what is above it starts where it ends.
        for figure, value in (
            ("from there to p95", answer.latency.p95 - answer.latency.p50),
            ("median", answer.latency.p50),
        )
    ]
    return pd.DataFrame(rows, columns=["weights", "figure", "milliseconds"])


def summary(result: Result, rule: RejectionRule | None, waiting: int = 0) -> str:
    """What the answers come to, in a heading and a few sentences."""
    answer = next(iter(result.answers.values()))
    name, probability = answer.predictions[0]
    sentences = [f"### {name}, {probability:.0%}"]
    if rule and rule.rejects(answer.probabilities):
        sentences = [
            f"### Probably none of these (best: {name}, {probability:.0%})",
            f"No answer reaches {rule.threshold:.0%}; for photographs of these classes all but "
            f"{rule.false_alarms:.0%} did.",
        ]
    sentences += _difference(result)
    sentences.append(
        f"Preparing the photograph took {result.preprocessing_ms:.1f} ms, once for all. "
        f"Measured in turns on this server ({processor()})."
    )
    if waiting:
        sentences.append(f"{waiting} more measurement{'s wait' if waiting > 1 else ' waits'} for it.")
    return "\n\n".join([sentences[0], " ".join(sentences[1:])])


def _difference(result: Result) -> list[str]:
    """How the smallest of the weights differs from the first."""
    if len(result.answers) < 2:
        return []
    first, *others = result.answers
    small = min(others, key=lambda name: result.answers[name].size_bytes)
    a, b = result.answers[first], result.answers[small]
    same = "same answer" if result.same_answer else "**another answer**"
    return [
        f"{FORMATS[small].title} is {_times(a.size_bytes / b.size_bytes, 'smaller', 'larger')} than "
        f"{FORMATS[first].title}, {_times(a.latency.p50 / b.latency.p50, 'faster', 'slower')}, {same}; "
        f"probabilities differ by at most {result.largest_difference:.1g}."
    ]


def _times(ratio: float, more: str, less: str) -> str:
    return f"{ratio:.1f}x {more}" if ratio >= 1 else f"{1 / ratio:.1f}x {less}"
