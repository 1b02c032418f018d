"""The page: its tabs, and what holds for all of them. Each tab has a file of its own."""

from pathlib import Path
from typing import Any

import gradio as gr

from demo import device_panel, evidence, gallery, many_photos, one_photo, service, teaching, words
from demo.comparison import Comparison
from demo.lessons import Lessons, is_possible
from demo.page import MAX_SESSIONS, Page
from demo.uploads import Limits
from mobilevit_core.escaping import plain
from mobilevit_core.images.reading import MAX_FILE_BYTES

WEB = Path(__file__).parent / "web"
SCRIPTS = (
    "base.js",
    "call.js",
    "answer.js",
    "device.js",
    "formats.js",
    "one.js",
    "many.js",
    "teach.js",
    "start.js",
)

LAUNCH: dict[str, Any] = {
    "theme": gr.themes.Default(primary_hue="green", font=["system-ui", "sans-serif"]),
    "css_paths": str(WEB / "page.css"),
    "head": "".join(f"<script>{(WEB / name).read_text(encoding='utf-8')}</script>" for name in SCRIPTS),
    "max_file_size": MAX_FILE_BYTES,
    "ssr_mode": False,
    "enable_monitoring": False,
    "strict_cors": True,
    "run_history": False,
    "state_session_capacity": MAX_SESSIONS,
    "footer_links": ["api"],
}


def build(
    comparison: Comparison, limits: Limits | None = None, local: bool = False, teach: bool = False
) -> Page:
    """The page for one bundle.

    Args:
        comparison: its classifiers.
        limits: of the uploads; default: two gibibytes, each deleted after an hour.
        local: the page is for the person at this machine alone, who may also fetch example photographs.
        teach: visitors may teach it classes of their own, where this installation can train.

    Returns:
        Blocks; start them with `launch(**LAUNCH)`.
    """
    bundle, manifest = comparison.bundle, comparison.bundle.manifest
    title, subtitle = words.title(manifest), words.subtitle(manifest, bundle)
    routes = [*device_panel.routes(comparison), *evidence.routes(bundle), *gallery.routes(manifest)]
    lessons = Lessons(bundle) if teach and is_possible(bundle) else None
    routes += teaching.routes(lessons) if lessons else []
    if local:
        gallery.fill(comparison)
    with Page(limits or Limits(), routes, title=title, analytics_enabled=False) as page:
        page.preview = title, subtitle
        gr.HTML(header(title, subtitle), apply_default_css=False, padding=False)
        with gr.Tab("One photo"):
            one_photo.build(comparison, local)
        with gr.Tab("Many photos"):
            many_photos.build(comparison)
        if lessons:
            page.chores.append(lessons.sweep)
            with gr.Tab("Teach it"):
                teaching.build(lessons)
        with gr.Tab("How good is it?"):
            evidence.build(bundle)
        service.build(comparison)
    return page.queue()


def header(title: str, subtitle: str) -> str:
    """The page's heading as HTML."""
    return f'<header id="title"><h1>{plain(title)}</h1><p>{plain(subtitle)}</p></header>'
