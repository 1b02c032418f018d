"""Training recipes: named tables of values. Any value can be overridden on the command line.

Accuracy is on the validation and test split of tf_flowers, seed 0; times are on two cores of an AMD EPYC.
Everything that was tried with them is recorded in tests/benchmarks/EXPERIMENTS.md.

default         from scratch: low resolution first, EMA of the weights. 82.8 %, 85.8 %, 51 minutes.
                train tf_flowers --recipe default
pretrain        starting weights from other classes. 80.0 % of 404 photos of 102 kinds of flowers, 46 minutes.
                train oxford_flowers102 --recipe pretrain --leave-out tf_flowers
pretrain-192    the same at a higher resolution, from there on. 89.9 % of the 404 photos, 21 minutes.
                train oxford_flowers102 --recipe pretrain-192 --leave-out tf_flowers --weights PRETRAINED
finetune        from such weights to the classes wanted. 88.8 %, 92.4 %, 15 minutes.
                train tf_flowers --recipe finetune --weights PRETRAINED
reject          adds "none of these" to finished weights. 87.2 %, 90.5 %, 60 minutes; from the general
                weights, with two teacher networks and more photos (demo/weights/README.md) 93.5 %, 94.6 %,
                106 minutes.
                train tf_flowers --recipe reject --weights BUNDLE --teacher BUNDLE --other PHOTOS
distill         starting weights from a teacher network, on photos without labels.
                train PHOTOS --teacher efficientnet_lite0
keras-example   the keras.io example as published: 86.1 % at the best epoch, picked on the reported photos;
                77.7 % at the last. Measured: 82.6 % and 71.9 %, 73 minutes.
                train tf_flowers --recipe keras-example
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from mobilevit_core.bundle.rejection import FALSE_REJECTION_RATE
from mobilevit_core.data.dataset import SPLIT_SCHEMES, PhotoDataset
from mobilevit_core.errors import UserError
from mobilevit_core.images.preprocessing import RESIZE_MODES, ResizeRule
from mobilevit_core.models.image_size import check_image_size

HEAD = "head"  # no row of `RECIPES`: a new classifier on the features of other weights, in seconds
AT_THE_END = ("start_share", "false_rejection_rate")  # for the bundle; the training does not know them
UNEVEN = 3.0  # largest class over smallest, above which balance="auto" balances the classes

CHOICES = {
    "split_scheme": tuple(SPLIT_SCHEMES),
    "suspects": ("keep", "drop"),
    "resize_mode": tuple(RESIZE_MODES),
    "optimizer": ("adam", "adamw"),
    "schedule": ("constant", "cosine"),
    "crop": ("random_resized", "random_fixed"),
    "keep": ("last", "best"),
    "balance": ("auto", "none", "classes"),
    "devices": ("one", "all", "machines"),
}


@dataclass(frozen=True)
class Recipe:
    """Every value of a training run."""

    # A key of `models.create.ARCHITECTURES`; finetune and reject keep that of the bundle they begin with.
    architecture: str = "paper"
    variant: str = "xxs"  # or "xs", "s"
    image_size: int = 256  # of the finished model, pixels
    resize_mode: str = "squash"  # how evaluation and prediction make a square: a key of `RESIZE_MODES`
    crop_fraction: float = 1.0  # for center_crop
    split_scheme: str = "default"  # a key of `SPLIT_SCHEMES`
    suspects: str = "keep"  # "drop": without training photos whose label looks wrong (`data.curation`)
    stages: tuple[tuple[int, int], ...] = ((256, 30),)  # (image size, epochs), one after the other
    batch_size: int = 32  # photos per step
    optimizer: str = "adamw"  # or "adam"
    learning_rate: float = 2e-3  # the highest of the schedule
    schedule: str = "cosine"  # down to 1 % of the highest over all stages; or "constant"
    warmup_epochs: float = 3  # linear from zero, cosine only
    weight_decay: float = 0.05  # adamw only; never on biases and normalization parameters
    clip_norm: float = 1.0  # highest global norm of the gradient, 0 for no limit
    label_smoothing: float = 0.1  # share of the target spread over all classes
    crop: str = "random_resized"  # random area and aspect; "random_fixed": squash to 35/32 of the size, crop
    crop_scale: float = 0.3  # smallest share of the area in a random_resized crop
    whole_share: float = 0  # share of training images that show the whole photo: half of them squashed,
    # half between black bars
    flip: float = 0.5  # chance that a training image is mirrored; 0 where left and right tell classes apart
    color: float = 0.3  # strength of brightness, contrast and saturation jitter, 0 for none
    degrade: float = 0  # chance of each of: out of focus, too dark or bright, tinted, grey
    mix: float = 0.3  # share of the batches that MixUp or CutMix blends
    ema_decay: float = 0.998  # per step, 0 for no EMA; with it, validation and the finished model use EMA
    start_share: float = 0  # of the starting weights in the finished ones (Wortsman et al. 2022, "WiSE-FT")
    distillation_weight: float = 0.5  # share of the targets that comes from teachers, where there are any
    balance: str = "auto"  # "classes" draws all classes alike often, "none" every photo; "auto" balances
    # where the largest class has more than `UNEVEN` times the photos of the smallest
    other_share: float = 0.3  # of every batch that shows none of the classes, all sources alike
    false_rejection_rate: float = FALSE_REJECTION_RATE  # share of validation photos called "none of these"
    epoch_photos: int = 0  # per epoch; 0: as many as the classes have, and those of "none of these" on top
    crops: int = 0  # that a teacher network is asked about; 0 for one of each photo
    devices: str = "one"  # "all" accelerators of the machine; "machines": several, each its part of a batch
    keep: str = "last"  # or "best": the epoch with the highest validation accuracy
    seed: int = 0  # of initial weights, shuffling, augmentation and a folder's split

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UserError(f"{name} is {getattr(self, name)!r}; it can be: {', '.join(choices)}.")
        for field in dataclasses.fields(self):
            if field.type is float and not math.isfinite(getattr(self, field.name)):
                raise UserError(f"{field.name} is {getattr(self, field.name)}; it must be a finite number.")
        for name in ("batch_size", "learning_rate"):
            if getattr(self, name) <= 0:
                raise UserError(f"{name} is {getattr(self, name)}; it must be over 0.")
        for name in ("warmup_epochs", "weight_decay", "clip_norm", "epoch_photos", "crops", "seed"):
            if not 0 <= getattr(self, name) < 2**31:
                raise UserError(f"{name} is {getattr(self, name)}; it must be 0 or more, and under 2^31.")
        shares = ("label_smoothing", "mix", "ema_decay", "start_share", "distillation_weight", "whole_share")
        for name in (*shares, "flip", "color", "degrade"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be between 0 and 1.")
        for name in ("other_share", "false_rejection_rate"):
            if not 0 < getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; it must be between 0 and 1, without both.")
        if not 0 < self.crop_scale <= 1:
            raise UserError(f"crop_scale is {self.crop_scale}; it must be over 0 and at most 1.")
        if not self.stages or any(epochs < 1 for _, epochs in self.stages):
            raise UserError("stages needs at least one image_size:epochs pair, each with 1 epoch or more.")
        self.rule  # noqa: B018 (its own checks)
        for size in (self.image_size, *(size for size, _ in self.stages)):
            check_image_size(size)

    @property
    def epochs(self) -> int:
        """Epochs of all stages together."""
        return sum(epochs for _, epochs in self.stages)

    @property
    def rule(self) -> ResizeRule:
        """How evaluation and prediction make a square."""
        return ResizeRule(self.image_size, self.resize_mode, self.crop_fraction)

    def to_json(self) -> dict[str, Any]:
        """The values as the run folder and the bundle record them."""
        return {**dataclasses.asdict(self), "stages": [list(stage) for stage in self.stages]}


FINETUNE = Recipe(
    suspects="drop",
    image_size=192,
    resize_mode="center_crop",
    crop_fraction=0.875,
    stages=((128, 8), (192, 20)),
    learning_rate=1e-3,
    warmup_epochs=1,
    degrade=0.05,
)
RECIPES = {
    "default": Recipe(image_size=192, stages=((128, 56), (192, 12))),
    "pretrain": Recipe(
        split_scheme="whole", image_size=128, stages=((128, 64),), crop_scale=0.25, balance="none"
    ),
    "pretrain-192": Recipe(
        split_scheme="whole",
        image_size=192,
        resize_mode="center_crop",
        crop_fraction=0.875,
        stages=((192, 12),),
        crop_scale=0.25,
        learning_rate=1e-3,
        warmup_epochs=1,
        degrade=0.1,
        balance="none",
    ),
    "finetune": FINETUNE,
    "reject": dataclasses.replace(
        FINETUNE,
        stages=((128, 6), (192, 10)),
        learning_rate=7e-4,
        label_smoothing=0,
        whole_share=0.4,
        color=0.4,
        degrade=0.1,
        start_share=0.1,
        other_share=0.45,
        false_rejection_rate=0.03,
    ),
    "distill": Recipe(
        architecture="hypercolumn",
        split_scheme="whole",
        image_size=128,
        stages=((128, 10),),
        batch_size=64,
        warmup_epochs=0.25,
        weight_decay=0.03,
        ema_decay=0.999,
        label_smoothing=0,
        mix=0,
        color=0.2,
        crops=100_000,
    ),
    "keras-example": Recipe(
        architecture="keras_example",
        split_scheme="keras-example",
        stages=((256, 30),),
        batch_size=64,
        optimizer="adam",
        learning_rate=2e-3,
        schedule="constant",
        warmup_epochs=0,
        weight_decay=0,
        clip_norm=0,
        label_smoothing=0.1,
        crop="random_fixed",
        color=0,
        mix=0,
        ema_decay=0,
        balance="none",
        keep="best",
    ),
}


def make_recipe(name: str, overrides: dict[str, str] | None = None) -> Recipe:
    """A recipe of the table with values overridden by text, as the command line gives them.

    Args:
        name: a key of `RECIPES`.
        overrides: field name -> value; `stages` as "128:56,192:12". Where they set the stages and not the
            image size, the finished model has the last stage's.

    Raises:
        UserError: unknown recipe or field, or a value that the field cannot hold.
    """
    if name not in RECIPES:
        raise UserError(f"Unknown recipe {name!r}. There are: {', '.join(RECIPES)}.")
    fields = {field.name: field.type for field in dataclasses.fields(Recipe)}
    values = {}
    for key, text in (overrides or {}).items():
        if key not in fields:
            raise UserError(f"A recipe has no value {key!r}. It has: {', '.join(sorted(fields))}.")
        values[key] = _parse(key, text, fields[key])
    if values.get("stages") and "image_size" not in values:
        values["image_size"] = values["stages"][-1][0]
    return dataclasses.replace(RECIPES[name], **values)


def balances(dataset: PhotoDataset, recipe: Recipe) -> bool:
    """Whether a training draws all classes alike often."""
    return recipe.balance == "classes" or (recipe.balance == "auto" and dataset.unevenness > UNEVEN)


def balance_notes(dataset: PhotoDataset, recipe: Recipe) -> list[str]:
    """A sentence for people where `balance` decides by itself that classes are drawn alike often."""
    if recipe.balance != "auto" or not balances(dataset, recipe):
        return []
    return [
        f"the largest class has {dataset.unevenness:.1f} times the training photos of the smallest, so "
        "all classes are drawn alike often (--set balance=none turns that off)"
    ]


def head_balance_notes(dataset: PhotoDataset) -> list[str]:
    """The same for a head, whose regression weighs the classes."""
    if dataset.unevenness <= UNEVEN:
        return []
    return [
        f"the largest class has {dataset.unevenness:.1f} times the photos of the smallest, so every "
        "class counts as much as any other, not every photo"
    ]


def _parse(key: str, text: str, kind: Any) -> Any:
    try:
        if key == "stages":
            pairs = (pair.split(":") for pair in text.split(","))
            return tuple((int(size), int(epochs)) for size, epochs in pairs)
        return kind(text)
    except ValueError:
        expected = "image_size:epochs pairs such as 128:56,192:12" if key == "stages" else kind.__name__
        raise UserError(f"{key}={text}: not a value for {key}; expected: {expected}.") from None
