"""The network of the keras.io example "MobileViT: A mobile-friendly Transformer-based model".

Kept as published, as the baseline of this project. It differs from the paper's network in a dozen
points; the one that matters most: its attention runs over all pixels of the map, not inside four groups
(Keras's MultiHeadAttention on a 4-D input attends over both middle axes), at four times the cost.
"""

import keras
from keras import KerasTensor, layers

from mobilevit_core.models.parts import CLASSIFIER, POOL

VARIANTS = ("xxs",)
EXPANSION = 2
DROPOUT = 0.1


def keras_example_logits(image: KerasTensor, variant: str, num_classes: int) -> KerasTensor:
    """The network from pixels to logits.

    Args:
        image: RGB 0..255 (B, size, size, 3).
        variant: "xxs", the only one published.
        num_classes: width of the classifier.

    Returns:
        Logits (B, num_classes); the example itself puts a softmax on the same layer.
    """
    assert variant in VARIANTS
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    x = _conv(x, 16, 3, stride=2, name="stem")
    x = _inverted_residual(x, hidden=16 * EXPANSION, filters=16, name="stage1_mv0")
    x = _inverted_residual(x, hidden=16 * EXPANSION, filters=24, stride=2, name="stage2_mv0")
    x = _inverted_residual(x, hidden=24 * EXPANSION, filters=24, name="stage2_mv1")
    x = _inverted_residual(x, hidden=24 * EXPANSION, filters=24, name="stage2_mv2")
    x = _inverted_residual(x, hidden=24 * EXPANSION, filters=48, stride=2, name="stage3_mv0")
    x = _mobilevit_block(x, depth=2, dim=64, name="stage3_vit")
    x = _inverted_residual(x, hidden=64 * EXPANSION, filters=64, stride=2, name="stage4_mv0")
    x = _mobilevit_block(x, depth=4, dim=80, name="stage4_vit")
    x = _inverted_residual(x, hidden=80 * EXPANSION, filters=80, stride=2, name="stage5_mv0")
    x = _mobilevit_block(x, depth=3, dim=96, name="stage5_vit")
    x = _conv(x, 320, 1, name="last")
    x = layers.GlobalAveragePooling2D(name=POOL)(x)
    return layers.Dense(num_classes, name=CLASSIFIER)(x)


def _conv(x: KerasTensor, filters: int, kernel_size: int, *, name: str, stride: int = 1) -> KerasTensor:
    """Convolution with bias and swish, no normalization."""
    return layers.Conv2D(filters, kernel_size, stride, "same", activation="swish", name=name)(x)


def _inverted_residual(
    x: KerasTensor, *, hidden: int, filters: int, name: str, stride: int = 1
) -> KerasTensor:
    """MobileNetV2's block with Keras's default BatchNorm and the (0, 1) padding of an even map."""
    y = layers.Conv2D(hidden, 1, padding="same", use_bias=False, name=f"{name}_expand")(x)
    y = layers.BatchNormalization(name=f"{name}_expand_bn")(y)
    y = layers.Activation("swish", name=f"{name}_expand_swish")(y)
    if stride == 2:
        y = layers.ZeroPadding2D(((0, 1), (0, 1)), name=f"{name}_pad")(y)
    padding = "same" if stride == 1 else "valid"
    y = layers.DepthwiseConv2D(3, stride, padding, use_bias=False, name=f"{name}_depthwise")(y)
    y = layers.BatchNormalization(name=f"{name}_depthwise_bn")(y)
    y = layers.Activation("swish", name=f"{name}_depthwise_swish")(y)
    y = layers.Conv2D(filters, 1, padding="same", use_bias=False, name=f"{name}_reduce")(y)
    y = layers.BatchNormalization(name=f"{name}_reduce_bn")(y)
    if stride == 1 and x.shape[-1] == filters:
        return layers.Add(name=f"{name}_add")([x, y])
    return y


def _mobilevit_block(x: KerasTensor, *, depth: int, dim: int, name: str) -> KerasTensor:
    """Local convolutions (C -> d), transformer layers, projection back to C, fusion to d channels."""
    height, width, channels = x.shape[1:]
    y = _conv(x, dim, 3, name=f"{name}_local")
    y = _conv(y, dim, 1, name=f"{name}_project_in")
    # The example's "unfold": four horizontal bands. Attention then runs over both middle axes.
    y = layers.Reshape((4, height * width // 4, dim), name=f"{name}_unfold")(y)
    for index in range(depth):
        y = _transformer_layer(y, dim, name=f"{name}_transformer{index}")
    y = layers.Reshape((height, width, dim), name=f"{name}_fold")(y)
    y = _conv(y, channels, 1, name=f"{name}_project_out")
    y = layers.Concatenate(name=f"{name}_concat")([x, y])
    return _conv(y, dim, 3, name=f"{name}_fusion")


def _transformer_layer(x: KerasTensor, dim: int, *, name: str) -> KerasTensor:
    """Pre-norm layer with two heads of the full width and swish on both Dense layers of the FFN."""
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_attention_norm")(x)
    attention = layers.MultiHeadAttention(num_heads=2, key_dim=dim, dropout=DROPOUT, name=f"{name}_attention")
    x = layers.Add(name=f"{name}_attention_add")([x, attention(y, y)])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_ffn_norm")(x)
    for index, units in enumerate((2 * dim, dim)):
        y = layers.Dense(units, activation=keras.activations.swish, name=f"{name}_ffn{index}")(y)
        y = layers.Dropout(DROPOUT, name=f"{name}_ffn{index}_drop")(y)
    return layers.Add(name=f"{name}_ffn_add")([x, y])
