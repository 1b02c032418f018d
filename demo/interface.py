"""The page: its tabs, and what holds for all of them. Each tab has a file of its own."""

from pathlib import Path
from typing import Any

import gradio as gr

from demo import device_panel, evidence, gallery, many_photos, one_photo, service
from demo.comparison import Comparison
from demo.escaping import plain
from demo.page import MAX_SESSIONS, Page
from demo.uploads import Limits
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.images.reading import MAX_FILE_BYTES

TITLE = "MobileViT: from photographs to a phone"

BUSY = f"<script>{Path(__file__).with_name('busy.js').read_text(encoding='utf-8')}</script>"

LAUNCH: dict[str, Any] = {
    "theme": gr.themes.Default(primary_hue="green", font=["system-ui", "sans-serif"]),
    "css_paths": str(Path(__file__).with_name("page.css")),
    "head": device_panel.HEAD + BUSY,
    "max_file_size": MAX_FILE_BYTES,
    "ssr_mode": False,
    "enable_monitoring": False,
    "strict_cors": True,
    "run_history": False,
    "state_session_capacity": MAX_SESSIONS,
    "footer_links": ["api"],
}


def build(comparison: Comparison, limits: Limits | None = None, local: bool = False) -> Page:
    """The page for one bundle.

    Args:
        comparison: its runtimes.
        limits: of the uploads; default: two gibibytes, each deleted after an hour.
        local: the page is for the person at this machine alone, who may also fetch example photographs.

    Returns:
        Blocks; start them with `launch(**LAUNCH)`.
    """
    bundle, manifest = comparison.bundle, comparison.bundle.manifest
    routes = [*device_panel.routes(bundle), *evidence.routes(bundle), *gallery.routes()]
    with Page(limits or Limits(), routes, title=TITLE, analytics_enabled=False) as page:
        gr.Markdown(f"# {TITLE}\n\n{_heading(manifest)}")
        with gr.Tab("One photograph"):
            one_photo.build(comparison, local)
        with gr.Tab("Many photographs"):
            many_photos.build(comparison)
        with gr.Tab("Evidence"):
            evidence.build(bundle)
        service.build(comparison)
    return page.queue()


def _heading(manifest: Manifest) -> str:
    classes = ", ".join(manifest.class_names[:12]) + (", ..." if len(manifest.class_names) > 12 else "")
    text = (
        f"MobileViT-{plain(manifest.variant.upper())} ({plain(manifest.architecture.replace('_', ' '))}), "
        f"{manifest.rule.image_size} px, tells apart: **{plain(classes)}**. It knows nothing else."
    )
    measured = manifest.metrics.get("test") or manifest.metrics.get("validation")
    if measured:
        name, result = next(iter(measured["formats"].items()))
        title = FORMATS[name].title if name in FORMATS else name
        low, high = result["interval_95"]
        text += (
            f" Accuracy {result['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) on the "
            f"{result['photos']} photographs of {plain(measured['data'])}'s {plain(measured['split'])} "
            f"split, with {title}."
        )
    return text + _origins(manifest)


def _origins(manifest: Manifest) -> str:
    """One sentence on the other trainings that went into the weights."""
    phrases = manifest.origins()
    return f" Its weights {plain('; '.join(phrases))}." if phrases else ""
