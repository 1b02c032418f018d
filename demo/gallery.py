"""The row of photographs to try the page with.

The page's script takes a chosen picture from its route and sends it like any visitor's photograph, so it does
not matter where on this machine the file lies.
"""

import importlib.util
import json
import shutil
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import BaseRoute, Route

from demo import words
from demo.comparison import Comparison
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.data.tf_flowers.examples import (
    LICENCE,
    examples,
    present_examples,
    write_examples,
)
from mobilevit_core.errors import UserError

FOLDER = Path(__file__).parent / "examples"
PREVIEW = Path(__file__).parent / "screenshot.png"  # for links to the page
LIST = "index.json"  # of the pictures that a published page brings along
FLICKR = "https://www.flickr.com/photos"
PACKAGED = {  # file -> what it shows, who took it, where it was published
    "china.jpg": ("a palace", "danielbuechele", f"{FLICKR}/danielbuechele/6061409035"),
    "flower.jpg": ("a dahlia", "vultilion", f"{FLICKR}/vultilion/6056698931"),
}


@dataclass(frozen=True)
class Picture:
    """One example.

    Attributes:
        path: of the file, anywhere on this machine.
        caption: what people read under it.
        what: it shows.
        credit: who took it, and under which licence.
        url: where it was published.
        label: the class that it shows; None for none of them.
    """

    path: Path
    caption: str
    what: str
    credit: str
    url: str = ""
    label: str | None = None

    def to_json(self) -> dict[str, str | None]:
        """As the page's script gets it: the file by its name alone."""
        return {"file": self.path.name} | {k: v for k, v in asdict(self).items() if k != "path"}


def routes(manifest: Manifest) -> list[BaseRoute]:
    """The pictures by their names, and their list; no path of this machine is told."""

    async def index(_: Request) -> JSONResponse:
        return JSONResponse([shown.to_json() for shown in pictures(manifest)])

    async def send(request: Request) -> FileResponse:
        files = {shown.path.name: shown.path for shown in pictures(manifest)} | {"preview.png": PREVIEW}
        if request.path_params["name"] not in files:
            raise HTTPException(404)
        return FileResponse(files[request.path_params["name"]])

    return [Route("/examples/index.json", index), Route("/examples/{name}", send)]


def pictures(manifest: Manifest) -> list[Picture]:
    """What the page offers: photographs of the flowers where they are there, then what packages ship.

    A published page brings its own along.
    """
    if (FOLDER / LIST).is_file():
        return [_picture_of(row) for row in json.loads((FOLDER / LIST).read_text(encoding="utf-8"))]
    flowers = []
    if words.is_flowers(manifest):
        table = {example.file: example for example in examples()}
        for path in present_examples(FOLDER):
            example = table[path.name]
            name = words.display(example.label, manifest)
            credit = f"{example.photographer}, {LICENCE}"
            flowers.append(Picture(path, name, name, credit, example.url, example.label))
    # One of each class, then a trick question, then the others.
    first = list({flower.label: flower for flower in reversed(flowers)}.values())[::-1]
    others = [flower for flower in flowers if flower not in first]
    return [*first, *_packaged(manifest)[:1], *others, *_packaged(manifest)[1:]]


def bring_along(manifest: Manifest, folder: Path) -> None:
    """Copies the pictures and their list into a folder of a page that is published."""
    folder.mkdir(parents=True)
    shown = pictures(manifest)
    for picture in shown:
        shutil.copyfile(picture.path, folder / picture.path.name)
    rows = [picture.to_json() for picture in shown]
    (folder / LIST).write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")


def _picture_of(row: dict[str, Any]) -> Picture:
    return Picture(FOLDER / Path(row["file"]).name, **{key: row[key] for key in row if key != "file"})


def _packaged(manifest: Manifest) -> list[Picture]:
    """Pictures of an installed package, so that the page needs no network to be tried."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parent / "datasets" / "images"
    count = words.number(len(words.known(manifest)))
    return [
        Picture(folder / name, f"Trick question: not one of the {count}", what, f"{who}, {LICENCE}", url)
        for name, (what, who, url) in PACKAGED.items()
        if (folder / name).is_file()
    ]


def fill(comparison: Comparison) -> None:
    """Fetches the flowers' photographs in the background, once; without network everything else goes on."""
    there = (FOLDER / LIST).is_file() or present_examples(FOLDER)
    if words.is_flowers(comparison.bundle.manifest) and not there:
        print(f"Fetching {len(examples())} example photos (1 MB, once); --no-examples leaves them out.")
        threading.Thread(target=_fill, daemon=True, name="examples").start()


def _fill() -> None:
    try:
        write_examples(FOLDER)
    except (UserError, OSError) as error:
        print(f"No example photos: {error}")
