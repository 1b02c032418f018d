"""The model card: what a bundle's manifest says, for the Hub's readers and its machines."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import REPORT, REPORT_PAGE
from mobilevit_core.bundle.manifest import Manifest
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import CROSS_VALIDATION
from mobilevit_core.escaping import plain
from mobilevit_core.images.preprocessing import RESIZE_MODES, ResizeRule

if TYPE_CHECKING:
    from huggingface_hub import EvalResult, ModelCard

TASK = "image-classification"
TAGS = ("mobilevit", "litert", "tflite", "mediapipe")
LICENCE = "apache-2.0"  # this project's
NAMED = 20  # classes that the card lists
BY_CROSS_VALIDATION = "by cross-validation (each classified by a model that had not seen it)"
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

    parts = (_opening, _figures, _classes, _rejection, _training, _loading)
    blocks = [block for part in parts for block in part(bundle, repository)]
    data = _front_matter(bundle, repository, license)
    return ModelCard(f"---\n{data}\n---\n\n" + "\n\n".join(blocks) + "\n")


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


def _opening(bundle: Bundle, repository: str) -> Iterator[str]:
    manifest = bundle.manifest
    known = [name for name in manifest.class_names if name != manifest.other_class]
    listed = ", ".join(plain(name) for name in known[:NAMED]) + (", ..." if len(known) > NAMED else "")
    yield f"# {repository.partition('/')[2]}"
    yield (
        f"MobileViT-{plain(manifest.variant.upper())} for photos of {len(known)} classes: {listed}. It "
        "knows nothing else, whatever a photo shows."
    )


def _figures(bundle: Bundle, _: str) -> Iterator[str]:
    yield "## Files"
    measured = bundle.manifest.measured or {}
    lines = ["| file | format | MB | accuracy (95 % interval) |", "| --- | --- | --- | --- |"]
    for name in bundle.present:
        figures = measured.get("formats", {}).get(name)
        shown = "not measured"
        if figures:
            low, high = figures["interval_95"]
            shown = f"{figures['accuracy']:.1%} ({low:.1%} to {high:.1%})"
        fmt = FORMATS[name]
        lines.append(f"| `{fmt.file}` | {fmt.title} | {bundle.size_bytes(name) / 1e6:.2f} | {shown} |")
    yield "\n".join(lines)
    if measured:
        photos = next(iter(measured["formats"].values()))["photos"]
        data = plain(public_name(measured["data"]))
        crossed = measured["split"] == CROSS_VALIDATION
        how = f" {BY_CROSS_VALIDATION}" if crossed else f", {plain(measured['split'])} split"
        yield f"Measured on {photos} photos of {data}{how}."
    if bundle.file(f"{REPORT}/{REPORT_PAGE}"):
        yield f"[`{REPORT}/{REPORT_PAGE}`]({REPORT}/{REPORT_PAGE}) has every figure that was measured."


def _classes(bundle: Bundle, _: str) -> Iterator[str]:
    measured = bundle.manifest.measured or {}
    rows = next(iter(measured.get("formats", {}).values()), {}).get("per_class") or {}
    if rows and len(rows) <= NAMED:
        lines = ["| class | precision | recall | photos |", "| --- | --- | --- | --- |"]
        for name, row in rows.items():
            lines.append(
                f"| {plain(name)} | {row['precision']:.1%} | {row['recall']:.1%} | {row['photos']} |"
            )
        yield "\n".join(lines)


def _rejection(bundle: Bundle, _: str) -> Iterator[str]:
    manifest = bundle.manifest
    yield "## Photos of anything else"
    if manifest.rejection is None:
        yield "Every photo gets one of the classes, also one of anything else."
        return
    rule = manifest.rejection
    learned = f" or its class {plain(manifest.other_class)} is the highest" if manifest.other_class else ""
    # Where cross-validation measured the accuracy, the rule was fitted on its answers, too.
    crossed = CROSS_VALIDATION in manifest.metrics
    photos = "photos of the classes"
    photos = f"{photos}, {BY_CROSS_VALIDATION}" if crossed else f"validation {photos}"
    yield (
        'An answer means "none of these" where the highest probability of a class is under '
        f"{rule.threshold:.1%}{learned}. Of {rule.photos} {photos}, "
        f"{rule.false_rejection_rate:.1%} got that answer. Treat it as a hint, not as a filter."
    )
    rows = next((m["rejection"] for m in manifest.metrics.values() if m.get("rejection")), {})
    if rows:
        lines = ["| photos of anything else | OOD detection rate | AUROC |", "| --- | --- | --- |"]
        lines += [
            f"| {plain(name)} | {row['detection_rate']:.1%} | {row['auroc']:.3f} |"
            for name, row in rows.items()
        ]
        yield "\n".join(lines)


def _training(bundle: Bundle, _: str) -> Iterator[str]:
    manifest = bundle.manifest
    photos = manifest.data.get("photos", {})
    counted = f"{photos['train']:,} photos" if "train" in photos else "photos"
    yield "## Training"
    name = plain(public_name(manifest.data["name"]))
    yield f"Trained on {counted} of {name}. `bundle.json` records all of it."
    origins = [plain(phrase) for phrase in manifest.origins()]
    if origins:
        yield f"The weights {'; '.join(origins)}."


def _loading(bundle: Bundle, repository: str) -> Iterator[str]:
    rule = bundle.manifest.rule
    size = rule.image_size
    yield "## How to use it"
    yield (
        f"The input is float32 (1, {size}, {size}, 3), RGB, 0 to 255: {_squared(rule)}, resized with an "
        "antialiased bilinear filter. The output is one probability per class, in the order of `class_names` "
        "in `bundle.json`."
    )
    yield (
        "This project's package does all of it, and checks the files' digests:\n\n```python\n"
        f'import mobilevit_core\n\nclassifier = mobilevit_core.load_classifier("hf://{repository}")\n'
        'print(classifier.predict("photo.jpg").top())\n```'
    )
    if "keras" in bundle.present:
        yield (
            f'Keras:\n\n```python\nimport keras\n\nmodel = keras.saving.load_model("hf://{repository}")\n'
            "probabilities = model.predict(images)  # prepared as above\n```"
        )
    litert = [FORMATS[name].file for name in bundle.present if FORMATS[name].engine == "litert"]
    if litert:
        yield _litert_example(repository, litert[0])
        yield _mediapipe_example(repository, litert[0])


def _squared(rule: ResizeRule) -> str:
    if rule.mode == "center_crop":
        return f"the central square, {rule.crop_fraction:g} of the shorter side"
    return RESIZE_MODES[rule.mode]


def _litert_example(repository: str, file: str) -> str:
    return (
        "LiteRT:\n\n```python\nfrom ai_edge_litert.interpreter import Interpreter\n"
        "from huggingface_hub import hf_hub_download\n\n"
        f'classify = Interpreter(hf_hub_download("{repository}", "{file}")).get_signature_runner()\n'
        'probabilities = classify(image=image)["probabilities"]  # prepared as above\n```'
    )


def _mediapipe_example(repository: str, file: str) -> str:
    return (
        "MediaPipe Tasks (the file carries its labels; it does not crop by itself, so give it the "
        "square):\n\n"
        "```python\nimport mediapipe as mp\nfrom huggingface_hub import hf_hub_download\n"
        "from mediapipe.tasks.python import vision\n\n"
        f'file = hf_hub_download("{repository}", "{file}")\n'
        "classifier = vision.ImageClassifier.create_from_model_path(file)\n"
        'print(classifier.classify(mp.Image.create_from_file("square.jpg")))\n```'
    )
