"""A network that tests need not wait for, and a conversion to one format alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import pytest
from keras import KerasTensor, layers

from mobilevit_core.conversion import tflite as conversion
from mobilevit_core.models.blocks import conv_layer, inverted_residual, mobilevit_block
from mobilevit_core.models.create import ARCHITECTURES


def tiny_logits(image: KerasTensor, variant: str, num_classes: int) -> KerasTensor:
    """Every kind of layer that MobileViT has, once or twice, under its names."""
    x = layers.GlobalAveragePooling2D(name="pool")(_tiny_maps(image))
    x = layers.Dropout(0.1, name="classifier_drop")(x)
    return _tiny_classifier(num_classes)(x)


def tiny_hypercolumn_logits(image: KerasTensor, variant: str, num_classes: int) -> KerasTensor:
    """The same with a hypercolumn of the last maps alone."""
    x = layers.GlobalAveragePooling2D(name="pool")(_tiny_maps(image))
    x = layers.BatchNormalization(epsilon=1e-5, name="hypercolumn_bn")(x)
    x = layers.Dense(32, use_bias=False, name="features")(x)
    return _tiny_classifier(num_classes)(x)


def _tiny_maps(image: KerasTensor) -> KerasTensor:
    """Few sizes of maps occur: the fused layers are compiled for each."""
    x = layers.Rescaling(1 / 255, name="rescaling")(image)
    x = conv_layer(x, 16, 3, stride=2, name="stem")
    x = inverted_residual(x, 16, expansion=2, stride=2, name="stage1_mv0")
    x = inverted_residual(x, 16, expansion=2, name="stage2_mv0")  # with a skip connection
    x = inverted_residual(x, 32, expansion=2, stride=2, name="stage3_mv0")
    x = mobilevit_block(x, dim=32, depth=1, heads=4, dropout=0.05, name="stage3_vit")
    return conv_layer(x, 96, 1, name="last")


def _tiny_classifier(num_classes: int) -> layers.Dense:
    initial = keras.initializers.TruncatedNormal(stddev=0.02)
    return layers.Dense(num_classes, kernel_initializer=initial, name="logits")


@contextmanager
def tiny_networks() -> Iterator[None]:
    """Whatever is created of the paper's network or of the hypercolumn on it is a tiny one.

    For tests of all that is around it. Creating, training and converting take a fifth of the time: it depends
    on the number of layers, not on their widths.
    """
    variants, _ = ARCHITECTURES["paper"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ARCHITECTURES, "paper", (variants, tiny_logits))
        patch.setitem(ARCHITECTURES, "hypercolumn", (variants, tiny_hypercolumn_logits))
        yield


@contextmanager
def float32_alone() -> Iterator[None]:
    """Bundles get one .tflite file, for tests that ask no other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conversion, "TENSORFLOW", {"float32": conversion.TENSORFLOW["float32"]})
        patch.setattr(conversion, "QUANTIZER", {})
        yield
