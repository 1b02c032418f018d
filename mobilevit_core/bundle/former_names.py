"""What keys of manifests and recipes were called before: old bundles and runs keep loading.

Nothing here judges values; a section of a wrong type is handed on for the schema to refuse.
"""

from collections.abc import Mapping
from typing import Any

RECIPE = {"split": "split_scheme", "teaching": "distillation_weight", "average_decay": "ema_decay"}
DATA = {"split": "split_scheme"}
FIGURES = {
    "part": "split",
    "split": "split_scheme",
    "seen": "provenance",
    "runtimes": "formats",
    "variants": "comparison",
}
PARITY = {"agreement": "parity"}


def from_version_1(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Version 1 of the manifest as version 2: it had no digests, and `unknown` for `rejection`."""
    fields = dict(fields)
    formats, rejection = fields.pop("formats", None), fields.pop("unknown", None)
    if not isinstance(formats, dict):
        raise ValueError("formats is not an object")
    files = {name: {"file": file, "sha256": None, "bytes": None} for name, file in formats.items()}
    return {**fields, "files": files, "rejection": rejection}


def from_version_2(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Version 2 of the manifest as version 3, which has the names of today."""
    fields = origin_with_new_names(_renamed(fields, PARITY))
    if isinstance(fields.get("metrics"), dict):
        fields["metrics"] = {split: _figures(figures) for split, figures in fields["metrics"].items()}
    return fields


def origin_with_new_names(origin: Any) -> Any:
    """A training's `recipe` and `data` with the names of today, and those of what it started from.

    Args:
        origin: of a manifest, of its `start` or `teachers`, or of a run's `config.json`. Names of today stay.
    """
    if not isinstance(origin, dict):
        return origin
    sections = {
        "recipe": lambda value: _renamed(value, RECIPE),
        "data": lambda value: _renamed(value, DATA),
        "start": origin_with_new_names,
        "teachers": lambda value: (
            [origin_with_new_names(one) for one in value] if isinstance(value, list) else value
        ),
    }
    return {key: sections[key](value) if key in sections else value for key, value in origin.items()}


def _figures(figures: Any) -> Any:
    figures = _renamed(figures, FIGURES)
    comparison = figures.get("comparison") if isinstance(figures, dict) else None
    if isinstance(comparison, dict) and isinstance(comparison.get("rows"), dict):
        rows = {name: _renamed(row, PARITY) for name, row in comparison["rows"].items()}
        figures["comparison"] = {**comparison, "rows": rows}
    return figures


def _renamed(section: Any, names: Mapping[str, str]) -> Any:
    if not isinstance(section, dict):
        return section
    return {names.get(key, key): value for key, value in section.items()}
