"""Training photos whose label the model is confident to be another: often they are in the wrong folder."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.findings import SHEET_PHOTOS, draw_sheet
from mobilevit_core.files import csv_bytes, write_bytes
from mobilevit_core.images.preprocessing import preprocess
from mobilevit_core.inference.runtimes import answers_in_batches, load_keras
from mobilevit_core.messages import say

TABLE, SHEET = "suspect_labels.csv", "suspect_labels.jpg"
COLUMNS = ("photograph", "class", "answer", "probability_of_class", "probability_of_answer")
MOST_ROWS = 200  # in the table
MOST_DRAWN = 40  # on the sheet
MOST_LOOKED = 5000  # photos that a trained network is asked about, evenly
# Measured on a cross-validated head with wrong labels planted; photos named, and how many of them were
# planted, means of four draws. 400 photos of rooms with 19 planted, 76 % right: 20 and 12 (every other
# answer: 93 and 18; cleanlab 2.9: 61 and 17). 200 photos of clothing with 15 planted, 22 % right: 2 and 0.5
# (152 and 14; 120 and 12). To look through half of one's photos helps nobody: the library is not taken.
CONFIDENT, UNLIKELY = 0.7, 0.1


def check_labels(folder: Path, bundle: Bundle, dataset: PhotoDataset) -> None:
    """Asks a trained network about its training photos, and writes what is suspect into its run folder."""
    training, rule, weights = dataset.splits["train"], bundle.manifest.rule, bundle.weights("keras")
    photos = training[:: -(-len(training) // MOST_LOOKED)]
    model = load_keras(weights)
    answers = answers_in_batches(
        model, lambda photo: preprocess(photo.source, rule, photo.name), photos, "Looking at the labels"
    )
    write_suspects(folder, photos, dataset.class_names, answers)


def suspects(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Photos whose label the model is confident to be another, the clearest first.

    The rule of confident learning (Northcutt et al. 2021): a photo counts where another class is as probable
    as it is, on average, for the photos of that class. A weak model has low averages, so a floor is added.

    Args:
        labels: (photos,).
        probabilities: (photos, classes).

    Returns:
        Indices into the photos.
    """
    rows = np.arange(len(labels))
    usual = np.array(
        [
            probabilities[labels == label, label].mean() if (labels == label).any() else 1
            for label in range(probabilities.shape[1])
        ]
    )
    best, own = probabilities.argmax(axis=1), probabilities[rows, labels]
    highest = probabilities[rows, best]
    confident = (highest >= np.maximum(usual[best], CONFIDENT)) & (own <= UNLIKELY)
    found = np.flatnonzero(confident & (best != labels))
    return found[np.argsort((own - highest)[found], kind="stable")]


def write_suspects(
    folder: Path, photos: Sequence[LabelledPhoto], class_names: Sequence[str], probabilities: np.ndarray
) -> int:
    """Writes `suspect_labels.csv` and `suspect_labels.jpg` into a run folder, and says so.

    Nothing where no label is suspect.

    Args:
        folder: of the run.
        photos: with the labels that they were trained with.
        class_names: in the order of the probabilities.
        probabilities: the model's, best of a model that was not trained on the photo: (photos, classes).

    Returns:
        How many photos have a label that the model is confident to be another.
    """
    labels = np.array([photo.label for photo in photos])
    order = suspects(labels, probabilities)
    if not len(order):
        return 0
    own = probabilities[np.arange(len(labels)), labels]
    rows = [
        {
            "photograph": photos[index].name,
            "class": class_names[labels[index]],
            "answer": class_names[probabilities[index].argmax()],
            "probability_of_class": f"{own[index]:.4f}",
            "probability_of_answer": f"{probabilities[index].max():.4f}",
        }
        for index in order[:MOST_ROWS]
    ]
    write_bytes(folder / TABLE, csv_bytes(rows, COLUMNS))
    drawn = [
        (photos[index], f"is {row['class']}?\nmodel: {row['answer']}")
        for index, row in zip(order[:MOST_DRAWN], rows, strict=False)
    ]
    starts = range(0, len(drawn), SHEET_PHOTOS)
    draw_sheet(folder / SHEET, {f"from place {s + 1}": drawn[s : s + SHEET_PHOTOS] for s in starts})
    say(
        f"Labels to check: the model is confident of another class for {len(order)} of {len(photos)} "
        f"photos, listed in {folder / SHEET} and {folder / TABLE}"
    )
    return len(order)
