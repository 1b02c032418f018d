"""The page without a server: the same markup, style and scripts, answered by the visitor's own device."""

import argparse
import json
from html import escape
from pathlib import Path

from demo import evidence, gallery, interface, many_photos, one_photo, preview, spaces, words
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import REPORT
from mobilevit_core.errors import UserError
from mobilevit_core.publishing.model_repository import copy_bundle

STYLES = ("page.css", "static.css")
FIRST = ("base.js", "static.js")  # before the body is drawn: they choose the colours
SCRIPTS = tuple(name for name in interface.SCRIPTS if name not in ("base.js", "call.js"))
# Everything comes from the page's own folder, and nothing is sent anywhere.
SHARED = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'"
)
POLICY = f"{SHARED}; script-src 'self'"
ENGINE_POLICY = (
    f"{SHARED}; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval' blob:; worker-src 'self' blob:"
)

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{policy}
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
{tags}
<link rel="icon" href="data:,">
{styles}
{first}
</head>
<body>
<main>
{header}
<div role="tablist" aria-label="Parts of the page">{tabs}</div>
{panels}
</main>
{scripts}
</body>
</html>
"""
README = """---
{front}
---

# {title}

{subtitle} The network runs in the visitor's browser with LiteRT.js: photographs are not sent anywhere.

Any web server can serve this folder, for example `python -m http.server`. `bundle/` holds the weights,
`report/` what was measured. The photographs in `examples/` are under CC BY 2.0, by those whom
`examples/index.json` names. LiteRT.js in `device/node_modules/` is under the Apache License 2.0 (https://github.com/google-ai-edge/LiteRT).
"""


def write(bundle: Bundle, folder: Path, arguments: argparse.Namespace) -> None:
    """Writes the page into a folder that any web server can serve.

    Args:
        bundle: an opened bundle.
        folder: to write to; must exist.
        arguments: of `spaces.options()`.

    Raises:
        UserError: the bundle has no file that a browser runs, or LiteRT.js is not here.
    """
    manifest = bundle.manifest
    formats = words.on_device(bundle)
    if not formats:
        raise UserError("Browsers run .tflite files, and this bundle has none. `export` writes them.")
    title, subtitle = words.title(manifest), words.subtitle(manifest, bundle)
    spaces.copy_engine(folder / "device")
    _add_policy(folder / "device" / "index.html")
    copy_bundle(bundle, folder / "bundle", formats)
    if (folder / "bundle" / REPORT).is_dir():
        (folder / "bundle" / REPORT).rename(folder / REPORT)
    facts = words.facts_without_server(bundle)
    (folder / "bundle" / "page.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    gallery.bring_along(manifest, folder / "examples")
    spaces.copy((*STYLES, *FIRST, *SCRIPTS), interface.WEB, folder / "web")
    spaces.draw_thumbnail(folder / "thumbnail.png", title, subtitle)
    (folder / ".nojekyll").touch()  # GitHub Pages would leave node_modules out
    (folder / "index.html").write_text(page(bundle, arguments.repository), encoding="utf-8")
    front = spaces.front_matter(bundle, arguments, sdk="static", app_file="index.html")
    text = README.format(front=front, title=title, subtitle=subtitle)
    (folder / "README.md").write_text(text, encoding="utf-8")


def page(bundle: Bundle, repository: str) -> str:
    """The page's HTML, from the same parts as Gradio's page."""
    manifest, formats = bundle.manifest, words.on_device(bundle)
    title, subtitle = words.title(manifest), words.subtitle(manifest, bundle)
    first = words.facts_without_server(bundle)["answering"]
    parts = {
        "One photo": one_photo.PAGE,
        "Many photos": many_photos.markup(formats, first),
        "How good is it?": evidence.markup(bundle),
    }
    return PAGE.format(
        policy=_policy(POLICY),
        title=escape(title),
        tags=preview.tags(title, subtitle, spaces.thumbnail_address(repository)),
        styles="\n".join(f'<link rel="stylesheet" href="web/{name}">' for name in STYLES),
        first=_scripts(FIRST),
        header=interface.header(title, subtitle),
        tabs="".join(_tab(number, name) for number, name in enumerate(parts)),
        panels="\n".join(_panel(number, content) for number, content in enumerate(parts.values())),
        scripts=_scripts(SCRIPTS),
    )


def _scripts(names: tuple[str, ...]) -> str:
    return "\n".join(f'<script src="web/{name}"></script>' for name in names)


def _tab(number: int, name: str) -> str:
    state = f'aria-selected="{"false" if number else "true"}" tabindex="{-1 if number else 0}"'
    names = f'id="tab-{number}" aria-controls="panel-{number}"'
    return f'<button role="tab" type="button" {names} {state}>{name}</button>'


def _panel(number: int, content: str) -> str:
    names = f'id="panel-{number}" aria-labelledby="tab-{number}"'
    return f'<section role="tabpanel" {names}{" hidden" if number else ""}>{content}</section>'


def _policy(policy: str) -> str:
    return f'<meta http-equiv="Content-Security-Policy" content="{policy}">'


def _add_policy(path: Path) -> None:
    """The server sends this as a header; a folder of files has to say it itself."""
    start = '<meta charset="utf-8">\n'
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(start, f"{start}{_policy(ENGINE_POLICY)}\n", 1), encoding="utf-8")
