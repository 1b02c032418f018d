"""Training that starts from a bundle's weights instead of fresh ones."""

import hashlib
from dataclasses import dataclass
from typing import Any

import keras

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.provenance import Seen
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.training.recipes import Recipe

HEAD = "logits"


@dataclass(frozen=True)
class StartingWeights:
    """The weights of a bundle; the classifier is replaced unless the classes are the same.

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
    def seen(self) -> list[Seen]:
        """The photographs that the bundle has seen; empty for a bundle that does not tell."""
        return [self.bundle.seen] if self.bundle.seen else []

    def check(self, recipe: Recipe) -> None:
        """Raises a UserError unless the bundle has the recipe's network."""
        manifest = self.bundle.manifest
        has, needs = (manifest.architecture, manifest.variant), (recipe.architecture, recipe.variant)
        if has != needs:
            raise UserError(
                f"{self.bundle.folder} holds a {has[0]} {has[1]}, the recipe trains a {needs[0]} {needs[1]}. "
                f"Set the recipe's to the bundle's: --set architecture={has[0]} --set variant={has[1]}"
            )
        self.bundle.weights("keras")

    def copy_to(self, model: keras.Model, class_names: tuple[str, ...]) -> None:
        """Gives a fresh model of the same network the bundle's weights.

        Args:
            model: a model of `create_mobilevit`, of any image size and number of classes.
            class_names: of the model; where they are not the bundle's, in any order, its classifier stays
                fresh.
        """
        theirs = self.bundle.manifest.class_names
        for layer in load_keras(self.bundle.weights("keras")).layers:
            weights = layer.get_weights()
            if layer.name == HEAD and set(theirs) == set(class_names):
                order = [theirs.index(name) for name in class_names]
                weights = [weight[..., order] for weight in weights]
            if weights and (layer.name != HEAD or set(theirs) == set(class_names)):
                model.get_layer(layer.name).set_weights(weights)
