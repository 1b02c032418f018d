"""The page: its tabs, and what holds for all of them. Each tab has a file of its own."""

from pathlib import Path
from typing import Any

import gradio as gr

from demo import device_panel, evidence, many_photos, one_photo, service
from demo.comparison import Comparison
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.images.reading import MAX_FILE_BYTES

TITLE = "MobileViT: from photographs to a phone"
MAX_WAITING = 16  # visitors in the queue for measuring; the next one is told to come again
CACHE_SECONDS = 3600  # uploaded photographs are deleted after an hour

LAUNCH: dict[str, Any] = {
    "theme": gr.themes.Default(primary_hue="green", font=["system-ui", "sans-serif"]),
    "css_paths": str(Path(__file__).with_name("page.css")),
    "head": device_panel.HEAD,
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
    manifest = comparison.bundle.manifest
    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(CACHE_SECONDS, CACHE_SECONDS)) as page:
        gr.Markdown(f"# {TITLE}\n\n{_heading(manifest)}")
        with gr.Tab("One photograph"):
            one_photo.build(comparison)
        with gr.Tab("Many photographs"):
            many_photos.build(comparison)
        with gr.Tab("Evidence"):
            evidence.build(comparison.bundle)
        service.build(comparison)
    return page.queue(max_size=MAX_WAITING)


def _heading(manifest: Manifest) -> str:
    classes = ", ".join(manifest.class_names[:12]) + (", ..." if len(manifest.class_names) > 12 else "")
    text = (
        f"MobileViT-{manifest.variant.upper()} ({manifest.architecture.replace('_', ' ')}), "
        f"{manifest.rule.image_size} px, tells apart: **{classes}**. It knows nothing else."
    )
    measured = manifest.metrics.get("test") or manifest.metrics.get("validation")
    if measured:
        name, result = next(iter(measured["runtimes"].items()))
        title = FORMATS[name].title if name in FORMATS else name
        low, high = result["interval_95"]
        text += (
            f" Accuracy {result['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) on the "
            f"{result['photos']} photographs of {measured['data']}'s {measured['part']} part, with "
            f"{title}."
        )
    return text + _origins(manifest)


def _origins(manifest: Manifest) -> str:
    """One sentence on the other trainings that went into the weights."""
    phrases = manifest.origins()
    return f" Its weights {'; '.join(phrases)}." if phrases else ""
