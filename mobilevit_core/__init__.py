"""MobileViT from photographs to a phone: train, evaluate, export, measure.

    from mobilevit_core import create_mobilevit, load_classifier

Both are imported on first use: a program that only runs a .tflite file never imports TensorFlow.
"""

from typing import TYPE_CHECKING, Any

from mobilevit_core import tensorflow_setup

if TYPE_CHECKING:
    from mobilevit_core.inference.classifier import load_classifier
    from mobilevit_core.models.create import create_mobilevit

tensorflow_setup.prepare()  # here, because every entry point passes it before it imports TensorFlow

__all__ = ["create_mobilevit", "load_classifier"]


def __getattr__(name: str) -> Any:
    if name == "create_mobilevit":
        from mobilevit_core.models.create import create_mobilevit

        return create_mobilevit
    if name == "load_classifier":
        from mobilevit_core.inference.classifier import load_classifier

        return load_classifier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
