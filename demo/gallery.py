"""The gallery of photographs to try the page with, and the way to get more."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import gradio as gr
from gradio.processing_utils import save_file_to_cache
from gradio.utils import get_upload_folder
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import BaseRoute, Route

from demo.guard import is_loopback
from mobilevit_core.data.tf_flowers.examples import (
    DOWNLOAD_MB,
    LICENCE,
    examples,
    present_examples,
    write_examples,
)
from mobilevit_core.errors import UserError

FOLDER = Path(__file__).parent / "examples"
PACKAGED = {"flower.jpg": "a dahlia", "china.jpg": "a palace"}
OFFER = f"Fetch ten test photographs ({DOWNLOAD_MB} MB download, {LICENCE})"
FETCHED = "Test photographs of tf_flowers, the first two of each class, not picked; " + LICENCE + ": "
UNFETCHED = "Pictures that scikit-learn ships. Neither shows one of these flowers: see what it makes of them."


def routes() -> list[BaseRoute]:
    """The pictures by their names, so that the page's description holds no path of this machine."""

    async def send(request: Request) -> FileResponse:
        files = {Path(path).name: path for path, _ in _pictures()}
        if request.path_params["name"] not in files:
            raise HTTPException(404)
        return FileResponse(files[request.path_params["name"]])

    return [Route("/examples/{name}", send)]


def build(photo: gr.Image, local: bool) -> None:
    """Places the gallery under the photograph; a click on a picture classifies it.

    Args:
        photo: the field that takes the picture.
        local: the page is for the person at this machine alone, who may fetch more pictures.
    """
    gallery = gr.Gallery(
        label="To try it",
        show_label=False,
        columns=3,
        height=210,
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="examples",
    )
    gallery.value = _shown()
    credits = gr.Markdown(_credits(), elem_classes="credits")
    gallery.select(_chosen, None, photo, api_visibility="private", queue=False)
    if local and not present_examples(FOLDER):
        offer = gr.Button(OFFER, size="sm", elem_classes="offer")
        offer.click(
            _fetched(), None, [gallery, credits, offer], api_visibility="private", concurrency_limit=1
        )


def _shown() -> list[dict[str, Any]]:
    """The pictures as Gradio's front end takes them, each by its route."""
    return [
        {
            "image": {
                "path": "",  # the front end goes by the address
                "url": f"/examples/{quote(Path(path).name)}",
                "meta": {"_type": "gradio.FileData"},
            },
            "caption": caption,
        }
        for path, caption in _pictures()
    ]


def _packaged() -> list[tuple[str, str]]:
    """Pictures of an installed package, so that the page needs no network to be tried."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parent / "datasets" / "images"
    return [(str(folder / name), caption) for name, caption in PACKAGED.items() if (folder / name).is_file()]


def _pictures() -> list[tuple[str, str]]:
    """Pairs of path and caption."""
    names = {example.file: example.label for example in examples()}
    return [(str(path), names[path.name]) for path in present_examples(FOLDER)] + _packaged()


def _credits() -> str:
    if not present_examples(FOLDER):
        return UNFETCHED if _packaged() else ""
    return FETCHED + ", ".join(f"[{example.photographer}]({example.url})" for example in examples())


def _chosen(event: gr.SelectData) -> str:
    """The picture that was clicked, by the name in its address: the gallery may have grown meanwhile."""
    files = {Path(path).name: path for path, _ in _pictures()}
    try:
        name = unquote(event.value["image"]["url"].rpartition("/")[2])
        return _cached(files[name])
    except (KeyError, TypeError, AttributeError):
        raise UserError("There is no such picture.") from None


def _cached(path: str) -> str:
    """A copy among the uploads: what a visitor sends back must lie there."""
    return save_file_to_cache(path, get_upload_folder())


def _fetched() -> Callable[..., tuple[Any, ...]]:
    def fetch(
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 (Gradio's way)
    ) -> tuple[Any, ...]:
        if not is_loopback(request.client.host):
            raise UserError("Only the person at this machine can fetch photographs.")
        progress(0, desc="tensorflow-datasets fetches and prepares tf_flowers; this takes minutes")
        try:
            write_examples(FOLDER)
        except UserError as error:
            return gr.Gallery(), f"They could not be fetched: {error} Try again later.", gr.Button(OFFER)
        shown = [(_cached(path), caption) for path, caption in _pictures()]
        return gr.Gallery(shown), _credits(), gr.Button(visible=False)

    return fetch
