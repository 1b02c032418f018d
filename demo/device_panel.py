"""The bundle in the visitor's browser: a hidden page (`demo/device/`) with a policy of its own."""

from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from demo import words
from demo.comparison import Comparison
from mobilevit_core.bundle.files import MANIFEST
from mobilevit_core.bundle.weight_formats import FORMATS

FOLDER = Path(__file__).parent / "device"


def routes(comparison: Comparison) -> list[BaseRoute]:
    """The engine's files, those of the bundle that it reads, and what the page's scripts need to know."""
    bundle = comparison.bundle
    files = {MANIFEST: bundle.folder / MANIFEST}
    for name in bundle.intact:
        if FORMATS[name].engine == "litert":
            files[FORMATS[name].file] = bundle.weights(name)

    async def send(request: Request) -> FileResponse:
        if request.path_params["name"] not in files:
            raise HTTPException(404)
        return FileResponse(files[request.path_params["name"]])

    async def facts(_: Request) -> JSONResponse:
        return JSONResponse(words.facts(comparison))

    installed = (FOLDER / "node_modules").resolve()
    packages = [Mount("/device/node_modules", StaticFiles(directory=installed))] if installed.is_dir() else []
    return [
        Route("/bundle/page.json", facts),
        Route("/bundle/{name}", send),
        *packages,
        Mount("/device", StaticFiles(directory=FOLDER)),
    ]
