"""`train --add`: an existing run trained again with more photos, and what that changed."""

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.commands.plan import FINETUNE, HEAD_VALUES
from mobilevit_core.commands.train import Trained, train
from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.dataset import SPLIT_SCHEMES, LabelledPhoto
from mobilevit_core.data.loading import check_there
from mobilevit_core.data.provenance import DIGITS
from mobilevit_core.errors import UserError
from mobilevit_core.training.recipes import HEAD

if TYPE_CHECKING:
    from mobilevit_core.training.run_folder import RunFolder


@dataclass(frozen=True)
class Added:
    """A run with more photos.

    Attributes:
        trained: the new run.
        folder: of the new run.
        summary: gains and regressions in a sentence.
        table: CSV of the photos where only the bundle before or only the new one is right.
    """

    trained: Trained
    folder: Path
    summary: str
    table: Path


def add(
    run: str | os.PathLike[str],
    more: Sequence[str],
    to: str | os.PathLike[str] | None = None,
    *,
    examples: bool = True,
) -> Added:
    """Trains again from a run's bundle, on its photos and more.

    The run stays as it is. Photos of its test split stay test photos.

    Args:
        run: folder of a finished run.
        more: folders, zip or CSV files, or names in tensorflow-datasets; classes of the same name are joined.
        to: folder of the new run; by default beside the run, with the next number. The same call
            continues it.
        examples: as for `train`.

    Returns:
        The new run, and gains and regressions against the bundle before.

    Raises:
        UserError: no such run, it is not finished, or as `train`.
    """
    for name in more:
        check_there(name)
    from mobilevit_core.training.run_folder import RunFolder

    old = RunFolder(Path(run))
    if not old.config.is_file():
        raise UserError(f"{old.path} is not a training run. Name the run to add photos to with --run.")
    record = old.record()
    if not old.bundle.is_dir():
        raise UserError(
            f"{old.path} has no bundle yet. Finish it first: repeat its command, or python -m mobilevit_core "
            f"finish {old.path} --to {old.bundle}"
        )
    choice = _data_of(old)
    added = DataChoice(tuple(more)).absolute().data
    again = [name for name in added if name in choice.data]
    if again:
        raise UserError(f"{again[0]} is part of {old.path} already. Name a folder of other photos.")
    manifest, is_head = open_bundle(old.bundle).manifest, record["recipe"].get("name") == HEAD
    choice = replace(choice, data=(*choice.data, *added))
    folder = Path(to) if to else _next_folder(old, set(choice.data))
    trained = train(
        choice,
        folder,
        recipe=HEAD if is_head else FINETUNE,
        weights=old.bundle,
        values={**_values(record["recipe"], is_head), "variant": manifest.variant},
        examples=examples,
    )
    summary, table = _write_changes(trained, old, folder)
    return Added(trained, folder, summary, table)


def _data_of(run: "RunFolder") -> DataChoice:
    """The photos of a run, to be found again from anywhere."""
    return DataChoice.from_manifest(run.record()["data"]).absolute()


def _values(recipe: Mapping[str, Any], is_head: bool) -> dict[str, str]:
    """The values of a run, as text."""
    kept = {key: value for key, value in recipe.items() if not is_head or key in HEAD_VALUES}
    if kept.get("split_scheme") not in SPLIT_SCHEMES:  # the folder's own layout decided
        kept.pop("split_scheme", None)
    texts = {key: str(value) for key, value in kept.items() if key != "stages"}
    if "stages" in kept:
        texts["stages"] = ",".join(f"{size}:{epochs}" for size, epochs in kept["stages"])
    return texts


def _next_folder(old: "RunFolder", data: set[str]) -> Path:
    """The first folder beside the run, RUN-2, RUN-3 ..., that is free or holds the very same training."""
    from mobilevit_core.training.run_folder import RunFolder

    for number in itertools.count(2):
        candidate = RunFolder(old.path.with_name(f"{old.path.name}-{number}"))
        if not candidate.path.exists():
            break
        if candidate.config.is_file() and set(_data_of(candidate).data) == data:
            break
    return candidate.path


def _write_changes(trained: Trained, old: "RunFolder", folder: Path) -> tuple[str, Path]:
    """Gains and regressions, told and written."""
    from mobilevit_core.inference.classifier import load_classifier
    from mobilevit_core.training.answers import compare, read_answers

    photos, names = trained.dataset.split(trained.split), trained.dataset.class_names
    classifier = load_classifier(old.bundle)
    provenance = classifier.bundle.provenance
    seen = provenance.train if provenance else frozenset()

    def ask(photo: LabelledPhoto) -> str | None:
        if photo.sha256[:DIGITS] in seen:
            return None
        return classifier.predict(photo.source, photo.name).label

    changes = compare(photos, names, read_answers(folder), read_answers(old.path), ask)
    return changes.sentence(), changes.write(folder)
