"""A bundle's page as a folder: `write_static` for any web server, `write_gradio` as a Gradio Space.

`publish` of the package finds this module by the project's pyproject.toml.
"""

import json
import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCard, SpaceCardData
from PIL import Image, ImageDraw, ImageFont

from demo import gallery, site, words
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import MANIFEST, REPORT
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.publishing.card import licence_of
from mobilevit_core.publishing.model_repository import copy_bundle
from mobilevit_core.publishing.pages import PageOptions
from mobilevit_core.training.transfer import GENERAL_FOLDER

PROJECT = site.DEMO.parent
WIDTH, HEIGHT = 1200, 630  # pixels; what other sites show of a link
LONGEST = 60  # characters of a short description
MARKUP = re.compile(r"[\\`*_\[\]<>#|&~$]|@(?=\w)|:(?=//)|www(?=\.)", re.IGNORECASE)
TAGS = ["image-classification", "mobilevit", "litert", "tflite"]
SLOW_START, QUICK_START = "30m", "10m"  # after which the Hub gives up; most of it installs the requirements
# What the Gradio Space runs, by folder.
SPACE = {"demo": (".py",), "demo/page": (".html", ".js", ".css"), "mobilevit_core": (".py", ".csv", ".jinja")}
STATIC_README = """\
# {title}

{subtitle} The network runs in the visitor's browser with LiteRT.js: photos are not sent anywhere.

Any web server can serve this folder, for example `python -m http.server`. `bundle/` holds the weights,
`report/` what was measured. The photos in `examples/` are under CC BY 2.0, by those whom
`examples/index.json` names; one without a name there is the publisher's. LiteRT.js in `device/litert/` and
`device/flatbuffers/` are under the Apache License 2.0 (https://github.com/google-ai-edge/LiteRT,
https://github.com/google/flatbuffers), `device/qrcode.js` is under the MIT License
(https://github.com/kazuhikoarase/qrcode-generator). `trunk/` is what the page learns new classes on.
"""
GRADIO_README = """\
# {title}

{subtitle}

`app.py` is the page; the weights and what was measured are in `demo/weights/`. The photos in
`demo/examples/` are under CC BY 2.0; `demo/examples/index.json` names who took them, and one without a name
there is the publisher's.
"""


