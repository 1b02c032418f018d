"""MobileViT from photos to a phone: train, evaluate, export, measure.

    from mobilevit_core import train, evaluate, export, create_mobilevit, fit_head, load_classifier

All are imported on first use: a program that only runs a .tflite file never imports TensorFlow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mobilevit_core import tensorflow_setup

if TYPE_CHECKING:
    from mobilevit_core.commands.evaluate import evaluate
    from mobilevit_core.commands.export import export
    from mobilevit_core.commands.publish import publish
    from mobilevit_core.commands.train import train
    from mobilevit_core.inference.classifier import load_classifier
    from mobilevit_core.models.create import create_mobilevit
    from mobilevit_core.training.head import fit_head

tensorflow_setup.prepare()  # here, because every entry point passes it before it imports TensorFlow

__all__ = ["create_mobilevit", "evaluate", "export", "fit_head", "load_classifier", "publish", "train"]

HOMES = {
    "create_mobilevit": "models.create",
    "evaluate": "commands.evaluate",
    "export": "commands.export",
    "fit_head": "training.head",
    "load_classifier": "inference.classifier",
    "publish": "commands.publish",
    "train": "commands.train",
}


def __getattr__(name: str) -> Any:
    if name in HOMES:
        return getattr(import_module(f"{__name__}.{HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
