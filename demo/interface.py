"""The page: what stands where, and what happens when a photograph arrives."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr

from demo.comparison import TOP, Answer, Comparison, Result
from demo.photo_field import PhotoField
from mobilevit_core.bundle import Contract
from mobilevit_core.errors import UserError
from mobilevit_core.formats import FORMATS
from mobilevit_core.latency import processor
from mobilevit_core.photos import MAX_FILE_BYTES
from mobilevit_core.unknown import UnknownRule

TITLE = "MobileViT: from photographs to a phone"
PLACEHOLDER = "Give it a photograph: the answers and the time that each runtime takes appear here."
EXAMPLES_LABEL = "To try it: two pictures that scikit-learn ships, a palace and a dahlia"
MAX_WAITING = 16  # visitors in the queue for measuring; the next one is told to come again
DEFAULT_RUNS, MAX_RUNS = 20, 100  # timed runs of each runtime
CACHE_SECONDS = 3600  # uploaded photographs are deleted after an hour

LAUNCH = {
    "theme": gr.themes.Default(primary_hue="green", font=["system-ui", "sans-serif"]),
    "css_paths": str(Path(__file__).with_name("page.css")),
    "max_file_size": MAX_FILE_BYTES,
    "ssr_mode": False,
    "enable_monitoring": False,
    "strict_cors": True,
    "footer_links": ["api"],
}


def build(comparison: Comparison) -> gr.Blocks:
    """The page for one bundle.

    Args:
        comparison: its runtimes.

    Returns:
        Blocks; start them with `launch(**LAUNCH)`.
    """
    names = comparison.names
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS)) as page:
        gr.Markdown(_heading(comparison))
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                photo = PhotoField(
                    label="Photograph",
                    sources=["upload", "webcam", "clipboard"],
                    type="filepath",
                    image_mode=None,
                    height=320,
                )
                runs = gr.Slider(5, MAX_RUNS, DEFAULT_RUNS, step=5, label="Timed runs of each runtime")
                start = gr.Button("Classify", variant="primary")
                gr.Examples(_examples(), photo, label=EXAMPLES_LABEL)
            with gr.Column(scale=3, min_width=300):
                summary = gr.Markdown(PLACEHOLDER, elem_id="summary")
                with gr.Row():
                    columns = [_runtime_column(name) for name in names]
        figures = gr.JSON(label="answers", visible=False)
        outputs = [summary, *(component for column in columns for component in column)]
        shared: dict[str, Any] = {"concurrency_id": "measure", "concurrency_limit": 1}
        gr.on(
            [start.click, photo.change],
            _shown(comparison),
            [photo, runs],
            outputs,
            api_visibility="private",
            trigger_mode="always_last",
            **shared,
        )
        hidden = gr.Button(visible=False)
        hidden.click(_classify(comparison), [photo, runs], figures, api_name="classify", **shared)
    return page.queue(max_size=MAX_WAITING)


def _heading(comparison: Comparison) -> str:
    contract = comparison.bundle.contract
    classes = ", ".join(contract.class_names[:12]) + (", ..." if len(contract.class_names) > 12 else "")
    lines = [
        f"# {TITLE}",
        f"MobileViT-{contract.variant.upper()} ({contract.architecture.replace('_', ' ')}), "
        f"{contract.rule.image_size} px, trained to tell apart: **{classes}**. It knows nothing else."
        + _origins(contract),
    ]
    measured = contract.metrics.get("test") or contract.metrics.get("validation")
    if measured:
        name, result = next(iter(measured["runtimes"].items()))
        low, high = result["interval_95"]
        lines[1] += (
            f" Accuracy {result['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) on the "
            f"{result['photos']} photographs of {measured['data']}'s {measured['part']} part, with "
            f"{FORMATS[name].title}."
        )
    return "\n\n".join(lines)


def _origins(contract: Contract) -> str:
    """One sentence on the other trainings that went into the weights."""
    phrases = contract.origins()
    return f" Its weights {'; '.join(phrases)}." if phrases else ""


def _runtime_column(name: str) -> tuple[gr.Label, gr.Markdown]:
    with gr.Column(min_width=220):
        label = gr.Label(label=FORMATS[name].title, num_top_classes=TOP, show_heading=False)
        return label, gr.Markdown("", elem_classes="figures")


def _examples() -> list[str]:
    """Photographs from an installed package, so that the page needs no network to be tried."""
    import importlib.util

    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parent / "datasets" / "images"
    return [str(path) for path in sorted(folder.glob("*.jpg"))]


def _shown(comparison: Comparison) -> Callable[[str | None, int], list[Any]]:
    def show(photo: str | None, runs: int) -> list[Any]:
        if photo is None:
            return _empty(comparison.names)
        try:
            result = _run(comparison, photo, runs)
        except UserError as error:
            # In the answer's place, so that no older answer stands beside another photograph.
            return [f"### No answer\n\n{error}", *_empty(comparison.names)[1:]]
        shown: list[Any] = [_summary(result, comparison.bundle.contract.unknown)]
        for name in comparison.names:
            answer = result.answers.get(name)
            if answer is None:
                shown += [None, comparison.problems().get(name, "")]
            else:
                shown += [dict(answer.predictions), _figures(answer)]
        return shown

    return show


def _classify(comparison: Comparison) -> Callable[[str | None, int], dict[str, Any]]:
    def classify(photo: str | None, runs: int = DEFAULT_RUNS) -> dict[str, Any]:
        """Classifies a photograph with every runtime of the bundle.

        Args:
            photo: the photograph's file.
            runs: timed runs of each runtime.

        Returns:
            Runtime's name -> {"predictions": [{"label", "score"}, ...], "latency_ms": {"p50", "p95", "runs",
            "threads"}, "size_bytes"}.
        """
        try:
            result = _run(comparison, photo, runs)
        except UserError as error:
            raise gr.Error(str(error), print_exception=False) from error
        return {name: answer.to_json() for name, answer in result.answers.items()}

    return classify


def _run(comparison: Comparison, photo: str | None, runs: int) -> Result:
    if photo is None:
        raise UserError("There is no photograph yet: upload one, paste one, or use the camera.")
    return comparison.run(Path(photo), min(max(int(runs), 1), MAX_RUNS))


def _figures(answer: Answer) -> str:
    latency = answer.latency
    return (
        f"**{latency.p50:.1f} ms** median, {latency.p95:.1f} ms p95 of {latency.runs} runs, "
        f"{latency.threads} threads  \n{answer.size_bytes / 1e6:.2f} MB, {answer.engine}"
    )


def _summary(result: Result, rule: UnknownRule | None) -> str:
    answer = next(iter(result.answers.values()))
    name, probability = answer.predictions[0]
    sentences = [f"### {name}, {probability:.0%}"]
    if rule and rule.is_unknown(answer.probabilities):
        sentences = [
            f"### Probably none of these (best: {name}, {probability:.0%})",
            f"No answer reaches {rule.threshold:.0%}; for photographs of these classes all but "
            f"{rule.false_alarms:.0%} did.",
        ]
    if len(result.answers) > 1:
        same = "All give the same answer" if result.same_answer else "**They give different answers**"
        sentences.append(f"{same}; probabilities differ by at most {result.largest_difference:.1g}.")
    sentences.append(
        f"Preparing the photograph took {result.preprocessing_ms:.1f} ms, once for all. "
        f"The runtimes took turns on this server ({processor()})."
    )
    return "\n\n".join([sentences[0], " ".join(sentences[1:])])


def _empty(names: tuple[str, ...]) -> list[Any]:
    return [PLACEHOLDER, *([None, ""] * len(names))]
