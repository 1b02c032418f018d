"""The commands that train: train, finish."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from mobilevit_core import messages
from mobilevit_core.cli.app import app, result
from mobilevit_core.cli.evaluate import print_classes
from mobilevit_core.cli.options import DataHelp, JsonOption
from mobilevit_core.commands.add import add as add_photos
from mobilevit_core.commands.pretrain import RECIPE as DISTILL
from mobilevit_core.commands.pretrain import pretrain
from mobilevit_core.commands.train import DEFAULT_DATA, Trained, default_run
from mobilevit_core.commands.train import train as train_on
from mobilevit_core.data.choice import DataChoice
from mobilevit_core.data.dataset import CROSS_VALIDATION
from mobilevit_core.data.folder import has_classes
from mobilevit_core.errors import UserError
from mobilevit_core.training.recipes import HEAD, RECIPES
from mobilevit_core.training.teacher_networks import TEACHERS, is_network

DataArgument = Annotated[
    list[str] | None,
    typer.Argument(help=f"{DataHelp} Several: the union, same classes joined. Default: {DEFAULT_DATA}."),
]
DataOption = Annotated[list[str] | None, typer.Option(help="The same as an argument; can be repeated.")]
OtherOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Photos that show none of the classes, a folder or a data set of tensorflow-datasets; "
        "they become the class 'none of these', like a subfolder _other of the data. Can be repeated."
    ),
]
TrainOnlyOption = Annotated[
    list[str] | None,
    typer.Option(
        help="More photos of the same classes, a folder or a data set of tensorflow-datasets, that are "
        "only trained on: no figure counts them. Can be repeated."
    ),
]
OtherWithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A class to leave out of --other; those with the name of a wanted class are left out anyway. "
        "Can be repeated."
    ),
]
DataWeightOption = Annotated[
    list[str] | None,
    typer.Option(
        help="SOURCE=NUMBER: how often photos of a source (an argument, --train-only or --other) are "
        "drawn, compared with the others. Can be repeated."
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(help=f"One of: {', '.join((*RECIPES, HEAD))}. Default: depends on the photos."),
]
RunOption = Annotated[
    Path | None,
    typer.Option(
        help="Run folder; a training in it continues. Default: runs/NAME, named after the "
        "data, and after --recipe where that is given."
    ),
]
AddOption = Annotated[
    list[str] | None,
    typer.Option(
        help="More photos for the finished run of --run: trains again from its bundle into a new run "
        "folder and lists gains and regressions. Can be repeated."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", help="Override a value of the recipe, NAME=VALUE; can be repeated."),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        help="What to start from: a bundle of any classes, general (comes with this package), imagenet (the "
        "authors' weights), a safetensors file of timm or transformers, hf://OWNER/NAME, or fresh. Default: "
        "the best that is here."
    ),
]
DevicesOption = Annotated[
    str | None,
    typer.Option(
        help="all: train on all accelerators of this machine; machines: on those of several. Default: one."
    ),
]
TeacherOption = Annotated[
    list[str] | None,
    typer.Option(
        help="What to learn from: a bundle of the same classes, or a network that saw more of the world: "
        f"{', '.join(TEACHERS)}, or FILE.onnx[:SIZE[:MEAN:SCALE]]. Can be repeated."
    ),
]
UnlabelledOption = Annotated[
    list[str] | None,
    typer.Option(
        help="Photos without labels, a folder or a data set of tensorflow-datasets, that a teacher network "
        "explains. Without other photos, the network learns what its teacher knows. Can be repeated."
    ),
]
LeaveOutOption = Annotated[
    str | None,
    typer.Option(
        help="A data set whose validation and test photos, and near-duplicates of them, must not be "
        "trained on; for pretraining."
    ),
]
WithoutOption = Annotated[
    list[str] | None,
    typer.Option(
        help="A class to leave out, for example to measure later how well it is rejected; can be repeated."
    ),
]
ExamplesOption = Annotated[
    bool,
    typer.Option(
        "--examples/--no-examples",
        help="Keep up to six of the photos, shrunk, in the bundle: its page opens on them.",
    ),
]


@app.command()
def train(
    photos: DataArgument = None,
    data: DataOption = None,
    run: RunOption = None,
    weights: WeightsOption = None,
    recipe: RecipeOption = None,
    values: SetOption = None,
    add: AddOption = None,
    train_only: TrainOnlyOption = None,
    other: OtherOption = None,
    other_without: OtherWithoutOption = None,
    data_weight: DataWeightOption = None,
    teacher: TeacherOption = None,
    unlabelled: UnlabelledOption = None,
    devices: DevicesOption = None,
    leave_out: LeaveOutOption = None,
    without: WithoutOption = None,
    examples: ExamplesOption = True,
    as_json: JsonOption = False,
) -> None:
    """Train a MobileViT on your photos, export it, and measure it.

    Whatever you do not set is chosen and explained. You can stop at any time: the same command continues
    after the last finished epoch.

    Example: python -m mobilevit_core train my_photos

    More photos for a finished run: train --add more_photos --run runs/my_photos
    """
    names = [*(photos or []), *(data or [])]
    if add:
        about_data = (names, train_only, other, other_without, data_weight, leave_out, without)
        _add(add, run, any((weights, recipe, values, teacher, devices, *about_data)), examples, as_json)
        return
    choice = DataChoice(
        tuple(names or [DEFAULT_DATA]),
        tuple(train_only or ()),
        tuple(other or ()),
        tuple(other_without or ()),
        _weights(data_weight or ()),
        leave_out,
        tuple(without or ()),
    )
    overrides = dict(_name_and_value(value) for value in values or [])
    overrides |= {"devices": devices} if devices else {}
    asks_network = any(is_network(name) for name in teacher or ())
    if asks_network and not any(has_classes(name) for name in names):
        others = (recipe, train_only, other, other_without, data_weight, devices, leave_out, without)
        _pretrain([*names, *(unlabelled or ())], run, teacher, weights, overrides, any(others), as_json)
        return
    trained = train_on(
        choice,
        run,
        recipe=recipe,
        weights=weights,
        values=overrides,
        teachers=teacher or (),
        unlabelled=unlabelled or (),
        examples=examples,
    )
    _print_trained(trained, as_json)


def _pretrain(
    names: Sequence[str],
    run: Path | None,
    teachers: Sequence[str],
    weights: str | None,
    values: dict[str, str],
    has_other_options: bool,
    as_json: bool,
) -> None:
    if has_other_options or not all(is_network(name) for name in teachers):
        raise UserError(
            "On photos without labels, a teacher network takes --unlabelled, --run, --weights and --set "
            "alone. Leave out all other options, and teachers that are bundles."
        )
    if not names:
        raise UserError("Name the photos to learn on, for example: train photos --teacher efficientnet_lite0")
    pretrained = pretrain(
        names, run or default_run(names[0], DISTILL), teachers, weights=weights, values=values
    )
    for sentence in pretrained.refused:
        messages.warn(sentence)
    bundle = pretrained.bundle
    if as_json:
        print(json.dumps({"bundle": str(bundle.folder), **bundle.manifest.to_json()}))
        return
    result(f"Bundle: {bundle.folder}")
    result(f"Agreement with its teacher on crops of photos held back: {pretrained.agreement:.1%}")
    result(f"Train on your own classes from it: train my_photos --weights {bundle.folder}")


def _add(
    more: Sequence[str], run: Path | None, has_other_options: bool, examples: bool, as_json: bool
) -> None:
    if run is None:
        raise UserError("--add needs the run to add photos to: --run runs/my_photos")
    if has_other_options:
        raise UserError("--add trains as the run of --run was trained. Leave out all other options.")
    added = add_photos(run, more, examples=examples)
    _print_trained(added.trained, as_json)
    if not as_json:
        result(added.summary)
        result(f"One by one: {added.table}")


def _print_trained(trained: Trained, as_json: bool) -> None:
    for sentence in trained.refused:
        messages.warn(sentence)
    bundle = trained.bundle
    if as_json:
        print(json.dumps({"bundle": str(bundle.folder), **bundle.manifest.to_json()}))
        return
    figures = trained.result
    low, high = figures["interval_95"]
    crossed = trained.split == CROSS_VALIDATION
    where = "by cross-validation on" if crossed else f"on the {trained.split} split of"
    result(f"Bundle: {bundle.folder}")
    result(
        f"Accuracy: {figures['accuracy']:.1%} (95 % interval {low:.1%} to {high:.1%}) {where} "
        f"{figures['photos']} photos"
    )
    print_classes(figures)
    for sentence in trained.doubts:
        messages.warn(sentence)
    result(f"Report: {trained.report}")
    result(f"Show it in the demo: python app.py --bundle {bundle.folder}")


@app.command()
def finish(
    run: Annotated[Path, typer.Argument(help="Folder of a training run, for example runs/mine.")],
    to: Annotated[
        Path | None, typer.Option(help="Folder of the bundle. Default: inside the run folder.")
    ] = None,
) -> None:
    """Make a bundle from a run's newest checkpoint, even before its end or with photos missing."""
    from mobilevit_core.training.finish import finish_run
    from mobilevit_core.training.run_folder import RunFolder

    bundle, refused = finish_run(RunFolder(run), to)
    for sentence in refused:
        messages.warn(sentence)
    result(f"Bundle: {bundle.folder}")


def _name_and_value(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set {text}: write NAME=VALUE, for example --set batch_size=16.")
    return name.strip(), value.strip()


def _weights(texts: Sequence[str]) -> dict[str, float]:
    """Source -> weight of SOURCE=NUMBER texts; a path may have "=" in it."""
    weights = {}
    for text in texts:
        name, _, number = text.rpartition("=")
        try:
            weights[name] = float(number)
        except ValueError:
            raise UserError(
                f"--data-weight {text}: write SOURCE=NUMBER, for example --data-weight my_photos=2."
            ) from None
    return weights
