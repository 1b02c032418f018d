"""`publish`: a bundle on the Hugging Face Hub, or in a folder that any web server can serve."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilevit_core import hub, messages
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.download import find_bundle
from mobilevit_core.bundle.private_paths import without_paths
from mobilevit_core.errors import UserError
from mobilevit_core.files import replacing
from mobilevit_core.publishing.card import public_name
from mobilevit_core.publishing.model_repository import write_model_repository
from mobilevit_core.publishing.pages import PageOptions, write_page
from mobilevit_core.publishing.targets import TARGETS

DEFAULT_WHAT = ("model", "static")


@dataclass(frozen=True)
class Published:
    """One repository, on the Hub or as a folder.

    Attributes:
        what: a key of `TARGETS`.
        place: its address, or the folder of a dry run.
        files: path -> bytes, as uploaded.
    """

    what: str
    place: str
    files: dict[str, int]


def publish(
    bundle: str | os.PathLike[str] | Bundle,
    repository: str,
    *,
    what: Sequence[str] = DEFAULT_WHAT,
    private: bool = False,
    dry_run: str | os.PathLike[str] | None = None,
    license: str | None = None,
    with_keras: bool = False,
    with_examples: bool = False,
) -> list[Published]:
    """Publishes a bundle.

    Everything is written and checked here first. Each repository then gets one commit, so that nobody ever
    loads a half of it; files there that are not this program's stay.

    Args:
        bundle: its folder, or an opened one.
        repository: OWNER/NAME on the Hub; a model and a Space may have the same.
        what: keys of `TARGETS`: "model", and "static" or "gradio".
        private: makes new repositories for their owner alone.
        dry_run: folder to write to instead; must not exist. Several things come into folders of their names.
        license: the Hub's name of a licence; default: this project's, or that of the weights it started from.
        with_keras: gives a Gradio Space TensorFlow and the Keras weights, too.
        with_examples: publishes the photos that `train` kept in the bundle, too.

    Returns:
        What was published, in the order of `what`.

    Raises:
        UserError: no such bundle, nobody is logged in or may write there, the name is taken by something
            else, or the Hub can't be reached. The message says what is on the Hub by then.
    """
    opened = find_bundle(bundle)
    kinds = _check_targets(what, opened)
    hub.check_name(repository)
    data = opened.manifest.data["name"]
    _check_private(opened)
    if public_name(data) != data:
        messages.note(f"bundle.json tells its readers what the weights were trained on: {data}")
    models = (repository,) if "model" in kinds else ()
    options = PageOptions(repository, models, license, with_keras, with_examples)
    if dry_run is not None:
        return _write_only(opened, kinds, options, Path(dry_run))
    return _upload(opened, kinds, options, private)


def _check_private(bundle: Bundle) -> None:
    """Refuses a bundle of an earlier version, whose files name private folders by their whole paths."""
    recorded = {
        "data": bundle.manifest.data,
        "start": bundle.manifest.start,
        "teachers": bundle.manifest.teachers,
    }
    if without_paths(recorded) != recorded:
        raise UserError(
            f"The files of {bundle.folder} name private folders by their whole paths. Write them again with "
            f"`python -m mobilevit_core export {bundle.folder} --to NEW --data PHOTOS`, then publish NEW."
        )


def _check_targets(what: Sequence[str], bundle: Bundle) -> list[str]:
    kinds = list(dict.fromkeys(what))
    unknown = [kind for kind in kinds if kind not in TARGETS]
    if unknown or not kinds:
        raise UserError(
            f"Unknown {', '.join(unknown) or 'nothing'} to publish. There are: {', '.join(TARGETS)}."
        )
    if {"static", "gradio"} <= set(kinds):
        raise UserError(
            "static and gradio are both Spaces and can't have one name. Publish one of them by a second "
            "command, under another name."
        )
    damaged = sorted(set(bundle.present) - set(bundle.intact))
    if damaged:
        bundle.weights(damaged[0])  # says what to do
    return kinds


def _write(bundle: Bundle, kind: str, folder: Path, options: PageOptions) -> dict[str, int]:
    """Writes one folder; the files in it with their sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "model":
        write_model_repository(bundle, folder, options.repository, options.license, options.with_examples)
    else:
        write_page(kind, bundle, folder, options)
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.stat().st_size for path in paths}


def _write_only(bundle: Bundle, kinds: Sequence[str], options: PageOptions, folder: Path) -> list[Published]:
    if folder.exists():
        raise UserError(f"{folder} exists already. Name a new folder with --dry-run.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with replacing(folder) as beside:
        parts = {kind: Path(kind) if len(kinds) > 1 else Path() for kind in kinds}
        written = {kind: _write(bundle, kind, beside / part, options) for kind, part in parts.items()}
    return [Published(kind, str(folder / parts[kind]), files) for kind, files in written.items()]


def _upload(bundle: Bundle, kinds: Sequence[str], options: PageOptions, private: bool) -> list[Published]:
    from mobilevit_core.publishing.upload import check_owner, look_at, open_hub, send

    api = open_hub()
    check_owner(api, options.repository)
    places = {kind: look_at(api, TARGETS[kind], options.repository, private) for kind in kinds}
    for kind in kinds:
        messages.say(f"{TARGETS[kind].title} {options.repository}: {TARGETS[kind].needs}")
    done: list[Published] = []
    with tempfile.TemporaryDirectory(prefix="mobilevit-publish-") as temporary:
        written = {kind: _write(bundle, kind, Path(temporary, kind), options) for kind in kinds}
        for kind, place in places.items():
            before = f"{done[-1].place} is complete." if done else ""
            address = send(api, place, Path(temporary, kind), private, before)
            done.append(Published(kind, address, written[kind]))
    return done
