"""A bundle's page as a folder: `python -m demo.spaces static|gradio BUNDLE FOLDER`.

`python -m mobilevit_core publish` runs this in a process of its own, because the package does not import the
page; it uploads the folder or leaves it where it is.
"""

import argparse
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import SpaceCardData
from PIL import Image, ImageDraw, ImageFont

from demo import words
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.errors import UserError
from mobilevit_core.publishing.card import licence_of

DEMO = Path(__file__).parent
PROJECT = DEMO.parent
WIDTH, HEIGHT = 1200, 630  # pixels; what other sites show of a link
LONGEST = 60  # characters of a short description
# Of LiteRT.js only what the engine loads: with and without WebAssembly's relaxed SIMD, on one thread each.
# Threads would need the headers COOP and COEP, which most web servers don't send.
LITERT = (
    "@litertjs/core/package.json",
    "@litertjs/core/dist/index.js",
    *(
        f"@litertjs/core/wasm/litert_wasm_{name}.{end}"
        for name in ("internal", "compat_internal")
        for end in ("js", "wasm")
    ),
    "@litertjs/wasm-utils/dist/index.js",
)
TAGS = ["image-classification", "mobilevit", "litert", "tflite"]


def copy(names: Iterable[str], source: Path, target: Path) -> None:
    """Copies files by their paths inside two folders."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def copy_engine(target: Path) -> None:
    """Copies what runs in the browser, LiteRT.js included.

    Raises:
        UserError: LiteRT.js is not installed.
    """
    packages = DEMO / "device" / "node_modules"
    missing = [name for name in LITERT if not (packages / name).is_file()]
    if missing:
        raise UserError(f"LiteRT.js is not here ({missing[0]}). To get it: npm ci --prefix demo/device")
    copy(("index.html", "engine.js", "resize.js", "package.json"), DEMO / "device", target)
    copy(LITERT, packages, target / "node_modules")


def draw_thumbnail(path: Path, title: str, subtitle: str) -> None:
    """What other sites show of a link to the page: its title on a coloured ground."""
    image = Image.new("RGB", (WIDTH, HEIGHT), "#0f7a45")
    pen = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(84), ImageFont.load_default(38)
    pen.multiline_text((80, 170), _wrap(title, 26), "white", large)
    pen.multiline_text((84, 430), _wrap(subtitle, 58), "#d8f3e3", small)
    image.quantize(16).save(path, optimize=True)


def _wrap(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width, max_lines=3, placeholder=" ..."))


def front_matter(bundle: Bundle, arguments: argparse.Namespace, **fields: Any) -> str:
    """What the Hub reads at the top of a Space's README.

    Args:
        bundle: whose page it is.
        arguments: of `options()`.
        fields: that this kind of Space has beside the common ones.
    """
    manifest = bundle.manifest
    return SpaceCardData(
        title=words.title(manifest),
        emoji="🌷" if words.is_flowers(manifest) else "🔎",
        colorFrom="green",
        colorTo="yellow",
        **({"license": arguments.license} if arguments.license else licence_of(manifest)),
        short_description=f"Names {words.kind(manifest)} in photos"[:LONGEST],
        thumbnail=thumbnail_address(arguments.repository),
        models=arguments.model or None,
        tags=TAGS,
        **fields,
    ).to_yaml(line_break="\n")


def thumbnail_address(repository: str) -> str:
    """Where the Hub serves a Space's picture."""
    return f"https://huggingface.co/spaces/{repository}/resolve/main/thumbnail.png"


def requirements(headings: Sequence[str], only: re.Pattern[str] | None = None) -> list[str]:
    """Lines of the project's requirements.txt.

    Args:
        headings: of the extras that are wanted, such as "run".
        only: of their packages, those whose name matches.
    """
    found, current = [], ""
    for line in (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"# \[(\w+)\]", line):
            current = heading[1]
        requirement = line.partition("#")[0].strip()
        name = re.split(r"[^\w.-]", requirement)[0]
        if requirement and current in headings and (only is None or only.fullmatch(name)):
            found.append(requirement)
    return found


def options() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description="Writes a bundle's page into a folder.")
    parser.add_argument("kind", choices=("static", "gradio"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("folder", type=Path, help="must exist")
    parser.add_argument("--repository", required=True, help="OWNER/NAME on the Hub")
    parser.add_argument("--model", action="append", default=[], help="repository with the weights")
    parser.add_argument("--license", help="the Hub's name of a licence")
    parser.add_argument("--with-keras", action="store_true", help="gradio: with TensorFlow")
    return parser


def main(command: Sequence[str] | None = None) -> int:
    """Runs the command line; returns 0, or 2 where the input must be corrected."""
    arguments = options().parse_args(command)
    try:
        from demo import gradio_space, static_page  # they need Gradio

        writer = {"static": static_page.write, "gradio": gradio_space.write}[arguments.kind]
        writer(open_bundle(arguments.bundle), arguments.folder, arguments)
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        print(
            f"Error: The page needs {error.name}, which is not installed: pip install -r requirements.txt",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
