"""What a training starts from and how it trains, where the person does not say: chosen, with the reasons."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mobilevit_core.data.dataset import SPLIT_SCHEMES, PhotoDataset
from mobilevit_core.data.findings import Findings
from mobilevit_core.errors import UserError
from mobilevit_core.training.meaning import changed_meanings
from mobilevit_core.training.recipes import HEAD, RECIPES, UNEVEN, Recipe, make_recipe

FINETUNE, REJECT, FROM_SCRATCH = "finetune", "reject", "default"
FRESH = "fresh"  # for --weights: no starting weights
# Training photos per class on average, from which the whole network is trained and not only the head.
HEAD_BELOW = 40
# The same for the smallest class, where classes are uneven. Measured with 20 hats and 400 T-shirts from the
# general weights: the whole network found neither of the 2 test hats, a head 8 of 20 by cross-validation.
SMALLEST_BELOW = 20
# Test photos, under which accuracy comes from cross-validation on all photos instead.
ENOUGH_TEST = 50
SMALL_PHOTOS = 128  # pixels of the median shorter side, up to which a higher resolution adds nothing
HEAD_VALUES = ("seed", "split_scheme", "suspects", "variant")  # of a recipe, that the head takes


@dataclass(frozen=True)
class Plan:
    """How a training is done.

    Attributes:
        name: "head" or a key of `RECIPES`.
        recipe: its values; of a head's only `HEAD_VALUES` count.
        start: what `--weights` takes, None for fresh weights.
        reasons: a line for each choice that was made for the person.
    """

    name: str
    recipe: Recipe
    start: str | None
    reasons: tuple[str, ...] = ()

    @property
    def is_head(self) -> bool:
        """Whether only the classifier is trained."""
        return self.name == HEAD


@dataclass(frozen=True)
class Wish:
    """What the person says about a training; None and empty for what is to be chosen.

    Attributes:
        recipe: "head" or a key of `RECIPES`.
        weights: what to start from.
        values: of the recipe, as text.
        has_teacher: whether teachers are given, which a head has no use for.
        began_with: what a run that goes on started from: "imagenet", or "" for anything else; None for a
            new run.
    """

    recipe: str | None = None
    weights: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    has_teacher: bool = False
    began_with: str | None = None

    def __post_init__(self) -> None:
        if self.recipe not in (None, HEAD, *RECIPES):
            raise UserError(f"Unknown recipe {self.recipe!r}. There are: {', '.join((*RECIPES, HEAD))}.")
        if self.recipe != HEAD:
            return
        others = sorted(set(self.values) - set(HEAD_VALUES))
        if others:
            raise UserError(f"The recipe head has no value {others[0]!r}. It has: {', '.join(HEAD_VALUES)}.")
        if self.has_teacher:
            raise UserError("The recipe head takes no --teacher. Leave it out, or add --recipe finetune.")

    def before_loading(self) -> Plan:
        """What can be said before the photos are known: the start, and how they are split.

        Raises:
            UserError: a value that the recipe can't hold, or starting weights that are not there.
        """
        from mobilevit_core.training.transfer import architecture_of

        start, reason = self._start()
        name = self.recipe or (FINETUNE if start else FROM_SCRATCH)
        if name == HEAD and not start:
            raise UserError(
                "The recipe head needs weights whose features it uses, and there are none here: add "
                "--weights imagenet, or a bundle such as --weights demo/weights."
            )
        base = FINETUNE if name == HEAD else name
        values = dict(self.values)
        if name == HEAD:
            values = {"suspects": "keep", **values}
        elif name in (FINETUNE, REJECT) and start and (same := architecture_of(start)):
            values = {"architecture": same, **values}  # what such weights know, all of their layers hold
        return Plan(name, make_recipe(base, values), start, (reason,) if reason else ())

    def with_photos(self, plan: Plan, dataset: PhotoDataset, findings: Findings) -> Plan:
        """The plan after a look at the photos."""
        if self.recipe is None:
            plan = self._with_recipe(plan, dataset)
        if plan.is_head:
            return self._with_test_split(plan, dataset)
        return self._with_meaning(self._with_sizes(plan, findings), dataset.class_names)

    def _start(self) -> tuple[str | None, str | None]:
        """What to start from, and why, where that was chosen."""
        from mobilevit_core.models.released_weights import IMAGENET, LICENCE
        from mobilevit_core.training.transfer import FLOWERS, GENERAL, default_start

        if self.weights == FRESH:
            return None, None
        if self.weights:
            return self.weights, None
        if self.recipe not in (None, HEAD, FINETUNE):
            return None, None  # these recipes train from scratch
        architecture, variant = self.values.get("architecture", "paper"), self.values.get("variant", "xxs")
        source = default_start(architecture, variant)
        problem = self._imagenet_problem(architecture, variant)
        if problem is None:
            return IMAGENET, (
                "start: MobileViT's ImageNet weights as its authors released them, under their own licence "
                f"({LICENCE['url']}); --weights general takes those of this package, under Apache-2.0"
            )
        if source == GENERAL:
            return source, (
                f"start: the general weights of this package, because {problem}; with a network, the "
                "released ImageNet weights are downloaded once, which have seen ten times as many photos"
                if problem
                else "start: the general weights of this package, as this run began"
            )
        if source == FLOWERS:
            return os.fspath(source), (
                f"start: the flower weights in {_short(FLOWERS)}, because no general weights are installed; "
                "for photos of other things, --weights imagenet is better"
            )
        return None, "start: fresh weights, because none for this network are installed here"

    def _imagenet_problem(self, architecture: str, variant: str) -> str | None:
        """Why the released ImageNet weights are not the start; None where they are, "" without a reason."""
        from mobilevit_core.models.released_weights import IMAGENET
        from mobilevit_core.models.variants import VARIANTS
        from mobilevit_core.training.transfer import imagenet_problem

        if architecture != "paper" or variant not in VARIANTS:
            return "there are none of this network"
        if self.began_with is not None:  # a run goes on from what it began with
            return None if self.began_with == IMAGENET else ""
        return imagenet_problem(variant)

    def _with_recipe(self, plan: Plan, dataset: PhotoDataset) -> Plan:
        average = len(dataset.splits["train"]) / len(dataset.class_names)
        few, some = average < HEAD_BELOW, f"there are {average:.0f} training photos per class on average"
        name, smallest = dataset.smallest_class
        if not few and smallest < SMALLEST_BELOW and dataset.unevenness > UNEVEN:
            few, some = True, f"the smallest class, {name}, has only {smallest} training photos"
        if plan.start is None:
            reason = f"recipe: {plan.name}, the whole network from scratch; {some}"
            return replace(plan, reasons=(*plan.reasons, reason))
        trains_network = self.has_teacher or set(self.values) - set(HEAD_VALUES)
        if few and not trains_network:
            enough = HEAD_BELOW if average < HEAD_BELOW else SMALLEST_BELOW
            reason = (
                f"recipe: head, a new classifier on these weights, because {some}; from "
                f"{enough} on, the whole network is trained (--recipe finetune does it anyway)"
            )
            values = {"suspects": "keep", **self.values}
            recipe = make_recipe(FINETUNE, values)
            return Plan(HEAD, recipe, plan.start, (*plan.reasons, reason))
        why = "because you set values of the training" if few else f"because {some}"
        reason = f"recipe: finetune, first a new classifier, then the whole network, {why}"
        return replace(plan, reasons=(*plan.reasons, reason))

    def _with_test_split(self, plan: Plan, dataset: PhotoDataset) -> Plan:
        """Holds no test photos back where they would be too few to tell anything."""
        test = len(dataset.splits.get("test", ()))
        divided_here = dataset.split_scheme in SPLIT_SCHEMES and dataset.split_scheme != "whole"
        if test >= ENOUGH_TEST or not divided_here or "split_scheme" in self.values:
            return plan
        reason = (
            f"accuracy: by cross-validation on all photos, because a test split would have only {test} "
            "(--set split_scheme=default holds them back)"
        )
        recipe = replace(plan.recipe, split_scheme="whole")
        return replace(plan, recipe=recipe, reasons=(*plan.reasons, reason))

    def _with_meaning(self, plan: Plan, class_names: Sequence[str]) -> Plan:
        """Leaves out what would change the meaning of classes, as far as their names tell it.

        Where the recipe was named, its values are final, and the reason is advice.
        """
        recipe, reasons = plan.recipe, []
        for pair, (name, value, why) in changed_meanings(class_names):
            if name in self.values or getattr(recipe, name) == value:
                continue
            if self.recipe is None:
                recipe = replace(recipe, **{name: value})
                usual = f"--set {name}={getattr(plan.recipe, name):g} is the usual value"
                reasons.append(f"{name}: {value:g}, because {why} may tell {pair} apart ({usual})")
            else:
                usual = f"{getattr(recipe, name):g}, as in the recipe"
                reasons.append(f"{name}: {usual}; {why} may tell {pair} apart, so try --set {name}={value:g}")
        return replace(plan, recipe=recipe, reasons=(*plan.reasons, *reasons))

    def _with_sizes(self, plan: Plan, findings: Findings) -> Plan:
        recipe = plan.recipe
        chosen_here = self.recipe is None and not {"stages", "image_size"} & set(self.values)
        if not chosen_here:
            return plan
        if findings.shorter_side and findings.shorter_side <= SMALL_PHOTOS:
            recipe = replace(recipe, stages=((SMALL_PHOTOS, recipe.epochs),), image_size=SMALL_PHOTOS)
            why = f"because the shorter side of half of the photos is {findings.shorter_side} px or less"
        elif len(recipe.stages) > 1:
            why = "low resolution first, because most is learned as well there and several times faster"
        else:
            why = "as in the recipe"
        steps = ", then ".join(f"{epochs} epochs at {size} px" for size, epochs in recipe.stages)
        reason = f"sizes: {steps}, {why}"
        return replace(plan, recipe=recipe, reasons=(*plan.reasons, reason))


def _short(path: Path) -> str:
    """A path relative to the working folder, where it is below it."""
    working = Path.cwd()
    return os.fspath(path.relative_to(working) if path.is_relative_to(working) else path)
