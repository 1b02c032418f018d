"""What visitors teach the page: new classes from a few photographs of each.

A lesson has a folder of its own, under a name that nobody can guess. It is removed when its page is left,
when nobody has used it for a while, and when the server ends. Its photographs are deleted as soon as they are
learned.
"""

import importlib.util
import secrets
import shutil
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from demo import uploads
from demo.comparison import without_path
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import MANIFEST
from mobilevit_core.data.dataset import NONE_OF_THESE
from mobilevit_core.errors import UserError
from mobilevit_core.images.isolated import shared_reader
from mobilevit_core.images.preprocessing import ResizeRule
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.inference.answer import Answer
from mobilevit_core.inference.classifier import Classifier, load_classifier

if TYPE_CHECKING:
    from mobilevit_core.training.features import Network
    from mobilevit_core.training.head import FittedHead

MOST_CLASSES, LONGEST_NAME = 10, 40
FEWEST, MOST = 5, 50  # photographs of a class
MOST_BYTES = 256 * 2**20  # of all photographs of a lesson
MOST_LESSONS = 8  # on the server at a time
IDLE_SECONDS = 1800  # without a look at it, a lesson is removed
LIMITS = {  # as the page needs to know them
    "fewest": FEWEST,
    "most": MOST,
    "most_classes": MOST_CLASSES,
    "minutes": IDLE_SECONDS // 60,
}
PREFIX = f"{uploads.PREFIX}lessons-"  # so that what a killed server left is cleaned up with its uploads
NEEDS = ("keras", "sklearn", "tensorflow", "ai_edge_quantizer")
ARCHIVE = "taught.zip"

GONE = "What was taught here is no longer on the server. Press Train again."
FULL = f"{MOST_LESSONS} others are teaching already. Try again in some minutes."
FORM = "A lesson is a list of classes, each with a name and its uploaded photographs."


@dataclass
class Lesson:
    """What one visitor taught.

    Attributes:
        folder: of its bundle and of the zip file.
        classifier: answers with the new classes.
        used: when it was last asked for, by the clock of `time.monotonic`.
    """

    folder: Path
    classifier: Classifier
    used: float

    @property
    def bundle(self) -> Bundle:
        """The new classes in every weight format."""
        return self.classifier.bundle


def is_possible(bundle: Bundle) -> bool:
    """Whether this installation can train, and the bundle has Keras weights to start from."""
    return "keras" in bundle.present and all(importlib.util.find_spec(name) for name in NEEDS)


def admitted(value: Any) -> list[dict[str, Any]]:
    """What a visitor wants to teach, with every photograph admitted by `uploads.admit`.

    Args:
        value: [{"name": "mug", "photos": [reference, ...]}, ...]

    Returns:
        The same form with paths: [{"name": "mug", "photos": [{"path": ..., "name": ...}, ...]}, ...]

    Raises:
        UserError: it has another form, is over a limit, or names what is not an upload.
    """
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise UserError(FORM)
    if not 2 <= len(value) <= MOST_CLASSES:
        raise UserError(f"These are {len(value)} classes. Teach it 2 to {MOST_CLASSES}.")
    classes = [_admitted_class(one.get("name"), one.get("photos")) for one in value]
    size = sum(Path(photo["path"]).stat().st_size for one in classes for photo in one["photos"])
    if size > MOST_BYTES:
        raise UserError(
            f"The photographs have over {MOST_BYTES // 2**20} MB together. Take fewer or smaller ones."
        )
    # A class that means "none of these" comes last; that is how it is known.
    return sorted(classes, key=lambda one: one["name"] == NONE_OF_THESE)


