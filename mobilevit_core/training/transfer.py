"""Training that starts from other weights: a bundle's, or those that MobileViT's authors released."""

import hashlib
import os
import threading
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.files import MANIFEST
from mobilevit_core.data.dataset import NONE_OF_THESE
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.models.parts import CLASSIFIER
from mobilevit_core.models.released_weights import IMAGENET, ReleasedWeights, is_released, open_weights
from mobilevit_core.training.recipes import Recipe

if TYPE_CHECKING:
    import keras

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 20.0  # to wait for the released weights, 5 to 22 MB
GENERAL = "general"  # for --weights: the weights that come with the package
GENERAL_FOLDER = ROOT / "weights" / GENERAL
FLOWERS = ROOT.parent / "demo" / "weights"  # beside the package in a checkout, not in an installation
# What a training starts from by itself: the first of these that is there and has the wanted network.
DEFAULT_START = {GENERAL: GENERAL_FOLDER, "flowers": FLOWERS}


class Start(Protocol):
    """What a training can start from."""

    @property
    def provenance(self) -> list[Provenance]:
        """The photos that went into the weights, where they are known."""

    def describe(self) -> dict[str, Any]:
        """Where the weights come from, as the manifest records it."""

    def check(self, recipe: Recipe) -> None:
        """Raises a UserError unless these are weights of the recipe's network."""

    def copy_to(self, model: "keras.Model", class_names: tuple[str, ...]) -> bool:
        """Gives a fresh model of the same backbone these weights; whether they include its classifier."""


def packaged(source: str) -> str:
    """The folder of "general", the weights that come with the package; anything else as it is.

    Raises:
        UserError: they are not installed.
    """
    if source != GENERAL:
        return source
    if not (GENERAL_FOLDER / MANIFEST).is_file():
        raise UserError(
            f"The general weights are not installed: there is no bundle in {GENERAL_FOLDER}. Start from "
            "--weights imagenet, from a bundle such as --weights demo/weights, or from --weights fresh."
        )
    return str(GENERAL_FOLDER)


def default_start(architecture: str, variant: str) -> str | Path | None:
    """What a training of this network starts from by itself.

    Returns:
        `GENERAL`, the folder of the flower weights, or None where neither is there or both are of another
        network.
    """
    for name, folder in DEFAULT_START.items():
        if (folder / MANIFEST).is_file():
            manifest = open_bundle(folder).manifest
            if manifest.variant == variant and shares_backbone(manifest.architecture, architecture):
                return name if name == GENERAL else folder
    return None


def architecture_of(source: str) -> str | None:
    """The architecture of the bundle that `--weights` names; None for anything else."""
    folder = Path(packaged(source))
    is_bundle = not is_released(source) and (folder / MANIFEST).is_file()
    return open_bundle(folder).manifest.architecture if is_bundle else None


def shares_backbone(one: str, other: str) -> bool:
    """Whether weights of one architecture can start the other, but for the classifier."""
    return one == other or {one, other} == {"paper", "hypercolumn"}


def imagenet_problem(variant: str) -> str | None:
    """Makes sure that the released ImageNet weights are here, downloaded once if need be.

    Args:
        variant: of the network.

    Returns:
        None where they are; else why they can't be had, in a few words.
    """
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
        return "HF_HUB_OFFLINE is set"
    missing = [name for name in ("tensorflow", "huggingface_hub", "safetensors") if not find_spec(name)]
    if missing:
        return f"{missing[0]} is not installed"
    problem: list[str | None] = [f"the Hugging Face Hub did not answer within {MOST_SECONDS:.0f} s"]

    def fetch() -> None:
        try:
            open_weights(IMAGENET, variant)
            problem[0] = None
        except UserError:
            problem[0] = "they are not in the cache, and the Hugging Face Hub can't be reached"

    # huggingface_hub tries again and again; a thread can be left behind.
    thread = threading.Thread(target=fetch, daemon=True)
    thread.start()
    thread.join(MOST_SECONDS)
    return problem[0]


def open_start(source: str, variant: str) -> Start:
    """Opens what `--weights` names.

    Args:
        source: a bundle's folder, "general", or what `released_weights.open_weights` takes: "imagenet",
            "hf://OWNER/NAME" or a safetensors file.
        variant: of the network to be trained; decides which weights "imagenet" are.

    Raises:
        UserError: there is nothing of that kind, or it can't be read or downloaded.
    """
    source = packaged(source)
    if is_released(source):
        return ReleasedStart(open_weights(source, variant))
    return StartingWeights(open_bundle(Path(source)))


