"""The two parts of every network: a backbone, from an image to features, and the classifier on them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import numpy as np

CLASSIFIER = "logits"  # the last dense layer, in the network and in every model.keras
POOL = "pool"  # the global average of the last maps, in front of it
# What a hypercolumn averages beside them: the widest maps of every stage, and those that it ends in.
HYPERCOLUMN = {
    name: f"{name}_pool"
    for name in (
        "stage2_mv2_add",
        "stage3_mv0_depthwise_silu",
        "stage3_vit_fusion_silu",
        "stage4_mv0_depthwise_silu",
        "stage4_vit_fusion_silu",
        "stage5_mv0_expand_silu",
        "stage5_mv0_depthwise_silu",
        "stage5_vit_fusion_silu",
    )
}
JOINED = "hypercolumn"  # these averages side by side
NORMALIZED = "hypercolumn_bn"
FEATURES = "features"  # the linear layer on them


def classifier(model: "keras.Model") -> "keras.layers.Dense":
    """The dense layer from features to logits."""
    return model.get_layer(CLASSIFIER)


def features(model: "keras.Model") -> "keras.KerasTensor":
    """What the classifier sees, before any dropout: (batch, features)."""
    names = {layer.name for layer in model.layers}
    return model.get_layer(FEATURES if FEATURES in names else POOL).output


def averaged(model: "keras.Model") -> "list[keras.layers.Layer]":
    """The global averages that the features are made of, in the order of the features."""
    names = {layer.name for layer in model.layers}
    return [model.get_layer(name) for name in (*HYPERCOLUMN.values(), POOL) if name in names]


def kernel_on_averages(model: "keras.Model") -> "np.ndarray":
    """The classifier's kernel as if it saw the averages themselves: (averages, classes)."""
    kernel = classifier(model).get_weights()[0]
    if FEATURES not in {layer.name for layer in model.layers}:
        return kernel
    norm = model.get_layer(NORMALIZED)
    scale, _, _, variance = norm.get_weights()
    mixed = model.get_layer(FEATURES).get_weights()[0] @ kernel
    return mixed * (scale / (variance + norm.epsilon) ** 0.5)[:, None]


def backbone(model: "keras.Model") -> "keras.Model":
    """The same network, sharing its weights, up to the features: (batch, features)."""
    import keras

    return keras.Model(model.input, classifier(model).input, name=f"{model.name}_backbone")


def logits_model(model: "keras.Model") -> "keras.Model":
    """The same network, sharing its weights, up to the logits: (batch, num_classes)."""
    import keras

    return keras.Model(model.input, classifier(model).output, name=f"{model.name}_logits")
