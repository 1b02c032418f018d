"""The manifest, bundle.json: what everyone needs to know who runs a bundle's weights."""

import reprlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mobilevit_core.bundle.golden import Golden
from mobilevit_core.bundle.manifest_fields import (
    AsItWas,
    Calibration,
    ClassNames,
    DataSection,
    InputRule,
    Label,
    Origin,
    Parity,
    RecipeSection,
    SplitFigures,
    Text,
    TrunkFiles,
    WeightFiles,
)
from mobilevit_core.bundle.private_paths import without_paths
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import CROSS_VALIDATION
from mobilevit_core.errors import UserError
from mobilevit_core.files import read_json, write_json

MANIFEST_VERSION = 4
VERSION = "manifest_version"
LONGEST_PROBLEM = 300
# What pydantic calls by Python's words.
KINDS = {
    "dataclass_type": "it must be an object",
    "dict_type": "it must be an object",
    "list_type": "it must be a list",
    "tuple_type": "it must be a list",
}

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60
_short.maxdict = _short.maxlist = _short.maxlevel = 2


class Manifest(BaseModel):
    """What `bundle.json` says.

    Attributes:
        class_names: in the order of the probabilities.
        rule: how a photo becomes the input tensor; `input` in the file.
        architecture: a key of `models.create.ARCHITECTURES`.
        variant: "xxs", "xs" or "s".
        files: weight format -> its file, with the digest.
        trunk: weight format -> its file without a classifier, where heads can be grafted onto the bundle.
        recipe: all values of the training run.
        data: data set, split scheme, number of photos, digest.
        versions: of the libraries that made it.
        metrics: split -> what was measured on it.
        parity: weight format -> how far it agreed with Keras when it was accepted.
        start: what the training started from (data, recipe, its own start), None for fresh weights.
        teachers: what the models that it learned from had been trained on, None without teachers.
        calibration: the temperature folded into the classifier, and what it was fitted on.
        rejection: when an image is called none of the classes, None for never.
        other_class: the class that means "none of these", the last of `class_names`; None without one.
        golden: drawn inputs with each format's answers, to check an engine with; None in older bundles.

    Keys that this program does not know are kept.
    """

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)

    class_names: ClassNames
    rule: InputRule = Field(alias="input")
    architecture: Label
    variant: Label
    files: WeightFiles = Field(default_factory=dict)
    trunk: TrunkFiles = Field(default_factory=dict)
    recipe: Annotated[RecipeSection, AsItWas]
    data: Annotated[DataSection, AsItWas]
    versions: Annotated[dict[Text, Text], AsItWas] = Field(default_factory=dict)
    metrics: Annotated[dict[Text, SplitFigures], AsItWas] = Field(default_factory=dict)
    parity: Annotated[dict[Text, Parity], AsItWas] = Field(default_factory=dict)
    start: Annotated[Origin | None, AsItWas] = None
    teachers: Annotated[list[Origin] | None, AsItWas] = None
    calibration: Annotated[Calibration | None, AsItWas] = None
    rejection: RejectionRule | None = None
    other_class: Text | None = None
    golden: Golden | None = None

    @model_validator(mode="after")
    def _other_class_is_last(self) -> "Manifest":
        if self.other_class is not None and self.other_class != self.class_names[-1]:
            raise ValueError(f"other_class {self.other_class[:60]!r} is not the last of class_names")
        if self.rejection and self.rejection.other not in (None, self.other):
            raise ValueError("rejection.other is not the place of other_class")
        return self

    @model_validator(mode="after")
    def _golden_knows_the_classes(self) -> "Manifest":
        strangers = sorted(self.golden.classes() - set(self.class_names)) if self.golden else []
        if strangers:
            raise ValueError(f"golden.scores has {strangers[0][:60]!r}, which is not a class")
        return self

    @property
    def other(self) -> int | None:
        """Index of `other_class`, None without one."""
        return self.class_names.index(self.other_class) if self.other_class else None

    @property
    def formats(self) -> tuple[str, ...]:
        """Weight formats that the bundle was written with, in the table's order."""
        return tuple(name for name in FORMATS if name in self.files)

    @property
    def measured(self) -> dict[str, Any] | None:
        """The figures that stand for the weights; None where nothing was measured.

        Those of the test split, else by cross-validation, else of the validation split. That comes last: a
        model with figures by cross-validation was trained on its photos.
        """
        splits = ("test", CROSS_VALIDATION, "validation")
        return next((self.metrics[split] for split in splits if self.metrics.get(split)), None)

    def origins(self) -> list[str]:
        """What other trainings went into the weights, one phrase each, the nearest first."""
        phrases, start = [], without_paths(self.start)
        while start:
            phrases.append(f"were initialized from weights trained on {_training_of(start)}")
            start = start.get("start")
        for teacher in without_paths(self.teachers) or ():
            phrases.append(f"were distilled from a model trained on {_training_of(teacher)}")
        return list(dict.fromkeys(phrases))  # several trainings on the same data are told once

    def to_json(self) -> dict[str, Any]:
        """The content of `bundle.json`, without the places of folders on the machine that made it."""
        fields = {info.alias or name: getattr(self, name) for name, info in type(self).model_fields.items()}
        for name in ("other_class", "golden", "trunk"):
            if not fields[name]:
                del fields[name]
        recorded = {name: fields[name] for name in ("data", "metrics", "start", "teachers", "recipe")}
        return {
            VERSION: MANIFEST_VERSION,
            **fields,
            **without_paths(recorded),
            "class_names": list(self.class_names),
            "input": self.rule.to_json(),
            "files": {name: asdict(entry) for name, entry in self.files.items()},
            **({"trunk": {name: asdict(entry) for name, entry in self.trunk.items()}} if self.trunk else {}),
            "rejection": self.rejection.to_json() if self.rejection else None,
            **({"golden": self.golden.to_json()} if self.golden else {}),
            **(self.model_extra or {}),
        }

    @classmethod
    def from_json(cls, value: Any) -> "Manifest":
        """The reverse of `to_json`.

        Raises:
            OtherVersion: an older or newer version of this program made it.
            ValueError: what is wrong with which field, in at most `LONGEST_PROBLEM` characters.
        """
        if not isinstance(value, dict):
            raise ValueError("it must be a JSON object")
        _check_version(value.get(VERSION))
        try:
            manifest = cls.model_validate({key: item for key, item in value.items() if key != VERSION})
        except ValidationError as error:
            raise ValueError(_first_problem(error)) from None
        if not manifest.formats:
            raise ValueError("files names no weight format that this program knows")
        return manifest