@dataclass(frozen=True)
class ReleasedStart:
    """Weights of `released_weights`; their classifier is always replaced, its classes have no names."""

    weights: ReleasedWeights

    @property
    def provenance(self) -> list[Provenance]:
        """Nothing is known of the photos one by one."""
        return []

    def describe(self) -> dict[str, Any]:
        """File, publisher, preprocessing and licence."""
        return self.weights.describe()

    def check(self, recipe: Recipe) -> None:
        """Raises a UserError unless the file has the recipe's network."""
        if not shares_backbone("paper", recipe.architecture):
            raise UserError(
                f"{self.weights.source} holds a paper network, the recipe trains a {recipe.architecture}. "
                "Add --set architecture=paper, or leave out --weights."
            )
        if recipe.variant != self.weights.variant:
            raise UserError(
                f"{self.weights.source} holds the variant {self.weights.variant}, the recipe trains "
                f"{recipe.variant}. Add --set variant={self.weights.variant}"
            )

    def copy_to(self, model: "keras.Model", class_names: tuple[str, ...]) -> bool:
        """Gives a fresh model of the same variant all weights but the classifier's.

        Args:
            model: a model of `create_mobilevit`, of any image size and number of classes.
            class_names: not needed: the classifier stays fresh in any case, its classes have no names.
        """
        self.weights.copy_to(model, head=False)
        return False


@dataclass(frozen=True)
class StartingWeights:
    """The weights of a bundle; the classifier is replaced unless its classes are all wanted.

    Args:
        bundle: an opened bundle with Keras weights.
    """

    bundle: Bundle

    def describe(self) -> dict[str, Any]:
        """What the weights have seen: data, recipe, and in turn what they started from."""
        manifest = self.bundle.manifest
        content = self.bundle.weights("keras").read_bytes()
        return {
            "weights_sha256": hashlib.sha256(content).hexdigest(),
            "data": manifest.data,
            "classes": len(manifest.class_names),
            "recipe": manifest.recipe,
            "start": manifest.start,
        }

    @property
    def provenance(self) -> list[Provenance]:
        """The photos that the bundle has seen; empty for a bundle that does not tell."""
        return [self.bundle.provenance] if self.bundle.provenance else []

    def check(self, recipe: Recipe) -> None:
        """Raises a UserError unless the bundle has the recipe's network."""
        manifest = self.bundle.manifest
        has, needs = (manifest.architecture, manifest.variant), (recipe.architecture, recipe.variant)
        if has[1] != needs[1] or not shares_backbone(has[0], needs[0]):
            raise UserError(
                f"{self.bundle.folder} holds a {has[0]} {has[1]}, the recipe trains a {needs[0]} {needs[1]}. "
                f"Set the recipe's to the bundle's: --set architecture={has[0]} --set variant={has[1]}"
            )
        self.bundle.weights("keras")

    def copy_to(self, model: "keras.Model", class_names: tuple[str, ...]) -> bool:
        """Gives a fresh model of the same backbone the bundle's weights.

        Args:
            model: a model of `create_mobilevit`, of any image size and number of classes.
            class_names: of the model. Its classifier keeps what the bundle knows of them where all of the
                bundle's classes are among them and it sees the same features, and else stays fresh.

        Returns:
            Whether the model's classes are those of the bundle, in any order, and its classifier knows
            them; "none of these" may be new to it.
        """
        theirs, own = self.bundle.manifest.class_names, {layer.name: layer for layer in model.layers}
        saved = {layer.name: layer.get_weights() for layer in load_keras(self.bundle.weights("keras")).layers}
        kernel_and_bias = saved.pop(CLASSIFIER)
        for name, weights in saved.items():
            if name in own:  # the averages of a hypercolumn are not in every network
                own[name].set_weights(weights)
        if saved.keys() != own.keys() - {CLASSIFIER} or not set(theirs) <= set(class_names):
            return False
        places, fresh = [class_names.index(name) for name in theirs], own[CLASSIFIER].get_weights()
        for new, old in zip(fresh, kernel_and_bias, strict=True):
            new[..., places] = old
        own[CLASSIFIER].set_weights(fresh)
        return set(class_names) - {NONE_OF_THESE} <= set(theirs)
