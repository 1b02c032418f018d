"""The two parts of every network: a backbone, from an image to features, and the classifier on them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

CLASSIFIER = "logits"  # the last dense layer, in the network and in every model.keras
POOL = "pool"  # the global average of the last maps, in front of it


def classifier(model: "keras.Model") -> "keras.layers.Dense":
    """The dense layer from features to logits."""
    return model.get_layer(CLASSIFIER)


def backbone(model: "keras.Model") -> "keras.Model":
    """The same network, sharing its weights, up to the features: (batch, features)."""
    import keras

    return keras.Model(model.input, classifier(model).input, name=f"{model.name}_backbone")


def logits_model(model: "keras.Model") -> "keras.Model":
    """The same network, sharing its weights, up to the logits: (batch, num_classes)."""
    import keras

    return keras.Model(model.input, classifier(model).output, name=f"{model.name}_logits")
