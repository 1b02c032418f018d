"""A bundle's page, written by the demo into a folder.

The page is not part of this package: it is beside it in the project's folder,
and runs in a process of its own.
"""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mobilevit_core
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.errors import UserError

PROJECT = Path(mobilevit_core.__file__).parents[1]
WRITER = "demo.spaces"  # a module of the project
REFUSED = 2  # its exit code where the input must be corrected


@dataclass(frozen=True)
class PageOptions:
    """What the page's folder is written for.

    Attributes:
        repository: OWNER/NAME.
        models: repositories on the Hub with the weights of the page.
        license: the Hub's name of a licence; None for the project's.
        with_keras: whether a Gradio Space gets TensorFlow and the Keras weights, too.
    """

    repository: str
    models: tuple[str, ...] = ()
    license: str | None = None
    with_keras: bool = False


def write_page(kind: str, bundle: Bundle, folder: Path, options: PageOptions) -> None:
    """Writes the folder that becomes a Space.

    Args:
        kind: "static" or "gradio".
        bundle: an opened bundle.
        folder: to write to; must exist.
        options: what for.

    Raises:
        UserError: the page is not here, or it can't be written of this bundle.
    """
    if not (PROJECT / "demo" / "spaces.py").is_file():
        raise UserError(
            f"The page that {kind} publishes is in the project's folder demo/, which this installation "
            "lacks. Run the command in the project's folder, or publish the weights alone: --what model."
        )
    words = [kind, str(bundle.folder.resolve()), str(folder.resolve()), "--repository", options.repository]
    words += [word for name in options.models for word in ("--model", name)]
    words += ["--license", options.license] if options.license else []
    words += ["--with-keras"] if options.with_keras else []
    done = subprocess.run(
        [sys.executable, "-m", WRITER, *words], cwd=PROJECT, stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode == REFUSED:
        raise UserError(done.stderr.rpartition("Error: ")[2].strip())
    if done.returncode:
        raise RuntimeError(f"{WRITER} failed:\n{done.stderr}")
