"""How good classifiers of new classes get from a few photos, by the weights that they start from.

    python -m tests.benchmarks.transfer --data FOLDER --weights demo/weights --shots 5,10,20,50 --draws 5

FOLDER holds photos in folders named after their class, at any depth. For every draw and number of
photos per class, a head (or the whole network, `--method finetune`) is trained and tested on others,
the same ones for all numbers of a draw. `--teacher efficientnet_lite0` in place of `--weights` gives what the
same classifier gets from a teacher's own features.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np

from mobilevit_core.conversion.graft import cut
from mobilevit_core.conversion.tflite import convert
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.reading import SUFFIXES
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.training.features import Trunk, open_trunk
from mobilevit_core.training.first_classifier import WithClassifier
from mobilevit_core.training.head import fit_head
from mobilevit_core.training.recipes import make_recipe
from mobilevit_core.training.run_folder import RunFolder
from mobilevit_core.training.teacher_networks import TeacherNetwork, open_teacher
from mobilevit_core.training.trainer import train
from mobilevit_core.training.transfer import architecture_of, open_start

MOST_TESTED = 1000
NOTHING = "none"  # for --weights: random ones
HELD_BACK = 0.1  # of the training photos, for finetune's validation


@dataclass(frozen=True)
class Draw:
    """One random choice: class name -> photos."""

    number: int
    shots: int
    training: Mapping[str, Sequence[Path]]
    tested: Mapping[str, Sequence[Path]]


@dataclass(frozen=True)
class Result:
    """What came out of one draw."""

    draw: int
    shots: int
    accuracy: float
    seconds: float
    tested: int
    estimate: float | None = None
    interval: tuple[float, float] | None = None


def photos_by_class(folder: Path) -> dict[str, list[Path]]:
    """Class name -> its photos, from the names of the folders that the files lie in."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in SUFFIXES:
            found.setdefault(path.parent.name, []).append(path)
    return found


def draws(photos: Mapping[str, Sequence[Path]], shots: Sequence[int], count: int) -> Iterator[Draw]:
    """Every draw with every number of photos, the tested ones the same within a draw."""
    largest, each = max(shots), MOST_TESTED // len(photos)
    for number in range(count):
        random = np.random.default_rng(number)
        mixed = {name: [paths[i] for i in random.permutation(len(paths))] for name, paths in photos.items()}
        tested = {name: paths[largest : largest + each] for name, paths in mixed.items()}
        for few in shots:
            yield Draw(number, few, {name: paths[:few] for name, paths in mixed.items()}, tested)


def examples_of(photos: Mapping[str, Sequence[Path]]) -> list[LabelledPhoto]:
    """Named by their path, which is enough within one run."""
    return [
        LabelledPhoto(str(path), label, path) for label, paths in enumerate(photos.values()) for path in paths
    ]


def untrained(variant: str) -> Trunk:
    """The network with random weights, as a head's start from nothing."""
    keras.utils.set_random_seed(0)
    rule = make_recipe("finetune", {}).rule
    files = {"float32": cut(convert(create_mobilevit(variant, 2, rule.image_size), None)["float32"])}
    return Trunk(files, b"", rule, "paper", variant, {"weights_sha256": NOTHING}, {})


@dataclass(frozen=True)
class TeacherTrunk(Trunk):
    """A teacher in the place of the network: what could be learned from it at most."""

    teacher: TeacherNetwork | None = None

    def features(self, image: np.ndarray) -> np.ndarray:
        """See `Trunk.features`."""
        return self.teacher.answer(image[None])[0][0]


def asked(name: str) -> TeacherTrunk:
    """A teacher by its name or file."""
    teacher = open_teacher(name)
    rule = ResizeRule(teacher.input.image_size, "center_crop", 0.875)
    return TeacherTrunk({}, b"", rule, "paper", "xxs", {"weights_sha256": name}, {}, teacher=teacher)


def with_head(draw: Draw, trunk: Trunk, known: dict[str, np.ndarray]) -> Result:
    """Trains a head and tests it on features, which are known to all draws that test the same photo."""
    fitted = fit_head(draw.training, trunk, seed=draw.number)
    tested = examples_of(draw.tested)
    for example in tested:
        if example.name not in known:
            known[example.name] = trunk.features(preprocess(example.source, trunk.rule))
    features = np.stack([known[example.name] for example in tested])
    answers = fitted.head.logits(features).argmax(axis=1)
    right = answers == np.array([example.label for example in tested])
    return Result(
        draw.number,
        draw.shots,
        float(right.mean()),
        fitted.seconds,
        len(tested),
        fitted.accuracy,
        fitted.interval,
    )


