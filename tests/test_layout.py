"""Imports point downwards only."""

import ast
from pathlib import Path

import mobilevit_core

ROOT = Path(mobilevit_core.__file__).parent
# Bottom to top; each may import from itself and from what stands before it.
ORDER = [
    "errors",
    "files",
    "messages",
    "escaping",
    "hub",
    "tensorflow_setup",
    "images",
    "data",
    "models",
    "bundle",
    "inference",
    "evaluation",
    "conversion",
    "training",
    "publishing",
    "commands",
    "cli",
]


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_imports_point_downwards() -> None:
    upwards = []
    for path in ROOT.rglob("*.py"):
        own = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if own in ("__init__", "__main__"):  # the top of the package
            continue
        for name in imported(path):
            parts = name.split(".")
            assert parts[0] != "demo", f"{path} imports the demo"
            if parts[0] == "mobilevit_core" and len(parts) > 1 and ORDER.index(parts[1]) > ORDER.index(own):
                upwards.append(f"{path.relative_to(ROOT)} imports {name}")
    assert not upwards
