"""Networks: one entry, `create_mobilevit`, and one table of what it can build."""

import keras
from keras import layers

from mobilevit_core.errors import UserError
from mobilevit_core.models import keras_example, mobilevit
from mobilevit_core.models.image_size import check_image_size
from mobilevit_core.models.released_weights import ReleasedWeights, open_weights
from mobilevit_core.tensorflow_setup import use_own_settings

# architecture -> (variants, function from image to logits)
ARCHITECTURES = {
    "paper": (tuple(mobilevit.VARIANTS), mobilevit.paper_logits),
    "hypercolumn": (tuple(mobilevit.VARIANTS), mobilevit.hypercolumn_logits),
    "keras_example": (keras_example.VARIANTS, keras_example.keras_example_logits),
}


def create_mobilevit(
    variant: str = "xxs",
    num_classes: int | None = 5,
    image_size: int = 256,
    architecture: str = "paper",
    weights: str | None = None,
) -> keras.Model:
    """Builds a MobileViT with fresh or released weights.

    Args:
        variant: "xxs", "xs" or "s" ("keras_example" has "xxs" only).
        num_classes: number of classes, at least 2; None for those of the weights.
        image_size: side of the square input in pixels, a multiple of 64.
        architecture: "paper", "hypercolumn" or "keras_example".
        weights: "imagenet" for those that MobileViT's authors released, a safetensors file of timm or
            Hugging Face transformers, or "hf://OWNER/NAME"; None for fresh ones. Their classifier is taken
            over where the number of classes is the same.

    Returns:
        A functional model from RGB 0..255, float32 (batch, image_size, image_size, 3), to class
        probabilities (batch, num_classes). `parts.logits_model` gives the same network before the softmax.

    Raises:
        UserError: for a value outside of the tables, an image size that the unfold does not allow, or
            weights that can't be had or belong to another network.
    """
    use_own_settings()
    check_variant(architecture, variant)
    released = _open_released(weights, architecture, variant) if weights else None
    if num_classes is None and released:
        num_classes = released.classes
    if num_classes is None:
        raise UserError("num_classes is None: only weights can tell it. Give a number, or weights.")
    if num_classes < 2:
        raise UserError(f"num_classes is {num_classes}: a classifier needs at least 2 classes.")
    check_image_size(image_size)
    image = layers.Input((image_size, image_size, 3), name="image")
    x = ARCHITECTURES[architecture][1](image, variant, num_classes)
    probabilities = layers.Softmax(name="probabilities")(x)
    model = keras.Model(image, probabilities, name=f"mobilevit_{variant}_{architecture}")
    if released:
        released.copy_to(model)
    return model


def _open_released(source: str, architecture: str, variant: str) -> ReleasedWeights:
    if architecture != "paper":
        raise UserError(f"Released weights are of the architecture 'paper', not {architecture!r}.")
    released = open_weights(source, variant)
    released.check_variant(variant)
    return released


def check_variant(architecture: str, variant: str) -> None:
    """Raises a UserError unless there is such an architecture and it has such a variant."""
    if architecture not in ARCHITECTURES:
        raise UserError(f"Unknown architecture {architecture!r}. There are: {', '.join(ARCHITECTURES)}.")
    variants, _ = ARCHITECTURES[architecture]
    if variant not in variants:
        raise UserError(
            f"Architecture {architecture!r} has no variant {variant!r}. It has: {', '.join(variants)}."
        )
