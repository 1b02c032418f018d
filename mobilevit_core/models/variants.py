"""The members of the family and what differs between them; without Keras, which takes seconds to load."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """What differs between the members of the family.

    Attributes:
        expansion: hidden width of every inverted residual over its input width.
        channels: output channels of stages 1 to 5 (the stem always has 16).
        dims: transformer width in stages 3, 4, 5.
        dropout: rate after the attention's output and after the FFN.
    """

    expansion: int
    channels: tuple[int, int, int, int, int]
    dims: tuple[int, int, int]
    dropout: float


VARIANTS = {
    "xxs": Variant(expansion=2, channels=(16, 24, 48, 64, 80), dims=(64, 80, 96), dropout=0.05),
    "xs": Variant(expansion=4, channels=(32, 48, 64, 80, 96), dims=(96, 120, 144), dropout=0.1),
    "s": Variant(expansion=4, channels=(32, 64, 96, 128, 160), dims=(144, 192, 240), dropout=0.1),
}

DEPTHS = (2, 4, 3)  # transformer layers in stages 3, 4, 5
