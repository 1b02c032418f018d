"""The tab with the bundle's report: what was measured, and the limits.

A report is a page that somebody else may have written. It is shown in a sandbox: `demo.guard` and the frame
both keep its scripts from running.
"""

import gradio as gr
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import REPORT, REPORT_PAGE


def routes(bundle: Bundle) -> list[BaseRoute]:
    """The report's files."""
    folder = (bundle.folder / REPORT).resolve()
    return [Mount("/report", StaticFiles(directory=folder))] if folder.is_dir() else []


def build(bundle: Bundle) -> None:
    """Shows the report in a frame, or says how to write one."""
    if not (bundle.folder / REPORT / REPORT_PAGE).is_file():
        gr.Markdown(
            "This bundle has no report yet. To write one: "
            "`python -m mobilevit_core evaluate BUNDLE --split test --all-formats`"
        )
        return
    gr.HTML(
        f'<iframe src="{REPORT}/{REPORT_PAGE}" title="How the weights were trained and what was measured" '
        'sandbox loading="lazy"></iframe>',
        elem_id="evidence",
    )
