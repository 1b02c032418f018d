"""The tab with the bundle's report: what was measured, and the limits."""

from urllib.parse import quote

import gradio as gr

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import REPORT, REPORT_PAGE


def build(bundle: Bundle) -> None:
    """Shows the report in a frame, or says how to write one."""
    page = (bundle.folder / REPORT / REPORT_PAGE).resolve()
    if not page.is_file():
        gr.Markdown(
            "This bundle has no report yet. To write one: "
            f"`python -m mobilevit_core evaluate {bundle.folder} --part test --all-variants`"
        )
        return
    gr.set_static_paths([page.parent])
    source = f"gradio_api/file={quote(page.as_posix())}"
    gr.HTML(
        f'<iframe src="{source}" title="How the weights were trained and what was measured" '
        'loading="lazy"></iframe>',
        elem_id="evidence",
    )
