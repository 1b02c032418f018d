r"""Training recipes: named tables of values. Any value can be overridden on the command line.

`default`
    From scratch: AdamW with warm-up and cosine, EMA of the weights, low resolution first.
    Expected on tf_flowers: 82.8 % on the validation split, 85.8 % (95 % interval 81.9 to 89.0) on the test
    split, seed 0, 51 minutes on two cores of an AMD EPYC. Command:
    python -m mobilevit_core train tf_flowers --recipe default --run runs/default

`pretrain`
    Starting weights from a larger set of flowers, 102 kinds, without what looks like a photograph that
    tf_flowers validates or tests on. Expected: 80.0 % on 404 photographs held back, 46 minutes on two cores
    of a newer AMD EPYC, 78 minutes on the one above. Command:
    python -m mobilevit_core train --recipe pretrain --data oxford_flowers102 --leave-out tf_flowers \
        --run runs/pretrain

    The general weights of this package are a run of `pretrain` on 106,457 photographs of 312 classes, 28
    epochs of 40,000: 44.0 % of 5,642 held back (39.8 % after 15); command in data/SOURCES.md, what they give
    others in weights/general/README.md.

`pretrain-192`
    The same at a higher resolution, from there on, with photographs made worse as phones make them.
    Expected: 89.9 % on the same 404 photographs, 21 minutes. Command:
    python -m mobilevit_core train --recipe pretrain-192 --data oxford_flowers102 --leave-out tf_flowers \
        --weights runs/pretrain/bundle --run runs/pretrain-192

`finetune`
    From such weights to the classes wanted; photographs of tf_flowers with suspect labels are not trained
    on. Expected on tf_flowers: 88.8 % on the validation split, 92.4 % (95 %
    interval 89.2 to 94.7) on the test split with seed 0; 88.0 % and 92.4 % with seed 1; 15 minutes on two
    cores of the newer AMD EPYC. Command:
    python -m mobilevit_core train --recipe finetune --weights runs/pretrain-192/bundle --run runs/finetune

    What was tried, on the validation split (accuracy, negative log-likelihood; all squares of 192 px):
    16 epochs at 128 px and 12 at 192, from `pretrain`, the whole photograph squashed     87.2 %, 0.382
    the same weights, central square of 0.875 of the shorter side                         89.6 %, 0.316
    trained with degrade 0.1, central square       86.1 %, 0.358; black and white from 50 to 73 %
    the same from `pretrain-192`                   88.8 %, 0.323; black and white 74 %
    8 epochs at 128 px and 20 at 192, degrade 0.05, from `pretrain-192`                   88.8 %, 0.294
    Of these the last has the best likelihood, and holds up best under distortions.

`reject`
    Adds the class "none of these" to finished weights, or trains it on; a tenth of them stays in the finished
    weights, and 3 % of the flowers of the validation split may be rejected. What ships was made by it in two
    steps, from the bundle of `finetune`, which is also the teacher, and then from the first step's; values of
    the first, and which photographs of other things: data/SOURCES.md. Expected on tf_flowers, rejected
    flowers counted as mistakes: 87.2 % on the validation split, 90.5 % (95 % interval 87.0 to 93.1 %) on the
    test split; where one of the five must be named, 89.1 % and 92.1 %. 60 minutes for the second step on two
    cores of an AMD EPYC with AVX2, 55 for the first. Command:
    python -m mobilevit_core train tf_flowers --recipe reject --weights runs/finetune/bundle \
        --teacher runs/finetune/bundle --other caltech/101_ObjectCategories --run runs/reject

    What was tried, on the validation split: the five flowers right where one must be named; found, at 5 %
    false alarms, of 300 photographs each of rooms, animals, clothing, textures, and 15 other kinds of
    flowers, none of them ever called "none of these" in training:
    weights of `finetune`, by the highest probability   88.8 %   36  33  26  20  14 %
    `finetune` with other_share 0.4, degrade 0.1, no label smoothing, stages=128:3,192:8
                                                        87.7 %   88  84  78  44  38 %
    its weights mixed 7 to 3 with the start's           89.1 %   77  75  57  28  26 %
    the first step with start_share 0                   88.8 %   89  82  73  47  39 %
    with start_share 0.1                                88.8 %   88  80  72  44  33 %
    with start_share 0.2                                89.4 %   87  81  70  42  26 %
    from the general weights in place of `finetune`'s, straight to the five, taught by `finetune`'s:
    stages=128:8,192:6, other kinds of flowers drawn 4 instead of 3 times, 1,800 pieces of other photographs
    as textures                                         84.5 %   90  68  86  67  72 %
    the second step with start_share 0                  88.3 %   94  88  86  61  65 %
    with start_share 0.1: what ships                    89.1 %   93  89  85  62  59 %
    with start_share 0.15                               88.8 %   94  89  86  62  56 %
    with start_share 0.2                                88.6 %   94  90  86  63  55 %
    So the general weights know more of what is no flower and less of flowers. An average of up to four of
    these models is no more often right than the best of them alone (89.4 %), so it was no teacher.
    from the general weights through 83 of the 102 kinds, with tf_flowers and 458 photographs of the five from
    elsewhere as classes (Oxford's 49, 50, 54, 74 and Caltech's sunflower; `pretrain-192`,
    stages=128:10,192:6: 85.8 %), then this recipe with those 458 (--train-only), stages=128:3,192:8,
    learning_rate=1e-3, start_share 0
                                                        88.3 %   88  71  87  72  80 %
    The last finds more of other flowers and textures, holds up when the whole photograph is squashed (87.5 %,
    what ships 86.7 %), and takes more animals for flowers. Not shipped: with rejection it has 86.4 % at 3 %
    false alarms. The geometric mean of its answers and of those of what ships is right for 90.2 %, with
    rejection for 88.3 %, and then finds 89, 74, 83, 64 and 63 %.
    As two teachers the two did not pass that on, again with the 458, and with animals drawn more often:
    from the weights that do not ship, distillation_weight=0.6, stages=192:9, kinds=3, mini=4, pets=2
                                                        88.6 %   91  76  86  70  72 %
    from what ships, distillation_weight=0.8, stages=192:8, kinds=3, mini=3, pets=2
                                                        87.2 %   95  89  89  67  62 %
    the same with start_share 0.4                        88.3 %   96  88  87  66  59 %
    The three have 86.9, 85.6 and 86.4 % with rejection at 3 % false alarms, and 88.0, 86.9 and 87.7 % where
    one must be named and the whole photograph is squashed. None of them ships.
    With rejection the second step has 86.1 % at 5 % false alarms, 87.2 % at 3 % (the first: 87.2 % at 5 %),
    87.7 % at 2 %; then it finds 93, 90 and 78 % of the rooms, 59, 47 and 35 % of the other kinds of flowers.
    3 % is the largest share at which it is right as often as the first.
    Without a shift of its logit, the class takes 12 % of the flowers.

`keras-example`
    The recipe of the keras.io example as published: its network, data split, augmentation, optimizer,
    30 epochs, and the epoch with the best accuracy on the pictures that it is reported on. One thing
    differs: 4 of its 3,303 training photographs are left out, near-duplicates of photographs reported on.
    Published: 86.1 % at the best epoch, 77.7 % at the last. Measured (seed 0): 82.6 % at the best (the
    27th), 71.9 % at the last, 73 minutes on two cores of the newer AMD EPYC, every epoch in
    tests/benchmarks/keras_example_30_epochs.csv. Command:
    python -m mobilevit_core train --recipe keras-example --run runs/keras-example
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

from mobilevit_core.bundle import former_names
from mobilevit_core.bundle.rejection import FALSE_ALARMS
from mobilevit_core.data.dataset import SPLIT_SCHEMES, PhotoDataset
from mobilevit_core.errors import UserError
from mobilevit_core.images.preprocessing import RESIZE_MODES, ResizeRule
from mobilevit_core.models.image_size import check_image_size

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
    """Every value of a training run.

    Attributes:
        architecture: a key of `models.create.ARCHITECTURES`.
        variant: "xxs", "xs" or "s".
        image_size: of the finished model, pixels.
        resize_mode: how evaluation and prediction make a square, a key of
            `images.preprocessing.RESIZE_MODES`.
        crop_fraction: for center_crop.
        split_scheme: a key of `data.dataset.SPLIT_SCHEMES`.
        suspects: "keep", or "drop" for training without the photographs whose label is known to look wrong
            (`data.curation`; 154 of the 3,670 of tf_flowers).
        stages: (image size, epochs) pairs, trained one after the other.
        batch_size: photographs per step.
        optimizer: "adam" or "adamw".
        learning_rate: the highest of the schedule.
        schedule: "constant", or "cosine" down to 1 % of the highest over all stages.
        warmup_epochs: linear from zero, cosine only.
        weight_decay: adamw only; never on biases and normalization parameters.
        clip_norm: highest global norm of the gradient, 0 for no limit.
        label_smoothing: share of the target spread over all classes.
        crop: "random_resized" (random area and aspect) or "random_fixed" (squash to 35/32 of the size,
            random crop: the example's).
        crop_scale: smallest share of the photograph's area in a random_resized crop.
        whole_share: share of the training pictures that show the whole photograph in place of a crop, half
            of them squashed to the square, half between black bars.
        flip: chance that a training picture is mirrored; 0 where left and right tell classes apart.
        color: strength of brightness, contrast and saturation jitter, 0 for none.
        degrade: chance of each of: out of focus, too dark or bright, tinted, grey; 0 for none.
        mix: share of the batches that MixUp or CutMix blends.
        ema_decay: decay per step of the EMA of the weights, 0 for none. With it, validation and the
            finished model use it.
        start_share: share of the starting weights in the finished model's, 0 for none. A mean of the two
            keeps more of what the start knew (Wortsman et al. 2022, "WiSE-FT").
        distillation_weight: share of the targets that comes from teachers, where there are any.
        balance: "classes" draws all classes alike often, "none" every photograph, "auto" balances the
            classes where the largest has more than three times the photographs of the smallest.
        other_share: share of every batch that shows none of the classes, where there are such photographs;
            each of their sources has the same part of it.
        false_alarms: share of the validation split's photographs of the classes that the finished model may
            call "none of these".
        epoch_photos: photographs per epoch; 0 for as many of the classes as the training split has, and
            those of other things on top.
        crops: how many crops a teacher network is asked about; 0 for one of each photo.
        devices: "one", "all" accelerators of the machine, or those of several "machines", each with its part
            of every batch.
        keep: "last", or "best" for the epoch with the highest validation accuracy.
        seed: of initial weights, shuffling, augmentation and a folder's split.
    """

    architecture: str = "paper"
    variant: str = "xxs"
    image_size: int = 256
    resize_mode: str = "squash"
    crop_fraction: float = 1.0
    split_scheme: str = "default"
    suspects: str = "keep"
    stages: tuple[tuple[int, int], ...] = ((256, 30),)
    batch_size: int = 32
    optimizer: str = "adamw"
    learning_rate: float = 2e-3
    schedule: str = "cosine"
    warmup_epochs: float = 3
    weight_decay: float = 0.05
    clip_norm: float = 1.0
    label_smoothing: float = 0.1
    crop: str = "random_resized"
    crop_scale: float = 0.3
    whole_share: float = 0
    flip: float = 0.5
    color: float = 0.3
    degrade: float = 0
    mix: float = 0.3
    ema_decay: float = 0.998
    start_share: float = 0
    distillation_weight: float = 0.5
    balance: str = "auto"
    other_share: float = 0.3
    false_alarms: float = FALSE_ALARMS
    epoch_photos: int = 0
    crops: int = 0
    devices: str = "one"
    keep: str = "last"
    seed: int = 0

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
        for name in ("other_share", "false_alarms"):
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
        false_alarms=0.03,
    ),
    "distill": Recipe(
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
        if key in former_names.RECIPE:
            raise UserError(f"--set {key}: this value is called {former_names.RECIPE[key]} now.")
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
        f"the largest class has {dataset.unevenness:.1f} times the training photographs of the smallest, so "
        "all classes are drawn alike often (--set balance=none turns that off)"
    ]


def head_balance_notes(dataset: PhotoDataset) -> list[str]:
    """The same for a head, whose regression weighs the classes."""
    if dataset.unevenness <= UNEVEN:
        return []
    return [
        f"the largest class has {dataset.unevenness:.1f} times the photographs of the smallest, so every "
        "class counts as much as any other, not every photograph"
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
