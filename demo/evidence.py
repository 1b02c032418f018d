"""The tab "How good is it?": a headline, and the bundle's report.

A report is a page that somebody else may have written. It is shown in a sandbox: `demo.guard` and the frame
both keep its scripts from running.
"""

from typing import Any

import gradio as gr
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from demo import words
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import REPORT, REPORT_PAGE
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import CROSS_VALIDATION
from mobilevit_core.escaping import plain


def routes(bundle: Bundle) -> list[BaseRoute]:
    """The report's files."""
    folder = (bundle.folder / REPORT).resolve()
    return [Mount("/report", StaticFiles(directory=folder))] if folder.is_dir() else []


def build(bundle: Bundle) -> None:
    """Shows the headline and the report in a frame, or says how to write one."""
    gr.HTML(markup(bundle), apply_default_css=False, padding=False)


def markup(bundle: Bundle) -> str:
    """The tab as HTML."""
    items = "".join(f"<li>{item}</li>" for item in headline(bundle))
    shown = f'<ul id="headline" class="card">{items}</ul>'
    if not (bundle.folder / REPORT / REPORT_PAGE).is_file():
        measured = bundle.manifest.measured
        if measured and measured["split"] == CROSS_VALIDATION:
            return f"{shown}<p>This model has no report. The figures above come from its training.</p>"
        return (
            f"{shown}<p>This bundle has no report yet. To write one: "
            "<code>python -m mobilevit_core evaluate BUNDLE --split test --all-formats</code></p>"
        )
    return (
        f'{shown}<div id="evidence">'
        f'<p><a href="{REPORT}/{REPORT_PAGE}" download="report.html">Download the report as one file</a></p>'
        f'<iframe src="{REPORT}/{REPORT_PAGE}" title="How the weights were trained and what was measured" '
        'sandbox loading="lazy"></iframe></div>'
    )


def headline(bundle: Bundle) -> list[str]:
    """The figures that matter most, one sentence each, as HTML."""
    manifest = bundle.manifest
    measured = manifest.measured
    items = _accuracy_lines(measured, manifest) if measured else ["It has not been measured yet."]
    sizes = [bundle.size_bytes(name) / 1e6 for name in bundle.present]
    items.append(f"<b>Size:</b> {min(sizes):.1f} to {max(sizes):.1f} MB, by format.")
    items.append(
        f"<b>What it is:</b> MobileViT-{plain(manifest.variant.upper())} "
        f"({plain(manifest.architecture.replace('_', ' '))}), {manifest.rule.image_size} px. "
        f"It knows {words.kind(manifest)} and nothing else.{_origins(manifest)}"
    )
    return items


def _accuracy_lines(measured: dict[str, Any], manifest: Manifest) -> list[str]:
    name, result = next(iter(measured["formats"].items()))
    title = FORMATS[name].title if name in FORMATS else plain(name)
    low, high = result["interval_95"]
    crossed = measured["split"] == CROSS_VALIDATION
    data = plain(measured["data"])
    of = f"{data} by cross-validation" if crossed else f"{data}'s {plain(measured['split'])} split"
    items = [
        f"<b>Right:</b> {result['accuracy'] * 100:.1f} % (95 % interval {low * 100:.1f} to "
        f"{high * 100:.1f} %) of the {result['photos']} photographs of {of}, with {title}."
    ]
    recalls = {label: row["recall"] for label, row in (result.get("per_class") or {}).items()}
    if recalls:
        weakest = min(recalls, key=lambda label: recalls[label])
        shown = plain(words.display(weakest, manifest))
        items.append(f"<b>Weak at:</b> {shown}, of which it finds {recalls[weakest] * 100:.0f} %.")
    rule = manifest.rejection
    if rule:
        learned = rule.other is not None
        how = (
            "it has a class for other things" if learned else f"it rejects under {rule.threshold * 100:.0f} %"
        )
        items.append(
            f"<b>None of these:</b> {how}; {rule.false_alarms * 100:.1f} % of the photographs that show one "
            "of its classes are rejected by mistake, and some pictures of something else still pass."
        )
    return items


def _origins(manifest: Manifest) -> str:
    """One sentence on the other trainings that went into the weights."""
    phrases = manifest.origins()
    return f" Its weights {plain('; '.join(phrases))}." if phrases else ""
