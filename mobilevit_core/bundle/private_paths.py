"""A bundle is passed on, so it names the folders of whoever trained it by their last name alone."""

import os
import re
from collections.abc import Iterator
from typing import Any

ABSOLUTE = re.compile(r"(?:[/\\~]|\.\.?[/\\]|[A-Za-z]:[/\\])")
NAMING = ("name", "data", "leave_out", "source")  # keys whose text may be a folder


def is_path(text: str) -> bool:
    """Whether a data set's name is a place on this machine and not a name of a catalogue."""
    return bool(ABSOLUTE.match(text)) or (os.sep in text and os.path.exists(text))


def last_name(text: str) -> str:
    """A folder's or a file's own name, without where it lies; any other name as it is."""
    return re.split(r"[/\\]", text.rstrip("/\\"))[-1] or "photos" if is_path(text) else text


def without_paths(value: Any) -> Any:
    """The same JSON with every folder called by its last name, inside of sentences, too.

    Args:
        value: what a manifest records of its data and of where its weights come from.
    """
    places = sorted({text for text in _named(value) if is_path(text)}, key=len, reverse=True)
    return _replaced(value, {place: last_name(place) for place in places}) if places else value


def _named(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key in NAMING and isinstance(item, str):
                yield item
            yield from _named(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _named(item)


def _replaced(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        for place, name in names.items():
            value = value.replace(place, name)
        return value
    if isinstance(value, dict):
        return {key: _replaced(item, names) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(item, names) for item in value]
    return value