class OtherVersion(ValueError):
    """Another version of this program made the manifest."""


def read_manifest(path: Path) -> Manifest:
    """Reads a `bundle.json`.

    Raises:
        UserError: it is damaged, or of another version; the message names file, field and way out.
    """
    try:
        return Manifest.from_json(read_json(path))
    except OtherVersion as error:
        raise UserError(f"{path} {error}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}. Copy the whole bundle again.") from None
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from None


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Writes a `bundle.json`.

    Raises:
        ValueError: it could not be read again; a fault of this program.
    """
    value = manifest.to_json()
    Manifest.from_json(value)
    write_json(path, value)


def _check_version(version: Any) -> None:
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise ValueError(f"{VERSION} is {_short.repr(version)}; it must be a whole number over 0")
    if version != MANIFEST_VERSION:
        age, way_out = (
            ("a newer", "Update") if version > MANIFEST_VERSION else ("an older", "Train again with")
        )
        raise OtherVersion(
            f"was made by {age} version of this program: its {VERSION} is {_short.repr(version)}, and this "
            f"program reads {MANIFEST_VERSION}. {way_out} this program."
        )


def _first_problem(error: ValidationError) -> str:
    """The first of pydantic's errors as one phrase: field, value, and what it must be."""
    first = error.errors(include_url=False, include_context=False)[0]
    parts = [str(part) if str(part).isprintable() else ascii(part) for part in first["loc"]]
    where = ".".join(part if len(part) <= 40 else f"{part[:40]}..." for part in parts[:8]) or "it"
    if first["type"] == "missing":
        return f"{where} is missing"
    message = first["msg"].removeprefix("Value error, ").replace("Input should be", "it must be")
    message = KINDS.get(first["type"], message)
    value = _short.repr(first["input"])[:100]
    return f"{where} is {value}; {message[0].lower()}{message[1:]}"[:LONGEST_PROBLEM].rstrip(".")


def _training_of(origin: dict[str, Any]) -> str:
    data, classes = origin["data"], f"({origin['classes']} classes)"
    if "photos" not in data:  # weights of others that do not tell what they were trained on
        return f"unknown data: {data['name']} {classes}"
    return f"{data['photos']['train']:,} photos of {data['name']} {classes}"
