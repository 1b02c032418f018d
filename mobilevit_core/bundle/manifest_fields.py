"""The types of the manifest's fields: what each may hold, declared for pydantic.

Sections that are recorded and handed on as they are (`recipe`, `data`, `metrics`, ...) stay dictionaries;
only the keys that this program reads are declared, others are allowed.
"""

import re
import unicodedata
from collections.abc import Callable
from typing import Annotated, Any, NotRequired

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, WrapValidator
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from mobilevit_core.bundle.rejection import Share
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.data.class_names import LONGEST_DATA_NAME, check_class_names
from mobilevit_core.errors import UserError
from mobilevit_core.images.preprocessing import ResizeRule
from mobilevit_core.models.image_size import check_image_size

LONGEST_TEXT = 10_000  # a note may name a file by its whole path
LONGEST_LABEL = 64
WEB_ADDRESS = re.compile(r"https?://[\w.~:/?#@!$&*+,;=%-]{1,1000}", re.ASCII)  # it becomes a link on a page
SECTION = ConfigDict(extra="allow")


def _text(value: Any) -> str:
    # Not pydantic's own string, which refuses the lone surrogates of a file name that is not UTF-8.
    if not isinstance(value, str):
        raise ValueError("it must be text")
    if len(value) > LONGEST_TEXT:
        raise ValueError(f"it must have at most {LONGEST_TEXT} characters")
    return value


def _data_name(value: Any) -> str:
    text = _text(value)
    if not 1 <= len(text) <= LONGEST_DATA_NAME:
        raise ValueError(f"it must be 1 to {LONGEST_DATA_NAME} characters")
    return text


def _label(value: Any) -> str:
    text = _text(value)
    if not 1 <= len(text) <= LONGEST_LABEL or any(unicodedata.category(c)[0] == "C" for c in text):
        raise ValueError(f"it must be 1 to {LONGEST_LABEL} printable characters")
    return text


def _web_address(value: Any) -> str:
    text = _text(value)
    if not WEB_ADDRESS.fullmatch(text):
        raise ValueError("it must be a web address")
    return text


def _as_it_was(value: Any, check: Callable[[Any], Any]) -> Any:
    """Checks a section and leaves it alone: pydantic would sort its keys and turn 1 into 1.0."""
    check(value)
    return value


def _resize_rule(value: Any, read: Callable[[Any], ResizeRule]) -> ResizeRule:
    if isinstance(value, dict):
        for key in ("image_size", "crop_fraction"):
            if isinstance(value.get(key), str | bool):  # pydantic would take "192" and true for numbers
                raise ValueError(f"its {key} must be a number")
    try:
        rule = read(value)
        check_image_size(rule.image_size)
    except UserError as error:
        raise ValueError(str(error)) from None
    return rule


def _class_names(names: tuple[str, ...]) -> tuple[str, ...]:
    try:
        check_class_names(names)
    except UserError as error:
        raise ValueError(str(error)) from None
    return names


Text = Annotated[str, PlainValidator(_text)]
DataName = Annotated[str, PlainValidator(_data_name)]
Label = Annotated[str, PlainValidator(_label)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$", strict=True)]
Count = Annotated[int, Field(ge=0, le=10**12, strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
AsItWas = WrapValidator(_as_it_was)
ClassNames = Annotated[tuple[Text, ...], AfterValidator(_class_names)]
InputRule = Annotated[ResizeRule, WrapValidator(_resize_rule)]


@dataclass(frozen=True)
class WeightFile:
    """One file of weights as the bundle was written with it.

    Attributes:
        file: its name in the bundle.
        sha256: of its content, hexadecimal.
        bytes: its size.
    """

    file: Label
    sha256: Digest
    bytes: Count


def _weight_files(files: dict[str, WeightFile]) -> dict[str, WeightFile]:
    for name, entry in files.items():
        if name in FORMATS and entry.file != FORMATS[name].file:
            raise ValueError(f"the file of {name} must be {FORMATS[name].file}, not {entry.file!r}")
    return files


def _trunk_files(files: dict[str, WeightFile]) -> dict[str, WeightFile]:
    for name, entry in files.items():
        if name not in tflite_formats() or entry.file != FORMATS[name].trunk:
            raise ValueError(f"{entry.file!r} is no trunk of {name!r}")
    return files


WeightFiles = Annotated[dict[Label, WeightFile], AfterValidator(_weight_files)]
TrunkFiles = Annotated[dict[Label, WeightFile], AfterValidator(_trunk_files)]


class RecipeSection(TypedDict):
    """What evaluation needs of the training run's values."""

    __pydantic_config__ = SECTION
    split_scheme: Text
    seed: Annotated[int, Field(ge=0, lt=2**31, strict=True)]
    suspects: NotRequired[Text]


class Photos(TypedDict):
    """Number of photos in each split."""

    __pydantic_config__ = SECTION
    train: Count


class DataSection(TypedDict):
    """What the weights were trained on."""

    __pydantic_config__ = SECTION
    name: DataName
    digest: Text
    photos: NotRequired[Photos]
    notes: NotRequired[list[Text]]
    without: NotRequired[list[Text]]


class Licence(TypedDict):
    """The licence of weights that others released."""

    __pydantic_config__ = SECTION
    name: Text
    url: Annotated[str, PlainValidator(_web_address)]


class Origin(TypedDict):
    """An earlier training that went into the weights, and in turn what that started from."""

    __pydantic_config__ = SECTION
    data: DataSection
    classes: Count
    source: NotRequired[Text]
    revision: NotRequired[Text | None]
    licence: NotRequired[Licence | None]
    start: NotRequired["Origin | None"]


class OtherFigures(TypedDict):
    """Photos of anything else in a split or of one source: how many, and the share that was rejected."""

    __pydantic_config__ = SECTION
    photos: Annotated[int, Field(gt=0, strict=True)]
    detection_rate: Share


class FormatFigures(TypedDict):
    """What one weight format did on one split."""

    __pydantic_config__ = SECTION
    photos: Count
    accuracy: Share
    interval_95: Annotated[list[Number], Field(min_length=2, max_length=2)]
    other: NotRequired[OtherFigures]


class SplitFigures(TypedDict):
    """What was measured on one split."""

    __pydantic_config__ = SECTION
    data: DataName
    split: Text
    formats: Annotated[dict[Text, FormatFigures], Field(min_length=1)]
    rejection: NotRequired[dict[Text, OtherFigures]]


class Errors(TypedDict):
    """Expected calibration error before and after the temperature."""

    __pydantic_config__ = SECTION
    before: Number
    after: Number


class Calibration(TypedDict):
    """What is folded into the classifier: a temperature, and a shift of the logit of "none of these"."""

    __pydantic_config__ = SECTION
    none_of_these_shift: NotRequired[Number]
    temperature: Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
    fitted_on: Text
    expected_calibration_error: NotRequired[Errors]


class Parity(TypedDict):
    """How far an export agreed with Keras when it was accepted."""

    __pydantic_config__ = SECTION
    top1_agreement: Share
    largest_difference: Number
    mean_difference: Number
    images: Count
