"""The tab for many photographs at once. What moves on it is in `web/many.js`; this is what stands still."""

from collections.abc import Sequence
from html import escape

import gradio as gr

from demo.comparison import Comparison
from mobilevit_core.bundle.weight_formats import FORMATS

PAGE = """
<div id="many">
  <div class="tools">
    <label class="big primary">Choose photos<input id="photos" type="file" multiple></label>
    <label class="field">Format <select id="many-format">{options}</select></label>
    <span class="views" role="group" aria-label="View">
      <button type="button" id="as-gallery" aria-pressed="true">Gallery</button>
      <button type="button" id="as-table" aria-pressed="false">Table</button></span>
    <button type="button" id="csv" disabled>Download as CSV</button>
  </div>
  <p id="many-status" role="status">Drop photos here, at most 500: they are named at once.</p>
  <div id="groups"></div>
  <div id="sheet" hidden tabindex="0" role="region" aria-label="All answers"><table><thead><tr></tr></thead>
    <tbody></tbody></table></div>
</div>
"""


def build(comparison: Comparison) -> None:
    """Places the tab's content."""
    gr.HTML(markup(comparison.names, comparison.default), apply_default_css=False, padding=False)


def markup(formats: Sequence[str], chosen: str) -> str:
    """The tab as HTML, with a choice of formats."""
    options = "".join(
        f'<option value="{name}"{" selected" if name == chosen else ""}>'
        f"{escape(FORMATS[name].title)}</option>"
        for name in formats
    )
    return PAGE.format(options=options)
