"""What a visitor may send to a handler, checked before Gradio or any handler looks at it."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from demo import lessons, uploads
from demo.photo_field import LessonField, PhotoField
from mobilevit_core.errors import UserError

LONGEST_TEXT = 64  # of a field; the only one takes a token


def check_all(components: Sequence[Any], values: Sequence[Any], name: str | None) -> list[Any]:
    """The values of one call, each checked by the component that it is for.

    Args:
        components: inputs of the function.
        values: as they came in; those at the end may be missing.
        name: of the function.

    Returns:
        One value for each component; what is missing or null is the component's own value.

    Raises:
        UserError: a value is of a wrong kind, or there are too many.
    """
    if len(values) > len(components):
        raise UserError(f"{name or 'This'} takes at most {len(components)} values; these are {len(values)}.")
    padded = [*values, *[None] * (len(components) - len(values))]
    return [check(component, value) for component, value in zip(components, padded, strict=True)]


def check(component: Any, value: Any) -> Any:
    """One value, checked.

    Args:
        component: what it is for.
        value: as it came in.

    Returns:
        The value, of the component's kind; a photograph's reference is written anew.

    Raises:
        UserError: it is of another kind; the sentence names the field and what it takes.
    """
    if value is None:
        return component.value
    for kind, checked in CHECKS:
        if isinstance(component, kind):
            return checked(component, value)
    raise UserError(f"{component.label or 'This field'} takes no value.")


def _photo(_: Any, value: Any) -> dict[str, Any]:
    path = uploads.admit(value)
    name = value.get("orig_name") if isinstance(value, dict) else None
    return {
        "path": str(path),
        "orig_name": name if isinstance(name, str) else path.name,
        "meta": {"_type": "gradio.FileData"},
    }


def _number(component: Any, value: Any) -> int:
    low, high = component.minimum, component.maximum
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not low <= value <= high or value != int(value):  # NaN is in no range
        raise UserError(f"{component.label} must be a whole number from {low:g} to {high:g}.")
    return int(value)


def _one_choice(component: Any, value: Any) -> str:
    known = [choice for _, choice in component.choices]
    if not isinstance(value, str) or value not in known:
        raise UserError(f"{component.label} must be chosen from: {', '.join(known)}.")
    return value


def _choices(component: Any, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise UserError(f"{component.label} must be a list of names.")
    return [_one_choice(component, name) for name in value]


def _dropdown(component: Any, value: Any) -> str | list[str]:
    return _choices(component, value) if component.multiselect else _one_choice(component, value)


def _switch(component: Any, value: Any) -> bool:
    if not isinstance(value, bool):
        raise UserError(f"{component.label} must be true or false.")
    return value


def _text(component: Any, value: Any) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise UserError(f"{component.label} must be text of at most {LONGEST_TEXT} characters.")
    return value


def _lesson(_: Any, value: Any) -> list[dict[str, Any]]:
    return lessons.admitted(value)


CHECKS: tuple[tuple[Any, Callable[[Any, Any], Any]], ...] = (
    (PhotoField, _photo),
    (LessonField, _lesson),
    (gr.Textbox, _text),
    ((gr.Number, gr.Slider), _number),
    (gr.Dropdown, _dropdown),
    (gr.CheckboxGroup, _choices),
    (gr.Checkbox, _switch),
)
