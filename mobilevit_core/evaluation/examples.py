"""Chooses the photos that come with a bundle: right answers of several classes, and a wrong one."""

import hashlib
import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict

import numpy as np
from PIL import Image

from mobilevit_core.bundle.examples import BundleExample
from mobilevit_core.bundle.files import EXAMPLE_PHOTOS, EXAMPLES, EXAMPLES_LIST
from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.data.provenance import DIGITS, Provenance
from mobilevit_core.data.splitting import in_turns
from mobilevit_core.evaluation.metrics import Measured
from mobilevit_core.files import replacing, write_json
from mobilevit_core.images.reading import read_photo
from mobilevit_core.inference.classifier import Classifier

LONGEST = 640  # pixels of the longer side
TRIED = 50  # photos that are asked about again, of each kind


def write_examples(classifier: Classifier, measured: Measured) -> list[BundleExample]:
    """Writes up to six photos of what was measured and their list into the classifier's bundle.

    They are shrunk and say nothing of camera, place or owner. Each is asked about again as it is written.

    Args:
        classifier: of the bundle that gets them.
        measured: what the network answered.

    Returns:
        What was written, a right answer first and the wrong one third.
    """
    photos, evaluation = measured.photos, measured.first
    names = evaluation.class_names
    is_right = evaluation.answers == evaluation.labels

    def asked(places: Iterable[int], right: bool) -> Iterator[tuple[int, bytes]]:
        """Those of the photos whose answer is still right, or still wrong, as they are written."""
        for place in itertools.islice(places, TRIED):
            content = _shrunk(photos[place])
            answer = classifier.predict(content, photos[place].name)
            said = classifier.bundle.manifest.other_class if answer.unknown else answer.label
            if right == (said == names[evaluation.labels[place]]):
                yield place, content

    wrong = list(itertools.islice(asked(np.flatnonzero(~is_right), False), 1))
    count = len(EXAMPLE_PHOTOS) - len(wrong)
    right_places = np.flatnonzero(is_right)
    turns = (right_places[place] for place in in_turns(evaluation.labels[is_right]))
    right = list(itertools.islice(asked(turns, True), count))
    trained_on = (classifier.bundle.provenance or Provenance()).train
    rows = []
    with replacing(classifier.bundle.folder / EXAMPLES, over_folder=True) as beside:
        beside.mkdir()
        for file, (place, content) in zip(EXAMPLE_PHOTOS, [*right[:2], *wrong, *right[2:]], strict=False):
            (beside / file).write_bytes(content)
            label, seen = names[evaluation.labels[place]], photos[place].sha256[:DIGITS] in trained_on
            rows.append(BundleExample(file, hashlib.sha256(content).hexdigest(), label, seen))
        write_json(beside / EXAMPLES_LIST, [asdict(row) for row in rows])
    return rows


def _shrunk(photo: LabelledPhoto) -> bytes:
    """A JPEG of the pixels alone."""
    image = Image.fromarray(read_photo(photo.source, photo.name))
    image.thumbnail((LONGEST, LONGEST))
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()
