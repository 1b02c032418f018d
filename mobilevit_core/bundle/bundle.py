"""The artefact: one folder with weights in several formats and the manifest that they share.

model.keras, model_float32.tflite, ...   the formats of `weight_formats.FORMATS`
trunk_float32.tflite, ...                the same without a classifier, where heads are grafted onto it
bundle.json                              the manifest: class names in order, resize rule, origin, digests
history.csv                              the training, one row per epoch
provenance.txt                           digests of the photos that went into it (`data/provenance.py`)
report/                                  what was measured, as a page and as JSON
examples/                                up to six photos to try it with, and their list (`examples.py`)
"""

import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mobilevit_core.bundle.files import (
    EXAMPLE_PHOTOS,
    EXAMPLES,
    EXAMPLES_LIST,
    HISTORY,
    MANIFEST,
    REPORT,
    REPORT_FIGURES,
    REPORT_PAGE,
    REPORT_PHOTOS,
    SEEN,
)
from mobilevit_core.bundle.manifest import Manifest, read_manifest, write_manifest
from mobilevit_core.bundle.manifest_fields import WeightFile
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.files import file_sha256, replacing

FILES = (
    MANIFEST,
    HISTORY,
    SEEN,
    f"{REPORT}/{REPORT_PAGE}",
    f"{REPORT}/{REPORT_FIGURES}",
    *(fmt.file for fmt in FORMATS.values()),
    *(FORMATS[name].trunk for name in tflite_formats()),
)
EXAMPLE_FILES = tuple(f"{EXAMPLES}/{name}" for name in (EXAMPLES_LIST, *EXAMPLE_PHOTOS))
SHOWN = re.compile(r"\d{1,9}\.jpg")  # in a report: a photo, named after its place in the data set
BLOB = re.compile(r"[0-9a-f]{40,64}")  # what the Hub's cache calls a file's content


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        folder: where it is.
        manifest: what `bundle.json` says.
    """

    folder: Path
    manifest: Manifest

    def __fspath__(self) -> str:
        """Its folder, so that whatever takes a bundle's path takes the bundle, too."""
        return os.fspath(self.folder)

    @property
    def present(self) -> tuple[str, ...]:
        """Weight formats whose file is there, in the table's order."""
        return tuple(name for name in FORMATS if self._path(name).is_file())

    @property
    def intact(self) -> tuple[str, ...]:
        """Weight formats whose file is there and is the one that the bundle was written with."""
        return tuple(name for name in self.present if self._is_intact(name))

    @property
    def expected(self) -> tuple[str, ...]:
        """Weight formats that the bundle was written with, whether or not their files are still there."""
        return self.manifest.formats

    def weights(self, name: str) -> Path:
        """The file of one weight format, checked against the manifest's digest: about 2 ms per MB.

        Raises:
            UserError: no such format, the bundle lacks its file, or the file is another one.
        """
        path = self._present_path(name)
        if not self._is_intact(name):
            raise UserError(
                f"{path.name} is not the file that this bundle was written with: copy the whole bundle again."
            )
        return path

    def trunk(self, name: str) -> bytes:
        """The content of one format's file without a classifier, checked against the manifest's digest.

        Raises:
            UserError: the file is missing, or another one.
        """
        path = self.folder / FORMATS[name].trunk
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != self.manifest.trunk[name].sha256:
            raise UserError(
                f"{path} is not the file that this bundle was written with: copy the whole bundle again."
            )
        return content

    def size_bytes(self, name: str) -> int:
        """Size of one format's file.

        Raises:
            UserError: no such format, or the bundle lacks its file.
        """
        return self._present_path(name).stat().st_size

    @property
    def history(self) -> Path:
        """CSV of the training, one row per epoch; bundles made elsewhere may lack it."""
        return self.folder / HISTORY

    @cached_property
    def provenance(self) -> Provenance | None:
        """The photos that went into the weights, None where the bundle does not tell."""
        return Provenance.read(self.folder)

    def file(self, name: str) -> Path | None:
        """One of the bundle's files by its name; never a file of elsewhere.

        Args:
            name: one of `FILES` or `EXAMPLE_FILES`, or of a photo in the report.

        Returns:
            The file; None where the bundle lacks it, the name is another one, or it is a link that leads out.
        """
        folder, _, last = name.rpartition("/")
        photo = folder == f"{REPORT}/{REPORT_PHOTOS}" and SHOWN.fullmatch(last)
        path = self.folder / name
        named = name in FILES or name in EXAMPLE_FILES or photo
        return path if named and path.is_file() and _is_own(path, self.folder) else None

    def record_metrics(self, split: str, metrics: dict[str, Any]) -> None:
        """Adds what was measured on one split of the bundle's own data to `bundle.json` alone.

        Figures of the same weight formats on that split are replaced, those of others stay.
        """
        before = self.manifest.metrics.get(split, {})
        formats = {**before.get("formats", {}), **metrics["formats"]}
        self.manifest.metrics[split] = {**before, **metrics, "formats": formats}
        write_manifest(self.folder / MANIFEST, self.manifest)

    def _path(self, name: str) -> Path:
        return self.folder / FORMATS[name].file

    def _present_path(self, name: str) -> Path:
        if name not in FORMATS:
            raise UserError(f"Unknown format {name!r}. There are: {', '.join(FORMATS)}.")
        path = self._path(name)
        if not path.is_file():
            raise UserError(
                f"The bundle {self.folder} has no {path.name}. It has weights for: "
                f"{', '.join(self.present)}; choose one with --format, or copy the whole bundle again."
            )
        return path

    def _is_intact(self, name: str) -> bool:
        recorded = self.manifest.files.get(name)
        if recorded is None:
            return True  # put beside the bundle's own files: what loads is checked by its shapes alone
        path = self._path(name)
        return path.stat().st_size == recorded.bytes and file_sha256(path) == recorded.sha256


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Opens a bundle.

    Args:
        folder: the bundle's folder.

    Raises:
        UserError: there is no such folder, its `bundle.json` is missing or damaged, it has no weights, or one
            of its files is a link that leads out of it.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"There is no bundle folder {path}.")
    manifest = path / MANIFEST
    if not manifest.is_file():
        inner = path / "bundle"
        hint = f" Did you mean {inner}?" if (inner / MANIFEST).is_file() else ""
        raise UserError(f"{path} is not a bundle: it has no {MANIFEST}.{hint}")
    _check_links(path)
    bundle = Bundle(path, read_manifest(manifest))
    if not bundle.present:
        files = ", ".join(fmt.file for fmt in FORMATS.values())
        raise UserError(f"The bundle {path} has no weights: none of {files} is there.")
    return bundle


