"""Held-out photos that come with a bundle, to try it with: `examples/1.jpg` ..., and their list with digests.

They are the photos of whoever trained it, so `publish` leaves them out unless it is told not to.
"""

from dataclasses import dataclass
from pathlib import Path

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import EXAMPLE_PHOTOS, EXAMPLES, EXAMPLES_LIST
from mobilevit_core.files import file_sha256, read_json


@dataclass(frozen=True)
class BundleExample:
    """One photo.

    Attributes:
        file: its name in the folder.
        sha256: digest of the file.
        label: the class that it shows.
        trained_on: whether it went into the weights, so that a right answer says nothing.
    """

    file: str
    sha256: str
    label: str
    trained_on: bool


def bundle_examples(bundle: Bundle) -> list[tuple[Path, BundleExample]]:
    """The photos that came with a bundle, as far as they are there and are what their list says."""
    listed = bundle.file(f"{EXAMPLES}/{EXAMPLES_LIST}")
    try:
        rows = [BundleExample(**row) for row in read_json(listed)] if listed else []
    except (OSError, ValueError, TypeError):
        return []
    names = [
        row.file for row in rows if row.file in EXAMPLE_PHOTOS and row.label in bundle.manifest.class_names
    ]
    paths = {name: bundle.file(f"{EXAMPLES}/{name}") for name in names}
    return [(path, row) for row in rows if (path := paths.get(row.file)) and file_sha256(path) == row.sha256]
