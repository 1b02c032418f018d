"""The Gradio page as a Space: the app, the package, the bundle, and requirements as small as it needs."""

import argparse
import re
from pathlib import Path

from demo import gallery, spaces, words
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.errors import UserError
from mobilevit_core.publishing.model_repository import copy_bundle

KINDS = {"demo": (".py",), "demo/web": (".js", ".css"), "mobilevit_core": (".py", ".csv", ".jinja")}
SLOW_START, QUICK_START = "30m", "10m"  # after which the Hub gives up; most of it installs the requirements
README = """---
{front}
---

# {title}

{subtitle}

`app.py` is the page; the weights and what was measured are in `demo/weights/`. The photographs in
`demo/examples/` are under CC BY 2.0; `demo/examples/index.json` names who took them.
"""


def write(bundle: Bundle, folder: Path, arguments: argparse.Namespace) -> None:
    """Writes everything that the Space needs into a folder.

    Without TensorFlow, which has 1.3 GB, the page runs the .tflite formats; the Keras weights are then left
    out, too, so that it does not offer what it can't run.

    Args:
        bundle: an opened bundle.
        folder: to write to; must exist.
        arguments: of `spaces.options()`.

    Raises:
        UserError: nothing of the bundle would run there.
    """
    from huggingface_hub import SpaceCard

    formats = [name for name in bundle.present if arguments.with_keras or FORMATS[name].engine != "keras"]
    if not formats:
        raise UserError(
            "This bundle has Keras weights alone. Add --with-keras, or write .tflite files: `export`."
        )
    for name, ends in KINDS.items():
        source = spaces.PROJECT / name
        paths = source.rglob("*") if name == "mobilevit_core" else source.iterdir()
        chosen = [path for path in paths if path.suffix in ends and path.is_file()]
        spaces.copy((path.relative_to(source).as_posix() for path in chosen), source, folder / name)
    spaces.copy(("app.py", "Dockerfile", "LICENSE", "demo/screenshot.png"), spaces.PROJECT, folder)
    spaces.copy_engine(folder / "demo" / "device")
    copy_bundle(bundle, folder / "demo" / "weights", formats)
    gallery.bring_along(bundle.manifest, folder / "demo" / "examples")
    title, subtitle = words.title(bundle.manifest), words.subtitle(bundle.manifest, bundle)
    spaces.draw_thumbnail(folder / "thumbnail.png", title, subtitle)
    needed = spaces.requirements(("run", "demo"))
    if arguments.with_keras:
        needed += spaces.requirements(("train",), re.compile("tensorflow|keras"))
    (folder / "requirements.txt").write_text("\n".join(needed) + "\n", encoding="utf-8")
    ours = SpaceCard.load(spaces.PROJECT / "README.md").data  # states both versions, and tests hold them
    front = spaces.front_matter(
        bundle,
        arguments,
        sdk="gradio",
        sdk_version=ours.sdk_version,
        python_version=ours.python_version,
        app_file="app.py",
        suggested_hardware="cpu-basic",
        startup_duration_timeout=SLOW_START if arguments.with_keras else QUICK_START,
    )
    text = README.format(front=front, title=title, subtitle=subtitle)
    (folder / "README.md").write_text(text, encoding="utf-8")
