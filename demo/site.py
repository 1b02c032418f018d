"""The page's files: the same ones are sent by the server and copied into a folder by `publish`."""

import base64
import functools
import gzip
import json
import os
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

from demo import words
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import MANIFEST
from mobilevit_core.bundle.manifest import MANIFEST_VERSION, VERSION, read_manifest
from mobilevit_core.bundle.tflite_metadata import metadata
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.training.everyday import FILE as EVERYDAY
from mobilevit_core.training.transfer import GENERAL_FOLDER

DEMO = Path(__file__).parent
PAGE = DEMO / "page"  # HTML, scripts, style
ENGINE = DEMO / "device"  # what runs in the browser
LITERT = ENGINE / "node_modules" / "@litertjs"
# Of LiteRT.js only what the engine loads: with and without WebAssembly's relaxed SIMD, on one thread each.
# Threads would need the headers COOP and COEP, which most web servers don't send.
RUNTIMES = ("litert_wasm_internal", "litert_wasm_compat_internal")
SCRIPTS = ("core/dist/index.js", "wasm-utils/dist/index.js", *(f"core/wasm/{name}.js" for name in RUNTIMES))
OURS = ("engine.js", "ground.js", "resize.js", "graft.js", "archive.js")
FLATBUFFERS = ENGINE / "node_modules" / "flatbuffers" / "mjs"  # writes .tflite files in the browser
BUFFER_SCRIPTS = ("builder", "byte-buffer", "constants", "encoding", "flatbuffers", "utils")
QR = ENGINE / "node_modules" / "qrcode-generator" / "dist" / "qrcode.mjs"
TAUGHT = "Taught in a browser on the features of MobileViT."


def index(bundle: Bundle, picture: str | None = None) -> str:
    """The page's HTML, with the bundle's title.

    Args:
        bundle: an opened bundle.
        picture: address of what other sites show of a link; default: the server's own, complete where the
            server knows its name (on Hugging Face Spaces).
    """
    host = os.environ.get("SPACE_HOST")
    own = f"https://{host}/examples/preview.png" if host else "/examples/preview.png"
    manifest = bundle.manifest
    values = {
        "title": words.title(manifest),
        "subtitle": words.subtitle(manifest, bundle),
        "picture": picture or own,
    }
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda found: escape(values[found[1]]), text)


def policy() -> str:
    """The page's Content-Security-Policy; it stands in the page itself, for servers that send no headers."""
    text = (PAGE / "index.html").read_text(encoding="utf-8")
    return re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[0]


# What the page's scripts ask for: name in its folder -> a file, or what makes its content.
Files = dict[str, Path | Callable[[], bytes]]


def bundle_files(bundle: Bundle) -> Files:
    """What the engine reads of a bundle."""
    files = {FORMATS[name].file: bundle.weights(name) for name in words.on_device(bundle)}
    return {MANIFEST: bundle.folder / MANIFEST, **files}


def engine_files() -> Files:
    """What runs in the browser; without LiteRT.js, some of it is not there."""
    files: Files = {name: ENGINE / name for name in OURS} | {"qrcode.js": QR}
    files |= {f"litert/{name}": LITERT / name for name in SCRIPTS}
    files |= {f"flatbuffers/{name}.js": FLATBUFFERS / f"{name}.js" for name in BUFFER_SCRIPTS}
    if is_installed():
        wasm = {name: functools.partial(_compressed, name) for name in RUNTIMES}
        files |= {f"litert/core/wasm/{name}.wasm.gz": content for name, content in wasm.items()}
    return files


@functools.cache
def _compressed(name: str) -> bytes:
    """One of `RUNTIMES` as gzip: 2.9 MB in place of 9.4, on any web server; takes a second."""
    return gzip.compress((LITERT / "core" / "wasm" / f"{name}.wasm").read_bytes(), 9, mtime=0)


def is_installed() -> bool:
    """Whether LiteRT.js is here, so that a visitor's browser can run the network."""
    return LITERT.is_dir() and FLATBUFFERS.is_dir() and QR.is_file()


def require_engine() -> None:
    """Refuses to publish a page that would lack what it runs.

    Raises:
        UserError: LiteRT.js is not installed.
    """
    for name, content in engine_files().items():
        if isinstance(content, Path) and not content.is_file():
            raise UserError(f"LiteRT.js is not here ({name}). To get it: npm ci --prefix demo/device")


def trunk_files() -> Files:
    """What new classes are taught on in the browser: the general weights' trunk in every format.

    Returns:
        Nothing where they are not installed.
    """
    if not all((GENERAL_FOLDER / name).is_file() for name in (MANIFEST, EVERYDAY)):
        return {}
    trunks = read_manifest(GENERAL_FOLDER / MANIFEST).trunk.values()
    files: Files = {name: GENERAL_FOLDER / name for name in (EVERYDAY, *(entry.file for entry in trunks))}
    return files | {MANIFEST: _trunk_manifest}


@functools.cache
def _trunk_manifest() -> bytes:
    """What the page needs to know of the trunk, as its `bundle.json`.

    Files that the page writes take their metadata and the fields of their manifest from it.
    """
    manifest = read_manifest(GENERAL_FOLDER / MANIFEST)
    whole, own = manifest.to_json(), ("input", "architecture", "variant", "versions")
    weights = manifest.files["keras"].sha256
    described = {
        "files": whole["trunk"],
        "input": whole["input"],
        "class_names": [],
        "metadata": base64.b64encode(metadata(TAUGHT, manifest.rule.image_size)).decode(),
        "weights_sha256": weights,
        "made": {VERSION: MANIFEST_VERSION} | {key: whole[key] for key in own},
        "start": {
            "weights_sha256": weights,
            "data": {key: item for key, item in whole["data"].items() if key != "notes"},
            "classes": len(manifest.class_names),
        },
    }
    return json.dumps(described).encode()
