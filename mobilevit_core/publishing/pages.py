"""A bundle's page, written by the project into a folder.

The page is not part of this package. The pyproject.toml beside the package names the module that writes it.
"""

import importlib
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import mobilevit_core
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.errors import UserError

PROJECT = Path(mobilevit_core.__file__).parents[1]


@dataclass(frozen=True)
class PageOptions:
    """What the page's folder is written for.

    Attributes:
        repository: OWNER/NAME.
        models: repositories on the Hub with the weights of the page.
        license: the Hub's name of a licence; None for the project's.
        with_keras: whether a Gradio Space gets TensorFlow and the Keras weights, too.
        with_examples: whether the bundle's example photos are published, too.
    """

    repository: str
    models: tuple[str, ...] = ()
    license: str | None = None
    with_keras: bool = False
    with_examples: bool = False


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
    name = _writer()
    if name is None:
        raise UserError(
            f"The page that {kind} publishes is in the project's folder, which this installation lacks. Run "
            "the command in the project's folder, or publish the weights alone: --what model."
        )
    sys.path.insert(0, str(PROJECT))
    try:
        getattr(importlib.import_module(name), f"write_{kind}")(bundle, folder, options)
    except ModuleNotFoundError as error:
        raise UserError(
            f"The page needs {error.name}, which is not installed: pip install -r requirements.txt"
        ) from error
    finally:
        sys.path.remove(str(PROJECT))


def _writer() -> str | None:
    """The module that writes pages, None where the package is installed without the project."""
    path = PROJECT / "pyproject.toml"
    tools = tomllib.loads(path.read_text(encoding="utf-8")).get("tool", {}) if path.is_file() else {}
    return tools.get("mobilevit_core", {}).get("pages")
