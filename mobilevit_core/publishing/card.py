"""The model card: what a bundle's manifest says, for the Hub's readers and its machines."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import REPORT, REPORT_PAGE
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import CROSS_VALIDATION
from mobilevit_core.escaping import plain
from mobilevit_core.images.preprocessing import RESIZE_MODES

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

TEMPLATE = Path(__file__).with_name("card.md.jinja")
TASK = "image-classification"
TAGS = ("mobilevit", "litert", "tflite", "mediapipe")
LICENCE = "apache-2.0"  # this project's
NAMED = 20  # classes that the card lists
# tensorflow-datasets' names end with a version; weights made by earlier versions of this program lack it.
CATALOGUE = re.compile(
    r"(tf_flowers|oxford_flowers102|[a-z][a-z0-9_]*(?=:\d+\.\d+\.\d+$))(?::\d+\.\d+\.\d+)?"
)
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
HUB_NAMES = {"ImageNet-1k": "imagenet-1k"}


def model_card(bundle: Bundle, repository: str, license: str | None = None) -> "ModelCard":
    """The README of a model repository.

    Args:
        bundle: an opened bundle.
        repository: OWNER/NAME.
        license: the Hub's name of a licence; default: as `licence_of`.

    Returns:
        Front matter and text.
    """
    from huggingface_hub import ModelCard

    manifest = bundle.manifest
    measured = manifest.measured or {}
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"percent": "{:.1%}".format, "plain": plain, "public_name": public_name}
    text = environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        bundle=bundle,
        manifest=manifest,
        repository=repository,
        front_matter=_front_matter(bundle, repository, license),
        known=[name for name in manifest.class_names if name != manifest.other_class],
        named=NAMED,
        measured=measured,
        first=next(iter(measured.get("formats", {}).values()), {}),
        sources=next((m["rejection"] for m in manifest.metrics.values() if m.get("rejection")), {}),
        formats=FORMATS,
        report=f"{REPORT}/{REPORT_PAGE}",
        resize_modes=RESIZE_MODES,
        cross_validation=CROSS_VALIDATION,
        by_cross_validation="by cross-validation (each classified by a model that had not seen it)",
    )
    return ModelCard(text)


def licence_of(manifest: Manifest) -> dict[str, str]:
    """The front matter's licence where none is named.

    Weights that started from others under a licence of their own keep it; all else is this project's.
    """
    for origin in _origins(manifest):
        given = origin.get("licence")
        if given:
            name = re.sub(r"[^a-z0-9.]+", "-", given["name"].lower()).strip("-")
            return {"license": "other", "license_name": name, "license_link": given["url"]}
    return {"license": LICENCE}


def _origins(manifest: Manifest) -> Iterator[dict[str, Any]]:
    start = manifest.start
    while start:
        yield start
        start = start.get("start")


def _front_matter(bundle: Bundle, repository: str, license: str | None) -> str:
    from huggingface_hub import ModelCardData

    manifest = bundle.manifest
    with_keras = "keras" in bundle.present
    sources = (origin.get("source", "") for origin in _origins(manifest) if origin.get("revision"))
    base = next((source for source in sources if REPOSITORY.fullmatch(source)), None)
    results = _results(manifest)
    return ModelCardData(
        **({"license": license} if license else licence_of(manifest)),
        library_name="keras" if with_keras else "litert",
        pipeline_tag=TASK,
        tags=[*TAGS, "keras"] if with_keras else list(TAGS),
        datasets=_datasets(manifest) or None,
        base_model=base,
        base_model_relation="finetune" if base else None,
        metrics=["accuracy"] if results else None,
        model_name=repository.partition("/")[2],
        eval_results=results or None,
    ).to_yaml(line_break="\n")


def _datasets(manifest: Manifest) -> list[str]:
    """Public data sets alone: a folder's name is its owner's business."""
    names = [manifest.data["name"], *(origin["data"]["name"] for origin in _origins(manifest))]
    public = [
        HUB_NAMES.get(name) or (CATALOGUE.fullmatch(name) or [""])[0].partition(":")[0] for name in names
    ]
    return list(dict.fromkeys(name for name in public if name))


def _results(manifest: Manifest) -> list["EvalResult"]:
    """The measured accuracy of every format, on every split that was measured."""
    from huggingface_hub import EvalResult

    return [
        EvalResult(
            task_type=TASK,
            dataset_type=public_name(measured["data"]).partition(":")[0],
            dataset_name=public_name(measured["data"]),
            dataset_split=split,
            metric_type="accuracy",
            metric_name=f"Accuracy, {FORMATS[name].title}",
            metric_value=round(figures["accuracy"], 4),
        )
        for split, measured in manifest.metrics.items()
        for name, figures in measured["formats"].items()
        if name in FORMATS
    ]


def public_name(data: str) -> str:
    """A data set's name; a folder's is its owner's business."""
    return data if CATALOGUE.fullmatch(data) else "own photos"
