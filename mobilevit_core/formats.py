"""The weight formats of a bundle: one table that export, runtimes, command line, tests and demo read."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightFormat:
    """One file of weights in a bundle.

    Attributes:
        file: its name in the bundle.
        engine: "keras" or "litert", what runs it.
        title: what people read.
        agreement: smallest share of photographs with Keras's top-1 at which an export is accepted.
        difference: largest difference of any probability to Keras's at which an export is accepted.
    """

    file: str
    engine: str
    title: str
    agreement: float = 1.0
    difference: float = 1.0


FORMATS = {
    "keras": WeightFormat("model.keras", "keras", "Keras float32"),
    "float32": WeightFormat(
        "model_float32.tflite", "litert", "TFLite float32", agreement=1.0, difference=1e-4
    ),
    "dynamic_int8": WeightFormat(
        "model_dynamic_int8.tflite", "litert", "TFLite dynamic int8", agreement=0.98
    ),
}
