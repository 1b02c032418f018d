"""`train --teacher NETWORK` on photos without labels: a network that knows what its teacher knows."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mobilevit_core import messages
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.commands.plan import FRESH
from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.data.findings import SKIPPED_LIST
from mobilevit_core.data.loading import load_unlabelled
from mobilevit_core.errors import UserError
from mobilevit_core.training.recipes import make_recipe

RECIPE = "distill"
FEWEST = 2  # photos: one to learn from, one to measure on


@dataclass(frozen=True)
class Pretrained:
    """A finished pretraining.

    Attributes:
        bundle: the artefact: what other trainings start from, and a classifier of the teacher's classes.
        refused: a sentence for every weight format that was refused.
        agreement: share of the held-back crops that it names as its teacher does; of a teacher without
            logits, the explained share of the features' variance.
    """

    bundle: Bundle
    refused: tuple[str, ...]
    agreement: float


def pretrain(
    data: Sequence[str],
    run: str | os.PathLike[str],
    teachers: Sequence[str],
    *,
    weights: str | None = None,
    values: Mapping[str, Any] | None = None,
) -> Pretrained:
    """Teaches a network what other networks see in photos; the same call continues an interrupted one.

    Args:
        data: folders, zip files or names in tensorflow-datasets; class folders are not looked at.
        run: the run folder.
        teachers: names of `teacher_networks.TEACHERS` or ONNX files; features are laid side by side, logits
            averaged.
        weights: what to start from, as `train` takes it; by default what `train` starts from.
        values: of the recipe "distill", to override.

    Raises:
        UserError: photos, teachers, weights, values or the run folder do not allow it.
        Stopped: Ctrl-C or SIGTERM; the run folder keeps the last finished epoch.
    """
    from mobilevit_core.tensorflow_setup import check_tensorflow
    from mobilevit_core.training.finish import bundle_model
    from mobilevit_core.training.pretraining import UNNAMED, pretrained_model
    from mobilevit_core.training.run_folder import RunFolder
    from mobilevit_core.training.teacher_networks import joined_class_names, open_teacher
    from mobilevit_core.training.trainer import held
    from mobilevit_core.training.transfer import default_start, open_start

    recipe = make_recipe(RECIPE, {key: str(value) for key, value in (values or {}).items()})
    check_tensorflow()
    folder = RunFolder(Path(run))
    folder.check_values(recipe.to_json())
    networks = [open_teacher(teacher) for teacher in teachers]
    source = weights or default_start(recipe.architecture, recipe.variant)
    start = open_start(os.fspath(source), recipe.variant) if source and source != FRESH else None
    if start:
        start.check(recipe)
    dataset = load_unlabelled(data)
    if len(dataset.splits["train"]) < FEWEST:
        raise UserError(
            f"{', '.join(map(str, data))} has one photo. Learning from a teacher takes at least {FEWEST}, "
            "better thousands: name a folder with more."
        )
    _tell(dataset, recipe.epochs, networks, folder.path)
    origin = {
        "start": start.describe() if start else None,
        "teachers": [network.describe() for network in networks],
    }
    with held(folder, dataset, recipe, origin, start.provenance if start else []):
        if folder.bundle.exists():
            bundle, refused = open_bundle(folder.bundle), []
        else:
            model = pretrained_model(dataset.splits["train"], networks, recipe, folder, start)
            names = joined_class_names(networks) or UNNAMED
            bundle, refused = bundle_model(folder, model, dataset, recipe, class_names=names)
        return Pretrained(bundle, tuple(refused), float(folder.rows()[-1]["val_accuracy"]))


def _tell(dataset: PhotoDataset, epochs: int, networks: Sequence[Any], folder: Path) -> None:
    messages.notes(dataset.notes)
    if dataset.skipped:
        messages.note(f"all skipped files are listed in {folder / SKIPPED_LIST}")
    names = ", ".join(network.name for network in networks)
    messages.say(f"Found: {len(dataset.splits['train']):,} photos; class folders are not looked at")
    messages.say(f"Chosen recipe: {RECIPE}, learns from {names} for {epochs} epochs")
