"""MobileViT v1 as its authors released it (Mehta and Rastegari, ICLR 2022; apple/ml-cvnets)."""

import keras
from keras import KerasTensor, layers

from mobilevit_core.models.blocks import conv_layer, inverted_residual, mobilevit_block
from mobilevit_core.models.parts import CLASSIFIER, FEATURES, HYPERCOLUMN, JOINED, NORMALIZED, POOL
from mobilevit_core.models.variants import DEPTHS, VARIANTS

STEM_CHANNELS = 16
HEADS = 4
CLASSIFIER_DROPOUT = 0.1


def paper_logits(image: KerasTensor, variant: str, num_classes: int) -> KerasTensor:
    """The network from pixels to logits.

    Args:
        image: RGB 0..255 (B, size, size, 3).
        variant: a key of `VARIANTS`.
        num_classes: width of the classifier.

    Returns:
        Logits (B, num_classes).
    """
    x = layers.GlobalAveragePooling2D(name=POOL)(_last_maps(image, variant))
    x = layers.Dropout(CLASSIFIER_DROPOUT, name="classifier_drop")(x)
    return _classifier(num_classes)(x)


def hypercolumn_logits(image: KerasTensor, variant: str, num_classes: int) -> KerasTensor:
    """The same network with a classifier that knows of the maps of all stages.

    Early maps hold what the last ones have given up, such as surfaces: a classifier that is fitted to few
    photos of new classes is right more often with both (Hariharan et al. 2015, "Hypercolumns"). A linear
    layer makes them as few features as the paper's network has.

    Args:
        image: see `paper_logits`.
        variant: see `paper_logits`.
        num_classes: see `paper_logits`.

    Returns:
        See `paper_logits`.
    """
    last = _last_maps(image, variant)
    network = keras.Model(image, last)
    maps = {pool: network.get_layer(name).output for name, pool in HYPERCOLUMN.items()} | {POOL: last}
    averages = [layers.GlobalAveragePooling2D(name=pool)(x) for pool, x in maps.items()]
    x = layers.Concatenate(name=JOINED)(averages)
    x = layers.BatchNormalization(epsilon=1e-5, name=NORMALIZED)(x)
    x = layers.Dense(last.shape[-1], use_bias=False, name=FEATURES)(x)
    return _classifier(num_classes)(x)


def _last_maps(image: KerasTensor, variant: str) -> KerasTensor:
    spec = VARIANTS[variant]
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    x = conv_layer(x, STEM_CHANNELS, 3, stride=2, name="stem")  # size/2
    x = inverted_residual(x, spec.channels[0], expansion=spec.expansion, name="stage1_mv0")
    for index in range(3):  # size/4
        x = inverted_residual(
            x,
            spec.channels[1],
            expansion=spec.expansion,
            stride=2 if index == 0 else 1,
            name=f"stage2_mv{index}",
        )
    stages = zip((3, 4, 5), spec.channels[2:], spec.dims, DEPTHS, strict=True)
    for stage, channels, dim, depth in stages:  # size/8, size/16, size/32
        x = inverted_residual(x, channels, expansion=spec.expansion, stride=2, name=f"stage{stage}_mv0")
        x = mobilevit_block(
            x, dim=dim, depth=depth, heads=HEADS, dropout=spec.dropout, name=f"stage{stage}_vit"
        )
    return conv_layer(x, min(4 * spec.channels[4], 960), 1, name="last")


def _classifier(num_classes: int) -> layers.Dense:
    # The authors' initial classifier: a small normal, so that training starts at even odds.
    initial = keras.initializers.TruncatedNormal(stddev=0.02)
    return layers.Dense(num_classes, kernel_initializer=initial, name=CLASSIFIER)
