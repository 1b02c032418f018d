"""MediaPipe Tasks' ImageClassifier against this project's runtime, on the same .tflite file.

    pip install -r tests/benchmarks/requirements-mediapipe.txt
    python -m tests.benchmarks.mediapipe_agreement [BUNDLE]

Three times: with the picture as this project resizes it; with the whole photo, which MediaPipe squashes
to the network's size; with the whole photo and the bundle's crop as MediaPipe's region of interest.
"""

import argparse

import mediapipe as mp
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.components.containers.rect import RectF
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions
from mediapipe.tasks.python.vision.core.image_processing_options import ImageProcessingOptions

from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.images.preprocessing import ResizeRule
from mobilevit_core.images.reading import read_photo
from mobilevit_core.inference.classifier import Classifier
from mobilevit_core.inference.runtimes import load_runtime


def answers(
    classifier: ImageClassifier,
    pictures: list[np.ndarray],
    names: tuple[str, ...],
    rule: ResizeRule | None = None,
) -> np.ndarray:
    """MediaPipe's scores in the bundle's order: (pictures, classes); with a rule, for its region."""
    rows = []
    for picture in pictures:
        image = mp.Image(image_format=mp.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
        options = ImageProcessingOptions(region(picture, rule)) if rule else None
        categories = classifier.classify(image, options).classifications[0].categories
        scores = {category.category_name: category.score for category in categories}
        rows.append([scores[name] for name in names])
    return np.array(rows)


def region(picture: np.ndarray, rule: ResizeRule) -> RectF:
    """The rule's central square in parts of the picture's sides."""
    height, width = picture.shape[:2]
    if rule.mode != "center_crop":
        return RectF(left=0, top=0, right=1, bottom=1)
    side = min(height, width) * rule.crop_fraction
    x, y = side / width, side / height
    return RectF(left=(1 - x) / 2, top=(1 - y) / 2, right=(1 + x) / 2, bottom=(1 + y) / 2)


def main() -> None:
    """Prints, for every TFLite file, how often both give the same answer, and both accuracies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", default="demo/weights")
    parser.add_argument("--split", default="test")
    arguments = parser.parse_args()
    bundle = open_bundle(arguments.bundle)
    names = bundle.manifest.class_names
    dataset = load_dataset(bundle.manifest.data["name"])
    photos = dataset.split(arguments.split)
    labels = np.array([names.index(dataset.class_names[photo.label]) for photo in photos])
    whole = [read_photo(photo.source, photo.name) for photo in photos]
    print(f"mediapipe {mp.__version__}, {len(photos)} photos of {dataset.name}, split {arguments.split}\n")
    print("same top-1 as ours, and accuracy; largest difference of a probability for the same picture\n")
    print(f"{'format':22}{'same picture':>14}{'difference':>12}{'whole':>16}{'region':>16}{'ours':>10}")
    for name in tflite_formats():
        ours = Classifier(bundle, name, load_runtime(bundle, name))
        expected = np.stack([ours.probabilities(photo) for photo in whole])
        options = ImageClassifierOptions(BaseOptions(model_asset_path=str(bundle.weights(name))))
        with ImageClassifier.create_from_options(options) as theirs:
            same = answers(theirs, [ours.tensor(photo).astype(np.uint8) for photo in whole], names)
            squashed = answers(theirs, whole, names)
            cropped = answers(theirs, whole, names, bundle.manifest.rule)
        sides = (same, squashed, cropped)
        agreeing = [(rows.argmax(1) == expected.argmax(1)).mean() for rows in sides]
        accuracy = [(rows.argmax(1) == labels).mean() for rows in (*sides, expected)]
        print(
            f"{FORMATS[name].title:22}{agreeing[0]:>14.2%}{np.abs(same - expected).max():>12.2g}"
            f"{agreeing[1]:>9.1%} {accuracy[1]:.1%}{agreeing[2]:>9.1%} {accuracy[2]:.1%}{accuracy[3]:>10.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
