"""The row of photos to try the page with.

The page's script takes a chosen picture from its route and sends it like any visitor's photo, so it does
not matter where on this machine the file lies.
"""

import importlib.util
import json
import shutil
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse
from starlette.routing import BaseRoute, Route

from demo import words
from demo.comparison import Comparison
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.examples import BundleExample, bundle_examples
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
        trained_on: whether the network was, so that its answer is not judged.
    """

    path: Path
    caption: str
    what: str
    credit: str
    url: str = ""
    label: str | None = None
    trained_on: bool = False

    def to_json(self) -> dict[str, str | bool | None]:
        """As the page's script gets it: the file by its name alone."""
        return {"file": self.path.name} | {k: v for k, v in asdict(self).items() if k != "path"}


def routes(bundle: Bundle) -> list[BaseRoute]:
    """The pictures by their names, and their list; no path of this machine is told."""
    own = own_pictures(bundle)  # once; the flowers may still be on their way

    async def index(_: Request) -> JSONResponse:
        return JSONResponse([shown.to_json() for shown in pictures(bundle.manifest, own)])

    async def send(request: Request) -> FileResponse:
        files = {shown.path.name: shown.path for shown in pictures(bundle.manifest, own)}
        files["preview.png"] = PREVIEW
        if request.path_params["name"] not in files:
            raise HTTPException(404)
        return FileResponse(files[request.path_params["name"]])

    return [Route("/examples/index.json", index), Route("/examples/{name}", send)]


def pictures(manifest: Manifest, own: Sequence[Picture] = ()) -> list[Picture]:
    """What the page offers: the photos that came with the bundle, else of its kind, and what packages ship.

    A published page brings its own along.

    Args:
        manifest: of the bundle.
        own: what `own_pictures` finds in it.
    """
    packaged = _packaged(manifest)
    if own:
        return [*own, *packaged]
    if (FOLDER / LIST).is_file():
        return [_picture_of(row) for row in json.loads((FOLDER / LIST).read_text(encoding="utf-8"))]
    flowers = _flowers(manifest) if words.is_flowers(manifest) else []
    # One of each class, then a trick question, then the others.
    first = list({flower.label: flower for flower in reversed(flowers)}.values())[::-1]
    others = [flower for flower in flowers if flower not in first]
    return [*first, *packaged[:1], *others, *packaged[1:]]


def bring_along(bundle: Bundle, folder: Path, with_own: bool) -> None:
    """Copies the pictures and their list into a folder of a page that is published.

    Args:
        bundle: an opened bundle.
        folder: to make.
        with_own: whether the photos that came with the bundle are among them.
    """
    folder.mkdir(parents=True)
    shown = pictures(bundle.manifest, own_pictures(bundle) if with_own else ())
    for picture in shown:
        shutil.copyfile(picture.path, folder / picture.path.name)
    rows = [picture.to_json() for picture in shown]
    (folder / LIST).write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")


def own_pictures(bundle: Bundle) -> list[Picture]:
    """The photos that `train` kept in a bundle."""
    return [_own(path, row, bundle.manifest) for path, row in bundle_examples(bundle)]


def _own(path: Path, row: BundleExample, manifest: Manifest) -> Picture:
    name = words.display(row.label, manifest)
    is_class = row.label != manifest.other_class
    caption = name if is_class else _trick(manifest)
    label = row.label if is_class else None
    return Picture(
        path, f"{caption} (trained on)" if row.trained_on else caption, name, "", "", label, row.trained_on
    )


def _flowers(manifest: Manifest) -> list[Picture]:
    table = {example.file: example for example in examples()}
    found = [(path, table[path.name]) for path in present_examples(FOLDER)]
    return [
        Picture(
            path,
            words.display(example.label, manifest),
            words.display(example.label, manifest),
            f"{example.photographer}, {LICENCE}",
            example.url,
            example.label,
        )
        for path, example in found
    ]


def _trick(manifest: Manifest) -> str:
    return f"Trick question: not one of the {words.number(len(words.known(manifest)))}"


def _picture_of(row: dict[str, Any]) -> Picture:
    return Picture(FOLDER / Path(row["file"]).name, **{key: row[key] for key in row if key != "file"})


def _packaged(manifest: Manifest) -> list[Picture]:
    """Pictures of an installed package, so that the page needs no network to be tried."""
    package = importlib.util.find_spec("sklearn")
    if package is None or package.origin is None:
        return []
    folder = Path(package.origin).parent / "datasets" / "images"
    return [
        Picture(folder / name, _trick(manifest), what, f"{who}, {LICENCE}", url)
        for name, (what, who, url) in PACKAGED.items()
        if (folder / name).is_file()
    ]


def fill(comparison: Comparison) -> None:
    """Fetches the flowers' photos in the background, once; without network everything else goes on."""
    there = (FOLDER / LIST).is_file() or present_examples(FOLDER) or bundle_examples(comparison.bundle)
    if words.is_flowers(comparison.bundle.manifest) and not there:
        print(f"Fetching {len(examples())} example photos (1 MB, once); --no-examples leaves them out.")
        threading.Thread(target=_fill, daemon=True, name="examples").start()


def _fill() -> None:
    try:
        write_examples(FOLDER)
    except (UserError, OSError) as error:
        print(f"No example photos: {error}")
