"""The evidence about a bundle: one page with plots, one JSON, in the bundle's `report/`.

report/report.json     every figure
report/index.html      the same for people; no script, nothing from elsewhere
report/photos/    the most confident mistakes, drawn from the data set where it is; not for publishing
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from PIL import Image

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.files import REPORT, REPORT_FIGURES, REPORT_PAGE, REPORT_PHOTOS
from mobilevit_core.bundle.rejection import RejectionRule
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.provenance import DIGITS, Provenance
from mobilevit_core.evaluation import plots as report_plots
from mobilevit_core.evaluation.calibration import expected_calibration_error, reliability, with_temperature
from mobilevit_core.evaluation.metrics import Evaluation, Measured, separation
from mobilevit_core.evaluation.robustness import evaluate_robustness
from mobilevit_core.files import replacing, write_bytes, write_json
from mobilevit_core.images.reading import read_photo
from mobilevit_core.inference.classifier import Classifier
from mobilevit_core.messages import say

# The recipe may be chosen with robustness in mind, so not with the test split; but a head is fitted on the
# validation split, too.
ROBUSTNESS_SPLITS = ("validation", "test")
MISTAKES = 24
THUMBNAIL = 320
TEMPLATE = Path(__file__).with_name("report.html.jinja")


def write_report(classifier: Classifier, measured: Measured, figures: dict[str, Any]) -> Path:
    """Records figures in a bundle's manifest, measures what is still missing, and writes the report.

    Args:
        classifier: with the first of the evaluated formats, which stands for the bundle's weights.
        measured: what the formats did; the data set's validation split is used for robustness, or the test
            split where the bundle was trained on that.
        figures: of these, with the comparison of the formats and the rejection by source if they were made.

    Returns:
        The page.
    """
    say("Measuring robustness for the report ...")
    classifier.bundle.record_metrics(measured.split, figures)
    figures = classifier.bundle.manifest.metrics[measured.split]  # with what was measured before and stays
    folder = classifier.bundle.folder / REPORT
    folder.mkdir(exist_ok=True)
    report = collect(classifier, measured, figures)
    page = render(report, classifier.bundle.manifest.origins())
    _draw_mistakes(folder / REPORT_PHOTOS, report["mistakes"], measured.photos)
    write_json(folder / REPORT_FIGURES, report)
    write_bytes(folder / REPORT_PAGE, page.encode(errors="replace"))
    return folder / REPORT_PAGE


def collect(classifier: Classifier, measured: Measured, figures: dict[str, Any]) -> dict[str, Any]:
    """Every figure of the report."""
    manifest, evaluation = classifier.bundle.manifest, measured.first
    return {
        "bundle": {key: value for key, value in manifest.to_json().items() if key != "metrics"},
        "figures": figures,
        "main": classifier.format,
        "calibration": _calibration(manifest.calibration, evaluation),
        "robustness": _robustness(classifier, measured.dataset),
        "unknown": _unknown(manifest.rejection, evaluation),
        "mistakes": _mistakes(evaluation, measured.photos),
        "history": _history(classifier.bundle),
    }


def _robustness(classifier: Classifier, dataset: PhotoDataset) -> dict[str, Any] | None:
    """Figures on distorted photos; None where the bundle was trained on all there are."""
    split = robustness_split(dataset, classifier.bundle.provenance)
    if split is None:
        return None
    figures = evaluate_robustness(classifier, dataset, split)
    return {"split": split, "photos": len(_known(dataset, split)), **figures}


def robustness_split(dataset: PhotoDataset, provenance: Provenance | None) -> str | None:
    """The split to distort: the first of `ROBUSTNESS_SPLITS` with no photo of the classes trained on.

    Args:
        dataset: its photos of anything else are not distorted, so they do not matter here.
        provenance: what the weights have seen, if that is known.
    """
    trained_on = provenance.train if provenance else frozenset()
    for split in ROBUSTNESS_SPLITS:
        photos = _known(dataset, split)
        if photos and trained_on.isdisjoint(photo.sha256[:DIGITS] for photo in photos):
            return split
    return None


def _known(dataset: PhotoDataset, split: str) -> list[LabelledPhoto]:
    return [photo for photo in dataset.splits.get(split, ()) if photo.label != dataset.other]


def render(report: dict[str, Any], origins: Sequence[str]) -> str:
    """The page of a report, with the bundle's `origins`."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = lambda value, digits=1: f"{value * 100:.{digits}f} %"
    main = report["figures"]["formats"][report["main"]]
    plots = {"confusion": report_plots.confusion(main["confusion"], report["bundle"]["class_names"])}
    if report["robustness"]:
        plots["robustness"] = report_plots.robustness(report["robustness"]["accuracy"])
    if report["calibration"]:
        steps = (report["calibration"][when]["bins"] for when in ("before", "after"))
        plots["reliability"] = report_plots.reliability(*steps)
    if report["history"]:
        plots["training"] = report_plots.training_curves(report["history"])
    if report["figures"].get("comparison"):
        plots["latencies"] = report_plots.latencies(report["figures"]["comparison"]["rows"], FORMATS)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(
        report=report,
        main=main,
        plots=plots,
        origins=origins,
        formats=FORMATS,
        photos=REPORT_PHOTOS,
        weakest=min(main["per_class"].items(), key=lambda row: row[1]["recall"]),
        fastest=_fastest(report["figures"].get("comparison")),
        rejected=_rejected(report),
    )