def write_static(bundle: Bundle, folder: Path, options: PageOptions) -> None:
    """Writes the page into a folder that any web server can serve; every answer comes from the browser.

    Args:
        bundle: an opened bundle.
        folder: to write to; must exist.
        options: what for.

    Raises:
        UserError: the bundle has no file that a browser runs, or LiteRT.js is not here.
    """
    formats = words.on_device(bundle)
    if not formats:
        raise UserError("Browsers run .tflite files, and this bundle has none. `export` writes them.")
    site.require_engine()
    trunk = site.trunk_files()
    _write(site.engine_files(), folder / "device")
    _write(trunk, folder / "trunk")
    copy_bundle(bundle, folder / "bundle", formats)
    if (folder / "bundle" / REPORT).is_dir():
        (folder / "bundle" / REPORT).rename(folder / REPORT)
    facts = words.facts_without_server(bundle) | {"engine": True, "teaches": bool(trunk)}
    (folder / "bundle" / "page.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    gallery.bring_along(bundle, folder / "examples", options.with_examples)
    scripts = [path for path in site.PAGE.iterdir() if path.suffix in (".js", ".css")]
    _write({path.name: path for path in scripts}, folder / "page")
    (folder / "page" / "sw.js").rename(folder / "sw.js")  # it serves what lies beside and below it
    (folder / ".nojekyll").touch()  # GitHub Pages would leave files out
    picture = thumbnail_address(options.repository)
    (folder / "index.html").write_text(site.index(bundle, picture), encoding="utf-8")
    _describe(bundle, folder, options, STATIC_README, sdk="static", app_file="index.html")


def write_gradio(bundle: Bundle, folder: Path, options: PageOptions) -> None:
    """Writes everything that a Gradio Space needs into a folder.

    Without TensorFlow, which has 1.3 GB, the page runs the .tflite formats; the Keras weights are then left
    out, too, so that it does not offer what it can't run.

    Args:
        bundle: an opened bundle.
        folder: to write to; must exist.
        options: what for.

    Raises:
        UserError: nothing of the bundle would run there, or LiteRT.js is not here.
    """
    formats = [name for name in bundle.present if options.with_keras or FORMATS[name].engine != "keras"]
    if not formats:
        raise UserError(
            "This bundle has Keras weights alone. Add --with-keras, or write .tflite files: `export`."
        )
    site.require_engine()
    parts = [PROJECT / name for name in ("app.py", "Dockerfile", "LICENSE", "demo/screenshot.png")]
    for name, ends in SPACE.items():
        source = PROJECT / name
        paths = source.rglob("*") if name == "mobilevit_core" else source.iterdir()
        parts += [path for path in paths if path.suffix in ends and path.is_file()]
    parts += [site.LITERT / "core" / "wasm" / f"{name}.wasm" for name in site.RUNTIMES]
    if trunk := site.trunk_files():
        parts.append(GENERAL_FOLDER / MANIFEST)
    served = [*site.engine_files().values(), *trunk.values()]
    parts += [content for content in served if isinstance(content, Path)]
    _write({path.relative_to(PROJECT).as_posix(): path for path in parts}, folder)
    copy_bundle(bundle, folder / "demo" / "weights", formats)
    gallery.bring_along(bundle, folder / "demo" / "examples", options.with_examples)
    needed = requirements(("run", "demo"))
    if options.with_keras:
        needed += requirements(("train",), re.compile("tensorflow|keras"))
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")
    ours = SpaceCard.load(PROJECT / "README.md").data  # states both versions, and tests hold them
    _describe(
        bundle,
        folder,
        options,
        GRADIO_README,
        sdk="gradio",
        sdk_version=ours.sdk_version,
        python_version=ours.python_version,
        app_file="app.py",
        suggested_hardware="cpu-basic",
        startup_duration_timeout=SLOW_START if options.with_keras else QUICK_START,
    )


def _write(files: site.Files, folder: Path) -> None:
    """Writes files into a folder, which is made."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Path):
            shutil.copyfile(content, folder / name)
        else:
            (folder / name).write_bytes(content())


def _describe(bundle: Bundle, folder: Path, options: PageOptions, readme: str, **fields: Any) -> None:
    """Writes the README that the Hub reads, and the picture that other sites show of a link."""
    manifest = bundle.manifest
    title, subtitle = words.title(manifest), words.subtitle(manifest, bundle)
    front = SpaceCardData(
        title=title,
        emoji="🌷" if words.is_flowers(manifest) else "🔎",
        colorFrom="green",
        colorTo="yellow",
        **({"license": options.license} if options.license else licence_of(manifest)),
        short_description=f"Names {words.kind(manifest)} in photos"[:LONGEST],
        thumbnail=thumbnail_address(options.repository),
        models=list(options.models) or None,
        tags=TAGS,
        **fields,
    ).to_yaml(line_break="\n")
    shown = readme.format(title=_shown(title), subtitle=_shown(subtitle))
    text = f"---\n{front}\n---\n\n{shown}"
    (folder / "README.md").write_text(text, encoding="utf-8")
    _draw_thumbnail(folder / "thumbnail.png", title, subtitle)


def _shown(text: str) -> str:
    """Text that Markdown shows as it is: names come from a bundle, whoever made it."""
    return MARKUP.sub(lambda found: f"&#{ord(found[0][0])};{found[0][1:]}", text)


def thumbnail_address(repository: str) -> str:
    """Where the Hub serves a Space's picture."""
    return f"https://huggingface.co/spaces/{repository}/resolve/main/thumbnail.png"


def _draw_thumbnail(path: Path, title: str, subtitle: str) -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), "#0f7a45")
    pen = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(84), ImageFont.load_default(38)
    pen.multiline_text((80, 170), _wrap(title, 26), "white", large)
    pen.multiline_text((84, 430), _wrap(subtitle, 58), "#d8f3e3", small)
    image.quantize(16).save(path, optimize=True)


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=3, placeholder=" ..."))


def requirements(headings: Sequence[str], only: re.Pattern[str] | None = None) -> list[str]:
    """Lines of the project's requirements.txt.

    Args:
        headings: of the extras that are wanted, such as "run".
        only: of their packages, those whose name matches.
    """
    found: list[str] = []
    current = ""
    lines: Iterable[str] = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if heading := re.match(r"# \[(\w+)\]", line):
            current = heading[1]
        requirement = line.partition("#")[0].strip()
        name = re.split(r"[^\w.-]", requirement)[0]
        if requirement and current in headings and (only is None or only.fullmatch(name)):
            found.append(requirement)
    return found
