"""Targets from finished models: a training picture's label is blended with what its teachers say of it."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.training.transfer import StartingWeights


class Teachers:
    """Finished models of the same classes.

    The teachers see the very pictures that the network is trained on, augmented and blended as they are,
    at the training's image size (Beyer et al. 2022, "consistent teaching").

    Args:
        bundles: opened bundles with Keras weights; of any variants.
        class_names: of the network that is trained, in its order.

    Raises:
        UserError: a teacher has other classes, or no Keras weights.
    """

    def __init__(self, bundles: Sequence[Bundle], class_names: tuple[str, ...]) -> None:
        self._bundles, self._class_names = bundles, class_names
        for bundle in bundles:
            bundle.weights("keras")
            if set(bundle.manifest.class_names) != set(class_names):
                raise UserError(
                    f"The teacher {bundle.folder} knows {', '.join(bundle.manifest.class_names)}; "
                    f"it must know what is trained: {', '.join(class_names)}."
                )

    def describe(self) -> list[dict[str, Any]]:
        """What the teachers have seen, for the run folder and the bundle."""
        return [StartingWeights(bundle).describe() for bundle in self._bundles]

    @property
    def provenance(self) -> list[Provenance]:
        """The photographs that the teachers have seen."""
        return [bundle.provenance for bundle in self._bundles if bundle.provenance]

    def blend(self, batches: tf.data.Dataset, image_size: int, share: float) -> tf.data.Dataset:
        """Replaces a share of the labels by the mean of the teachers' probabilities.

        Args:
            batches: images (batch, size, size, 3) and labels (batch, classes).
            image_size: of the images.
            share: of the target that comes from the teachers, 0..1.
        """
        networks = []
        for bundle in self._bundles:
            manifest = bundle.manifest
            network = create_mobilevit(
                manifest.variant, len(self._class_names), image_size, manifest.architecture
            )
            StartingWeights(bundle).copy_to(network, manifest.class_names)
            order = [manifest.class_names.index(name) for name in self._class_names]
            networks.append((network, order))

        def blended(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            answers = [tf.gather(network(images), order, axis=1) for network, order in networks]
            return images, (1 - share) * labels + share * tf.add_n(answers) / len(answers)

        return batches.map(blended).prefetch(2)