def _rejected(report: dict[str, Any]) -> dict[str, float] | None:
    """How many photos of anything else are rejected: of the sources where they were measured.

    Returns:
        detection_rate and photos, their number. None where there are none, or no rule.
    """
    rows = report["figures"].get("rejection")
    if not rows:
        return report["unknown"]["all"] if report["unknown"] else None
    photos = sum(row["photos"] for row in rows.values())
    rejected = sum(row["detection_rate"] * row["photos"] for row in rows.values())
    return {"detection_rate": rejected / photos, "photos": photos}


def _fastest(comparison: dict[str, Any] | None) -> float | None:
    """The lowest median of a format's latencies in milliseconds, with the first number of threads."""
    if not comparison:
        return None
    threads = str(comparison["threads"][0])
    return min(row["latency_ms"][threads]["p50"] for row in comparison["rows"].values())


def _calibration(recorded: dict[str, Any] | None, evaluation: Evaluation) -> dict[str, Any] | None:
    """Before and after the temperature; the first by undoing what the classifier carries."""
    if not recorded:
        return None
    temperature, labels = recorded["temperature"], evaluation.labels
    steps = {
        "before": with_temperature(evaluation.probabilities, 1 / temperature),
        "after": evaluation.probabilities,
    }
    return {
        "temperature": temperature,
        "fitted_on": recorded["fitted_on"],
        **{
            name: {
                "expected_calibration_error": expected_calibration_error(probabilities, labels),
                "bins": reliability(probabilities, labels),
            }
            for name, probabilities in steps.items()
        },
    }


def _unknown(rule: RejectionRule | None, evaluation: Evaluation) -> dict[str, Any] | None:
    """The rejection rule on the evaluated photos; those of anything else are the person's own."""
    if not rule:
        return None
    known, others = (evaluation.probabilities[rows] for rows in (evaluation.wanted, ~evaluation.wanted))
    return {
        "rule": rule.to_json(),
        "false_rejection_rate": float(rule.rejects(known).mean()),
        "all": separation(rule, known, others) if len(others) else None,
    }


def _mistakes(evaluation: Evaluation, photos: Sequence[LabelledPhoto]) -> list[dict[str, Any]]:
    """The wrong answers that were given with the highest probability."""
    confidence = evaluation.probabilities.max(axis=1)
    wrong = np.flatnonzero(evaluation.answers != evaluation.labels)
    order = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    names = evaluation.class_names
    return [
        {
            "photo": photos[index].name,
            "sha256": photos[index].sha256,
            "position": int(index),
            "class": names[evaluation.labels[index]],
            "answer": names[evaluation.answers[index]],
            "probability": round(float(confidence[index]), 4),
        }
        for index in order
    ]


def _draw_mistakes(folder: Path, mistakes: list[dict[str, Any]], photos: Sequence[LabelledPhoto]) -> None:
    with replacing(folder, over_folder=True) as beside:
        beside.mkdir()
        for mistake in mistakes:
            photo = photos[mistake["position"]]
            image = Image.fromarray(read_photo(photo.source, photo.name))
            image.thumbnail((THUMBNAIL, THUMBNAIL))
            image.save(beside / f"{mistake['position']}.jpg", quality=85)


def _history(bundle: Bundle) -> list[dict[str, str]]:
    if not bundle.history.exists():
        return []
    with bundle.history.open(newline="") as file:
        return list(csv.DictReader(file))