def _admitted_class(name: Any, photos: Any) -> dict[str, Any]:
    if not isinstance(name, str) or not isinstance(photos, list):
        raise UserError(FORM)
    name = " ".join(name.split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise UserError(f"Give every class a name of 1 to {LONGEST_NAME} characters.")
    if not FEWEST <= len(photos) <= MOST:
        raise UserError(f"\u201c{name}\u201d has {len(photos)} photographs. Give it {FEWEST} to {MOST}.")
    return {
        "name": name,
        "photos": [_admitted_photo(photo, number) for number, photo in enumerate(photos, 1)],
    }


def _admitted_photo(reference: Any, number: int) -> dict[str, str]:
    path = uploads.admit(reference)
    shown = reference.get("orig_name") if isinstance(reference, dict) else None
    return {"path": str(path), "name": shown[:80] if isinstance(shown, str) else f"photograph {number}"}


class Lessons:
    """All lessons of a server.

    Args:
        bundle: whose Keras weights look at the photographs.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        parent = uploads.use_own_folder().parent
        self._root = tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent, ignore_cleanup_errors=True)
        self._lessons: dict[str, Lesson] = {}
        self._training = threading.Lock()  # one at a time: it takes every processor
        self._changing = threading.Lock()
        self._network: Network | None = None

    def teach(self, classes: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Trains, and tells how far it is.

        Args:
            classes: of `admitted`.

        Yields:
            {"stage": "reading"}, "learning", "exporting" with the figures, "ready" with the token.

        Raises:
            UserError: the server is full, or too few photographs of a class can be read.
        """
        try:
            with self._training:
                if len(self._lessons) >= MOST_LESSONS:
                    raise UserError(FULL)
                yield {"stage": "reading"}
                network = self._open_network()
                photos, unreadable = self._read(classes, network.rule)
                yield {"stage": "learning"}
                from mobilevit_core.training.head import fit_head

                fitted = fit_head(photos, network)
                figures = _figures(fitted) | {"unreadable": unreadable}
                yield {"stage": "exporting", **figures}
                kept = self._keep(fitted)
                try:
                    yield {"stage": "ready", **figures, **kept}
                except GeneratorExit:  # the page was left meanwhile: nobody else knows the token
                    self.forget(kept["token"])
                    raise
        finally:
            for photo in (photo for one in classes for photo in one["photos"]):
                Path(photo["path"]).unlink(missing_ok=True)

    def classify(self, token: str, photo: PhotoSource) -> Answer:
        """One photograph by what was taught.

        Raises:
            UserError: the lesson is gone, or the photograph can't be read.
        """
        classifier = self.find(token).classifier
        return classifier.answer(
            shared_reader().preprocess(photo, classifier.bundle.manifest.rule, "The photograph")
        )

    def find(self, token: str) -> Lesson:
        """A lesson by its name; that counts as use.

        Raises:
            UserError: there is none (any more).
        """
        lesson = self._lessons.get(token)
        if lesson is None:
            raise UserError(GONE)
        lesson.used = time.monotonic()
        return lesson

    def forget(self, token: str) -> None:
        """Removes a lesson with all of its files."""
        with self._changing:
            lesson = self._lessons.pop(token, None)
        if lesson:
            shutil.rmtree(lesson.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Removes what nobody has used for a while."""
        now = time.monotonic()
        for token in [
            name for name, lesson in list(self._lessons.items()) if now - lesson.used > IDLE_SECONDS
        ]:
            self.forget(token)

    def close(self) -> None:
        """Removes everything."""
        self._lessons.clear()
        self._root.cleanup()

    def _open_network(self) -> "Network":
        """The network that looks at the photographs, loaded by the first lesson."""
        if self._network is None:
            from mobilevit_core.training.features import open_network
            from mobilevit_core.training.transfer import GENERAL, GENERAL_FOLDER

            general = (GENERAL_FOLDER / MANIFEST).is_file()
            with without_path(self._bundle):
                network = open_network(GENERAL if general else self._bundle)
            self._network = replace(network, read=_as_it_is)
        return self._network

    def _read(
        self, classes: Sequence[dict[str, Any]], rule: ResizeRule
    ) -> tuple[dict[str, list[np.ndarray]], list[dict[str, str]]]:
        """The photographs of every class as the network takes them, and those that can't be read."""
        photos: dict[str, list[np.ndarray]] = {}
        unreadable: list[dict[str, str]] = []

        def read(photo: dict[str, str]) -> np.ndarray | UserError:
            try:
                return shared_reader().preprocess(Path(photo["path"]), rule, photo["name"]).astype(np.uint8)
            except UserError as error:
                return error

        with ThreadPoolExecutor(2) as pool:  # as many as the reader's processes
            for one in classes:
                results = list(pool.map(read, one["photos"]))
                problems = [str(result) for result in results if isinstance(result, UserError)]
                unreadable += [{"class": one["name"], "problem": problem} for problem in problems]
                photos.setdefault(one["name"], []).extend(r for r in results if not isinstance(r, UserError))
                if (count := len(photos[one["name"]])) < FEWEST:
                    raise UserError(
                        f"Of \u201c{one['name']}\u201d, {count} photographs can be read; at least {FEWEST} "
                        f"are needed. {problems[0]}"
                    )
        return photos, unreadable

    def _keep(self, fitted: "FittedHead") -> dict[str, Any]:
        """Writes the bundle and its zip file; what the page needs to use them."""
        token = secrets.token_urlsafe(24)
        folder = Path(self._root.name) / token
        folder.mkdir(parents=True)
        try:
            bundle, _ = fitted.write_bundle(folder / "bundle")
            _zip(bundle.folder, folder / ARCHIVE)
            lesson = Lesson(folder, load_classifier(bundle.folder), time.monotonic())
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._changing:
            self._lessons[token] = lesson
        files = [name for name in bundle.present if name != "keras"]
        return {
            "token": token,
            "formats": files,
            "archive": ARCHIVE,
            "archive_bytes": (folder / ARCHIVE).stat().st_size,
        }


def _as_it_is(source: PhotoSource, rule: ResizeRule, name: str | None = None) -> np.ndarray:
    """For photographs that went through the reader's processes: they are the network's input already."""
    return np.asarray(source, np.float32)


def _figures(fitted: "FittedHead") -> dict[str, Any]:
    low, high = fitted.interval
    return {
        "class_names": list(fitted.class_names),
        "other": fitted.other_class,
        "photos": len(fitted.examples),
        "accuracy": fitted.accuracy,
        "interval_95": [low, high],
    }


def _zip(folder: Path, archive: Path) -> None:
    """All files of a bundle, stored as they are: weights hardly shrink."""
    with zipfile.ZipFile(archive, "w") as written:
        for path in sorted(folder.rglob("*")):
            written.write(path, path.relative_to(folder.parent))
