"""The panel "This device": a page of its own in a frame (`demo/device/`), so that it works alone, too."""

from pathlib import Path
from urllib.parse import urlencode

import gradio as gr
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

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


def routes(bundle: Bundle) -> list[BaseRoute]:
    """The panel's files, and those of the bundle that it reads."""
    files = {MANIFEST: bundle.folder / MANIFEST} | {
        FORMATS[name].file: bundle.weights(name) for name in _formats(bundle)
    }

    async def send(request: Request) -> FileResponse:
        if request.path_params["name"] not in files:
            raise HTTPException(404)
        return FileResponse(files[request.path_params["name"]])

    installed = (FOLDER / "node_modules").resolve()
    packages = [Mount("/device/node_modules", StaticFiles(directory=installed))] if installed.is_dir() else []
    return [Route("/bundle/{name}", send), *packages, Mount("/device", StaticFiles(directory=FOLDER))]


def _formats(bundle: Bundle) -> list[str]:
    return [name for name in bundle.intact if FORMATS[name].engine == "litert"]


def build(bundle: Bundle) -> None:
    """Places the panel, if the bundle has a file for it."""
    formats = _formats(bundle)
    if not formats:
        return
    query = urlencode(
        {"bundle": "../bundle", "formats": ",".join(f"{name}:{FORMATS[name].title}" for name in formats)}
    )
    source = f"device/index.html?{query.replace('&', '&amp;')}"
    gr.Markdown("### This device")
    gr.HTML(
        f'<iframe src="{source}" title="The same weights, run by your browser" allow="camera"></iframe>',
        elem_id="device",
    )
