"""The artefact: one folder with weights in several formats and the contract that they share.

model.keras, model_float32.tflite, ...   the formats of `formats.FORMATS`
bundle.json                              class names in order, image size, resize rule, where it came from
history.csv                              the training, a row an epoch
seen_photographs.txt                     digests of the photographs that went into it (`seen.py`)
report/                                  what was measured, as a page and as JSON (`report.py`)
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mobilevit_core.bundle.rejection import UnknownRule
from mobilevit_core.bundle.tflite_metadata import CONTRACT, attach
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.provenance import Seen
from mobilevit_core.errors import UserError
from mobilevit_core.files import write_json
from mobilevit_core.images.preprocessing import ResizeRule

HISTORY = "history.csv"
CONTRACT_VERSION = 1


@dataclass(frozen=True)
class Contract:
    """What everyone needs to know who runs the weights; stored as `bundle.json`.

    Attributes:
        class_names: in the order of the probabilities.
        rule: how a photograph becomes the input tensor.
        architecture: "paper" or "keras_example".
        variant: "xxs", "xs" or "s".
        formats: which weight formats were written.
        recipe: all values of the training run.
        data: data set, split, number of photographs, digest.
        versions: of the libraries that made it.
        metrics: part of the data -> what was measured on it.
        agreement: weight format -> how far it agreed with Keras when it was accepted.
        start: what the training started from (data, recipe, its own start), None for fresh weights.
        teachers: what the models that it learned from had been trained on, None without teachers.
        calibration: the temperature folded into the classifier, and what it was fitted on.
        unknown: when a picture is called none of the classes, None for never.
    """

    class_names: tuple[str, ...]
    rule: ResizeRule
    architecture: str
    variant: str
    formats: tuple[str, ...] = ()
    recipe: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    agreement: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] | None = None
    teachers: list[dict[str, Any]] | None = None
    calibration: dict[str, Any] | None = None
    unknown: UnknownRule | None = None

    def origins(self) -> list[str]:
        """What other trainings went into the weights, one phrase each, the nearest first."""
        phrases, start = [], self.start
        while start:
            phrases.append(f"started from a training on {_training_of(start)}")
            start = start.get("start")
        for teacher in self.teachers or ():
            phrases.append(f"learned from a model trained on {_training_of(teacher)}")
        return list(dict.fromkeys(phrases))  # several trainings on the same data are told once

    def to_json(self) -> dict[str, Any]:
        """The content of `bundle.json`."""
        return {
            "contract_version": CONTRACT_VERSION,
            "class_names": list(self.class_names),
            "input": self.rule.to_json(),
            "architecture": self.architecture,
            "variant": self.variant,
            "formats": {name: FORMATS[name].file for name in self.formats},
            "recipe": self.recipe,
            "data": self.data,
            "versions": self.versions,
            "metrics": self.metrics,
            "agreement": self.agreement,
            "start": self.start,
            "teachers": self.teachers,
            "calibration": self.calibration,
            "unknown": self.unknown.to_json() if self.unknown else None,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Contract":
        """The reverse of `to_json`.

        Raises:
            KeyError, TypeError, ValueError, UserError: something is missing or of another kind.
        """
        if value["contract_version"] != CONTRACT_VERSION:
            raise ValueError(f"contract_version is {value['contract_version']}, not {CONTRACT_VERSION}")
        rule = value["input"]
        class_names = tuple(str(name) for name in value["class_names"])
        if len(class_names) < 2:
            raise ValueError("fewer than two class_names")
        if not set(FORMATS) & set(value["formats"]):
            raise ValueError("no known weight format")
        for section, key in (("recipe", "split"), ("recipe", "seed"), ("data", "name"), ("data", "digest")):
            value[section][key]  # evaluation needs them
        return cls(
            class_names=class_names,
            rule=ResizeRule(int(rule["image_size"]), rule["mode"], float(rule["crop_fraction"])),
            architecture=value["architecture"],
            variant=value["variant"],
            formats=tuple(name for name in FORMATS if name in value["formats"]),
            recipe=value["recipe"],
            data=value["data"],
            versions=value["versions"],
            metrics=value["metrics"],
            agreement=value["agreement"],
            start=value.get("start"),
            teachers=value.get("teachers"),
            calibration=value.get("calibration"),
            unknown=UnknownRule.from_json(value["unknown"]) if value.get("unknown") else None,
        )


def _training_of(origin: dict[str, Any]) -> str:
    data = origin["data"]
    classes = f"({origin['classes']} classes)"
    if "photos" not in data:  # weights of others that do not tell what they were trained on
        return f"unknown data: {data['name']} {classes}"
    return f"{data['photos']['train']:,} photographs of {data['name']} {classes}"


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        folder: where it is.
        contract: what `bundle.json` says.
    """

    folder: Path
    contract: Contract

    @property
    def present(self) -> tuple[str, ...]:
        """Weight formats whose file is there, in the table's order."""
        return tuple(name for name, fmt in FORMATS.items() if (self.folder / fmt.file).is_file())

    @property
    def expected(self) -> tuple[str, ...]:
        """Weight formats that the bundle was written with, whether or not their files are still there."""
        return self.contract.formats

    def weights(self, name: str) -> Path:
        """The file of one weight format.

        Raises:
            UserError: no such format, or the bundle lacks its file.
        """
        if name not in FORMATS:
            raise UserError(f"Unknown runtime {name!r}. There are: {', '.join(FORMATS)}.")
        path = self.folder / FORMATS[name].file
        if not path.is_file():
            raise UserError(
                f"The bundle {self.folder} has no {path.name}. It has weights for: "
                f"{', '.join(self.present)}; choose one with --runtime, or copy the whole bundle again."
            )
        return path

    def size_bytes(self, name: str) -> int:
        """Size of one format's file."""
        return self.weights(name).stat().st_size

    @property
    def history(self) -> Path:
        """CSV of the training, a row an epoch; bundles made elsewhere may lack it."""
        return self.folder / HISTORY

    @property
    def seen(self) -> Seen | None:
        """The photographs that went into the weights, None where the bundle does not tell."""
        return Seen.read(self.folder)

    def record_metrics(self, part: str, metrics: dict[str, Any]) -> None:
        """Adds what was measured on one part of the bundle's own data to `bundle.json`.

        Figures of the same weight formats on that part are replaced, those of others stay.
        """
        before = self.contract.metrics.get(part, {})
        runtimes = {**before.get("runtimes", {}), **metrics["runtimes"]}
        self.contract.metrics[part] = {**before, **metrics, "runtimes": runtimes}
        write_contract(self.folder, self.contract)


