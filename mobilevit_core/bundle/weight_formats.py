"""The weight formats of a bundle: one table for export, runtimes, command line, tests, report and demo."""

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightFormat:
    """One file of weights in a bundle.

    Attributes:
        file: its name in the bundle.
        engine: "keras" or "litert", what runs it.
        title: what people read.
        holds: what is stored and computed in which numbers, for people.
        parity: smallest share of photos with Keras's top-1 at which an export is accepted.
        difference: largest difference of any probability to Keras's at which an export is accepted.
    """

    file: str
    engine: str
    title: str
    holds: str
    parity: float = 1.0
    difference: float = 1.0

    @property
    def trunk(self) -> str:
        """Name of its file without a classifier, in a bundle that heads are grafted onto."""
        return self.file.replace("model_", "trunk_")

    def differing(self, images: int) -> int:
        """How many of so many images may have another top-1: where any may, one may."""
        allowed = (1 - self.parity) * images
        return max(int(allowed + 1e-9), 1) if allowed else 0


FORMATS = {
    "keras": WeightFormat("model.keras", "keras", "Keras float32", "weights and arithmetic in float32"),
    "float32": WeightFormat(
        "model_float32.tflite",
        "litert",
        "TFLite float32",
        "weights and arithmetic in float32",
        parity=1.0,
        difference=1e-4,
    ),
    "float16": WeightFormat(
        "model_float16.tflite",
        "litert",
        "TFLite float16",
        "weights in float16, arithmetic as the device likes",
        parity=0.995,
    ),
    "dynamic_int8": WeightFormat(
        "model_dynamic_int8.tflite",
        "litert",
        "TFLite dynamic int8",
        "weights in int8, matrix products in int8 with scales found while running",
        parity=0.985,
    ),
    "int8_weights": WeightFormat(
        "model_int8_weights.tflite",
        "litert",
        "TFLite int8 weights",
        "weights in int8, arithmetic in float32",
        parity=0.985,
    ),
    "int8": WeightFormat(
        "model_int8.tflite",
        "litert",
        "TFLite int8",
        "weights and arithmetic in int8 with scales from training photos; normalization, softmax and "
        "attention products in float32",
        parity=0.97,
    ),
}


def tflite_formats() -> list[str]:
    """Names of the formats that LiteRT runs."""
    return [name for name, fmt in FORMATS.items() if fmt.engine == "litert"]
