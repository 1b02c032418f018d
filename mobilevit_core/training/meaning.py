"""Classes that an augmentation would make the same: a mirrored arrow to the left points to the right.

What tells classes apart is guessed from their names, in the languages that people have asked in most.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mobilevit_core.data.class_names import spelling_key


class Change(NamedTuple):
    """A value of the recipe that would change what classes mean.

    Attributes:
        name: of the recipe's value.
        value: with which nothing is changed.
        why: what tells the classes apart.
    """

    name: str
    value: float
    why: str


# Words for what tells classes apart; those of one set exclude each other.
LEFT_RIGHT = (
    {"left", "right"},
    {"l", "r"},
    {"links", "rechts"},
    {"linke", "rechte"},
    {"gauche", "droite"},
    {"izquierda", "derecha"},
    {"esquerda", "direita"},
    {"sinistra", "destra"},
    {"lewo", "prawo"},
    {"лево", "право"},
    {"左", "右"},
    {"b", "d"},
    {"p", "q"},
    {"clockwise", "counterclockwise"},
    {"clockwise", "anticlockwise"},
)
COLOURS = (
    {"red", "green", "blue", "yellow", "orange", "purple", "pink", "brown", "black", "white", "grey", "gray"},
    {"rot", "grün", "blau", "gelb", "schwarz", "weiß", "braun"},
    {"rouge", "vert", "bleu", "jaune", "noir", "blanc"},
    {"rojo", "verde", "azul", "amarillo", "negro", "blanco"},
    {"红", "绿", "蓝", "黄", "黑", "白"},
    {"ripe", "unripe", "overripe", "raw", "rotten"},
    {"reif", "unreif"},
    {"bright", "dark"},
    {"day", "night"},
)
SHARPNESS = ({"sharp", "blurred", "blurry", "unsharp"}, {"scharf", "unscharf"}, {"focused", "unfocused"})
MEANINGS = (
    (LEFT_RIGHT, (Change("flip", 0, "left or right"),)),
    (COLOURS, (Change("color", 0, "colour or brightness"), Change("degrade", 0, "colour or brightness"))),
    (SHARPNESS, (Change("degrade", 0, "sharpness"),)),
)


def changed_meanings(class_names: Sequence[str]) -> list[tuple[str, Change]]:
    """What the recipe should leave alone, with the pair of classes that says so, quoted; one per value."""
    told: dict[str, tuple[str, Change]] = {}
    for sets, changes in MEANINGS:
        pair = _opposites(class_names, sets)
        if pair:
            told |= {change.name: (" and ".join(map(repr, pair)), change) for change in changes}
    return list(told.values())


def _opposites(class_names: Sequence[str], sets: Sequence[set[str]]) -> tuple[str, str] | None:
    """Two names that are the same but for words that exclude each other."""
    seen: dict[tuple[int, tuple[str, ...]], tuple[str, str]] = {}
    for name in class_names:
        words = [word for word in re.split(r"[\W\d_]+", spelling_key(name).casefold()) if word]
        for number, opposites in enumerate(sets):
            own = [word for word in words if word in opposites]
            if len(own) != 1:
                continue
            key = (number, tuple("" if word in opposites else word for word in words))
            first, word = seen.setdefault(key, (name, own[0]))
            if word != own[0]:
                return first, name
    return None
