"""What can be the name of a class: it becomes a line of labels.txt, a key of JSON and text on a page."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from mobilevit_core.errors import UserError

FEWEST_CLASSES, MOST_CLASSES = 2, 100_000
LONGEST_DATA_NAME = 1024  # characters of a data set's folder or name
SPACES = " \N{NO-BREAK SPACE}\N{IDEOGRAPHIC SPACE}"
LONGEST = 255  # characters; no file system has longer folder names
# Unicode categories: control characters and line ends break labels.txt, lone surrogates are no UTF-8.
UNWRITABLE = ("Cc", "Cs", "Zl", "Zp")
# What turns the letters around it about, so that a name reads as another one.
REORDERING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
SEEN = ("L", "N", "P", "S")  # of these a name needs one, and none of these five, which look like nothing:
INVISIBLE = "\u115f\u1160\u2800\u3164\uffa0"


def clean_name(name: str) -> str:
    """A class name as it is stored: composed letters (NFC; a Mac decomposes them), no spaces around it."""
    return unicodedata.normalize("NFC", name).strip(SPACES)


def spelling_key(name: str) -> str:
    """What the spellings of one class name have in common.

    Upper and lower case, spaces, hyphens and underscores make no difference, but for single letters: "a" and
    "A" may well be two classes.
    """
    name = clean_name(name)
    return name if len(name) == 1 else " ".join(re.split(r"[\s_-]+", name.casefold()))


def check_class_names(names: Sequence[str], fewest: int = FEWEST_CLASSES) -> None:
    """Makes sure that names of classes can be written and told apart.

    Args:
        names: of the classes.
        fewest: how many there must be; one is enough to measure on.

    Raises:
        UserError: too few, a name twice, or one that is empty, too long or not printable text; the
            message names it.
    """
    if not fewest <= len(names) <= MOST_CLASSES:
        raise UserError(f"There are {len(names)} class names: there must be {fewest} to {MOST_CLASSES:,}.")
    for name in names:
        if not name.strip():
            raise UserError("A class name is empty.")
        if not any(unicodedata.category(c)[0] in SEEN and c not in INVISIBLE for c in name):
            raise UserError(f"The class name {ascii(name[:20])} has nothing that can be seen. Rename it.")
        if len(name) > LONGEST:
            raise UserError(f"The class name {name[:40]!r}... is too long: {LONGEST} characters at most.")
        if any(unicodedata.category(c) in UNWRITABLE or c in REORDERING for c in name):
            raise UserError(f"The class name {name[:60]!r} has a character that can't be printed. Rename it.")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"The class name {name[:60]!r} appears {count} times.")
