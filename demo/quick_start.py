"""Makes Gradio's import faster, before anything imports it; `demo/__init__.py` calls `prepare`.

While it is imported, Gradio writes a type stub (.pyi) for each of its component classes, for editors. It
parses every source file for that, a third of the import's time, and nobody needs the stubs of a page that is
served.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

WRITER = "gradio.component_meta"  # the module that writes them
FUNCTION = "create_or_modify_pyi"


def prepare() -> None:
    """Makes the next import of Gradio leave its stubs alone; one that is imported already stays as it is."""
    if WRITER not in sys.modules:
        sys.meta_path.insert(0, _WithoutStubs())


class _WithoutStubs:
    """Import hook for one module; steps aside when it is asked for."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The module's usual spec, with a loader that takes the writing out."""
        if name != WRITER:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec and spec.loader:
            load = spec.loader.exec_module

            def without_stubs(module: ModuleType) -> None:
                load(module)
                if hasattr(module, FUNCTION):  # else another Gradio, which is as fast as it is
                    setattr(module, FUNCTION, lambda *_: None)

            spec.loader.exec_module = without_stubs
        return spec