def with_finetune(draw: Draw, weights: str, variant: str) -> Result:
    """Trains the whole network by the recipe `finetune` and tests it."""
    start_time = time.perf_counter()
    splits: dict[str, list[LabelledPhoto]] = {"train": [], "validation": []}
    for label, paths in enumerate(draw.training.values()):
        held = max(round(len(paths) * HELD_BACK), 1)
        for place, path in enumerate(paths):
            splits["validation" if place < held else "train"].append(LabelledPhoto(str(path), label, path))
    dataset = PhotoDataset(
        "draw", "folders", tuple(draw.training), {name: tuple(photos) for name, photos in splits.items()}
    )
    values = {"variant": variant, "seed": str(draw.number)}
    if weights != NOTHING and (architecture := architecture_of(weights)):
        values["architecture"] = architecture
    recipe = make_recipe("finetune", values)
    with tempfile.TemporaryDirectory() as folder:
        run = RunFolder(Path(folder) / "run")
        start = None
        if weights != NOTHING:  # as the command `train` does it
            start = WithClassifier(open_start(weights, variant), dataset.split("train"), recipe.rule)
        with run.locked():
            run.claim(dataset, recipe.to_json(), {"start": None, "teachers": None})
            model = train(dataset, recipe, run, start)
    seconds = time.perf_counter() - start_time
    tested = examples_of(draw.tested)
    images = np.stack([preprocess(example.source, recipe.rule) for example in tested])
    answers = model.predict(images, verbose=0).argmax(axis=1)
    right = answers == np.array([example.label for example in tested])
    return Result(draw.number, draw.shots, float(right.mean()), seconds, len(tested))


def table(results: Sequence[Result]) -> str:
    """Markdown, a row per number of photos."""
    lines = [
        "| per class | accuracy, mean (lowest to highest draw) | by cross-validation, mean | "
        "its 95 % interval holds | seconds |",
        "| --- | --- | --- | --- | --- |",
    ]
    for shots in sorted({result.shots for result in results}):
        rows = [result for result in results if result.shots == shots]
        accuracies = [row.accuracy for row in rows]
        told = [row for row in rows if row.interval]
        held = sum(row.interval[0] <= row.accuracy <= row.interval[1] for row in told)
        estimate = f"{np.mean([row.estimate for row in told]):.1%}" if told else "-"
        lines.append(
            f"| {shots} | {np.mean(accuracies):.1%} ({min(accuracies):.1%} to {max(accuracies):.1%}) | "
            f"{estimate} | {f'{held} of {len(told)}' if told else '-'} | {rows[0].seconds:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    start = parser.add_mutually_exclusive_group(required=True)
    start.add_argument("--weights", help="A bundle, general, imagenet, hf://OWNER/NAME, a file, or none.")
    start.add_argument("--teacher", help="A name or an ONNX file, see train --teacher; for --method head.")
    parser.add_argument("--variant", default="xxs")
    parser.add_argument("--shots", default="5,10,20,50")
    parser.add_argument("--draws", type=int, default=5)
    parser.add_argument("--method", choices=("head", "finetune"), default="head")
    parser.add_argument("--json", type=Path, help="File for every single result.")
    given = parser.parse_args()
    shots = [int(text) for text in given.shots.split(",")]
    found = photos_by_class(given.data)
    photos = {name: paths for name, paths in found.items() if len(paths) > max(shots)}
    print(f"{given.data}: {len(photos)} classes with more than {max(shots)} photos", flush=True)
    nothing, known = given.weights == NOTHING, {}
    if given.teacher:
        trunk = asked(given.teacher)
    else:
        trunk = untrained(given.variant) if nothing else open_trunk(given.weights, given.variant)
    results = []
    for draw in draws(photos, shots, given.draws):
        if given.method == "head":
            result = with_head(draw, trunk, known)
        else:
            result = with_finetune(draw, given.weights, trunk.variant)
        results.append(result)
        print(f"draw {draw.number}, {draw.shots} per class: {result.accuracy:.1%}", flush=True)
        if given.json:
            given.json.write_text(json.dumps([asdict(row) for row in results], indent=1) + "\n")
    print(
        f"\n{given.method} from {given.weights or given.teacher}, "
        f"{results[0].tested} tested photos per draw\n"
    )
    print(table(results))


if __name__ == "__main__":
    main()
