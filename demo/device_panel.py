"""The panel "This device": a page of its own in a frame (`demo/device/`), so that it works alone, too."""

import os
from pathlib import Path
from urllib.parse import quote, urlencode

import gradio as gr

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import MANIFEST
from mobilevit_core.bundle.weight_formats import FORMATS

FOLDER = Path(__file__).parent / "device"

# The frame asks for the theme and the photograph when it is ready, and gets every new one.
HEAD = """
<script>
(() => {
  let photo = null;
  const frame = () => document.querySelector("#device iframe");
  const tell = () => frame()?.contentWindow.postMessage(
    { dark: document.body.classList.contains("dark"), photo }, location.origin);
  window.addEventListener("message", (event) => {
    if (event.origin !== location.origin) return;
    if (event.data?.device === "ready") tell();
    if (event.data?.device === "height") frame().style.height = `${event.data.height}px`;
  });
  window.tellDevice = (url) => { photo = url; tell(); };
})();
</script>
"""
TELL_PHOTO = "(photo) => { window.tellDevice?.(photo?.url ?? null); return []; }"


def build(bundle: Bundle) -> None:
    """Places the panel, if the bundle has a file for it."""
    formats = [name for name in bundle.intact if FORMATS[name].engine == "litert"]
    if not formats:
        return
    folder = bundle.folder.resolve()
    gr.set_static_paths([FOLDER, folder / MANIFEST, *(bundle.weights(name).resolve() for name in formats)])
    query = urlencode(
        {
            "bundle": Path(os.path.relpath(folder, FOLDER)).as_posix(),
            "formats": ",".join(f"{name}:{FORMATS[name].title}" for name in formats),
        }
    )
    source = f"gradio_api/file={quote((FOLDER / 'index.html').as_posix())}?{query.replace('&', '&amp;')}"
    gr.Markdown("### This device")
    gr.HTML(
        f'<iframe src="{source}" title="The same weights, run by your browser" allow="camera"></iframe>',
        elem_id="device",
    )
