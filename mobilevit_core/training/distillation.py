"""Targets from finished models: a training image's label is blended with what its teachers say of it.

A teacher need not know the class "none of these": it then speaks only of the part of an image that shows
one of the classes.
"""

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.errors import UserError
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.training.transfer import StartingWeights


class Teachers:
    """Finished models of the same classes, "none of these" aside.

    The teachers see the very images that the network is trained on, augmented and blended as they are,
    at the training's image size (Beyer et al. 2022, "consistent teaching").

    Args:
        bundles: opened bundles with Keras weights; of any variants.
        class_names: of the network that is trained, in its order.
        other: which of them is "none of these"; None where there is no such class.

    Raises:
        UserError: a teacher has other classes, or no Keras weights.
    """

    def __init__(
        self, bundles: Sequence[Bundle], class_names: tuple[str, ...], other: int | None = None
    ) -> None:
        self._bundles, self._class_names, self._other = bundles, class_names, other
        wanted = set(class_names)
        without_other = wanted - {class_names[other]} if other is not None else wanted
        for bundle in bundles:
            bundle.weights("keras")
            if set(bundle.manifest.class_names) not in (wanted, without_other):
                raise UserError(
                    f"The teacher {bundle.folder} knows {', '.join(bundle.manifest.class_names)}; "
                    f"it must know what is trained: {', '.join(class_names)}."
                )

    def describe(self) -> list[dict[str, Any]]:
        """What the teachers have seen, for the run folder and the bundle."""
        return [StartingWeights(bundle).describe() for bundle in self._bundles]

    @property
    def provenance(self) -> list[Provenance]:
        """The photos that the teachers have seen."""
        return [bundle.provenance for bundle in self._bundles if bundle.provenance]

    def blend(self, batches: tf.data.Dataset, image_size: int, share: float) -> tf.data.Dataset:
        """Replaces a share of the labels by the mean of the teachers' probabilities.

        Args:
            batches: images (batch, size, size, 3) and labels (batch, classes).
            image_size: of the images.
            share: of the target that comes from the teachers, 0..1.
        """
        networks = [(bundle, self._network(bundle, image_size)) for bundle in self._bundles]

        def blended(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            answers = [self._answer(bundle, network(images), labels) for bundle, network in networks]
            return images, (1 - share) * labels + share * tf.add_n(answers) / len(answers)

        return batches.map(blended).prefetch(2)

    def _network(self, bundle: Bundle, image_size: int) -> keras.Model:
        """The teacher for images of this size, with its own classes in its own order."""
        manifest = bundle.manifest
        classes = len(manifest.class_names)
        network = create_mobilevit(manifest.variant, classes, image_size, manifest.architecture)
        StartingWeights(bundle).copy_to(network, manifest.class_names)
        return network

    def _answer(self, bundle: Bundle, probabilities: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """A teacher's answer for a batch, (batch, classes) in the order of the network that is trained."""
        theirs = bundle.manifest.class_names
        unknown = len(theirs)  # a column of zeros for a class that the teacher does not know
        order = [theirs.index(name) if name in theirs else unknown for name in self._class_names]
        answer = tf.gather(tf.pad(probabilities, [[0, 0], [0, 1]]), order, axis=1)
        if unknown not in order:
            return answer
        none = labels[:, self._other, None]
        return (1 - none) * answer + none * tf.one_hot(self._other, len(self._class_names))