def _check_links(folder: Path) -> None:
    """Refuses a bundle whose files are elsewhere: it would show, or publish, what else is on this machine."""
    for name in (*FILES, *EXAMPLE_FILES, EXAMPLES, REPORT, f"{REPORT}/{REPORT_PHOTOS}"):
        if not _is_own(folder / name, folder):
            raise UserError(
                f"The bundle {folder} is not opened: its {name} is a link that leads out of it. If you trust "
                "it, replace the link by what it leads to."
            )


def _is_own(path: Path, folder: Path) -> bool:
    """Whether a file is inside of a bundle's folder when all links are followed, or is not there.

    In the Hub's cache, a bundle's files are links to `blobs`, beside the repository's snapshots or beside all
    repositories.
    """
    home = folder.resolve()
    if not path.exists() or (target := path.resolve()).is_relative_to(home):
        return True
    if home.parent.name != "snapshots" or not BLOB.fullmatch(target.name):
        return False
    repository = home.parents[1]
    return any(target.is_relative_to(place / "blobs") for place in (repository, repository.parent))


def write_bundle(
    folder: Path,
    fill: Callable[[Path], Manifest],
    history: Path | None = None,
    provenance: Provenance | None = None,
) -> Bundle:
    """Writes a bundle atomically: it is there complete, or not at all.

    Args:
        folder: where it is to be.
        fill: writes the weights into the folder that it is given and returns the manifest, whose `files` and
            `trunk` are filled in here.
        history: CSV of the training, copied if it is there.
        provenance: the photos that went into the weights, where known.

    Returns:
        The bundle in its place.

    Raises:
        UserError: the folder exists already.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already. Name a new folder, or remove it first.")
    with replacing(folder) as beside:
        beside.mkdir(parents=True)
        if history and history.is_file():
            shutil.copyfile(history, beside / HISTORY)
        if provenance:
            provenance.write(beside)
        manifest = fill(beside)
        files = _with_digests(beside, {name: fmt.file for name, fmt in FORMATS.items()})
        trunk = _with_digests(beside, {name: FORMATS[name].trunk for name in tflite_formats()})
        write_manifest(beside / MANIFEST, manifest.model_copy(update={"files": files, "trunk": trunk}))
    return Bundle(folder, read_manifest(folder / MANIFEST))  # as it is written: without private paths


def _with_digests(folder: Path, files: Mapping[str, str]) -> dict[str, WeightFile]:
    return {
        name: WeightFile(file, file_sha256(folder / file), (folder / file).stat().st_size)
        for name, file in files.items()
        if (folder / file).is_file()
    }