def write_contract(folder: Path, contract: Contract) -> None:
    """Writes `bundle.json`, and the same behind every .tflite file of the bundle."""
    value = contract.to_json()
    for name in contract.formats:
        path = folder / FORMATS[name].file
        if FORMATS[name].engine == "litert" and path.is_file():
            attach(path, value)
    write_json(folder / CONTRACT, value)


def open_bundle(folder: str | os.PathLike[str]) -> Bundle:
    """Opens a bundle.

    Args:
        folder: the bundle's folder.

    Raises:
        UserError: there is no such folder, its `bundle.json` is missing or damaged, or it has no weights.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(f"There is no bundle folder {path}.")
    contract = path / CONTRACT
    if not contract.is_file():
        inner = path / "bundle"
        hint = f" Did you mean {inner}?" if (inner / CONTRACT).is_file() else ""
        raise UserError(f"{path} is no bundle: it has no {CONTRACT}.{hint}")
    try:
        bundle = Bundle(path, Contract.from_json(json.loads(contract.read_text(encoding="utf-8"))))
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{contract} is damaged ({error!r}). Copy the whole bundle again.") from error
    if not bundle.present:
        files = ", ".join(fmt.file for fmt in FORMATS.values())
        raise UserError(f"The bundle {path} has no weights: none of {files} is there.")
    return bundle


def write_bundle(folder: Path, fill: Callable[[Path], Contract]) -> Bundle:
    """Writes a bundle beside its place and renames it, so that nobody ever finds half of one.

    Args:
        folder: where it shall be.
        fill: writes the weights into the folder it is given and returns the contract.

    Returns:
        The bundle in its place.

    Raises:
        UserError: the folder exists already.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already. Name a new folder, or remove it first.")
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    try:
        contract = fill(beside)
        write_contract(beside, contract)
        os.replace(beside, folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Bundle(folder, contract)
