"""Features of everyday photos, for "none of these" where nobody has such photos at hand: in a browser.

    python -m mobilevit_core.training.everyday caltech/101_ObjectCategories

writes `everyday.json` beside the general weights. It holds numbers and the digests of the photos, no photo.
"""

import base64
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilevit_core.bundle.bundle import open_bundle
from mobilevit_core.data.provenance import DIGITS
from mobilevit_core.errors import UserError
from mobilevit_core.files import write_json
from mobilevit_core.images.preprocessing import preprocess
from mobilevit_core.images.reading import SUFFIXES
from mobilevit_core.training.features import Trunk, open_trunk
from mobilevit_core.training.transfer import GENERAL_FOLDER

FILE = "everyday.json"
COUNT = 200  # photos; 100 rejected as many of five sets of other photos


def write_everyday(photos: Sequence[Path], trunk: Trunk, to: Path) -> None:
    """Writes the features of photos, a byte for each, and which weights they belong to.

    Args:
        photos: that show anything.
        trunk: what looks at them.
        to: JSON file to write.

    Raises:
        UserError: a photo can't be read.
    """
    features = np.stack([trunk.features(preprocess(photo, trunk.rule)) for photo in photos])
    low, step = float(features.min()), float(np.ptp(features)) / 255
    vectors = np.rint((features - low) / step).astype(np.uint8)
    content = {
        "weights_sha256": trunk.origin["weights_sha256"],
        "features": features.shape[1],
        "low": low,
        "step": step,
        "vectors": base64.b64encode(vectors.tobytes()).decode(),
        "photos": [hashlib.sha256(photo.read_bytes()).hexdigest()[:DIGITS] for photo in photos],
    }
    write_json(to, content)


def main(folders: Sequence[str]) -> None:
    """Chooses photos from all below the folders: those of the lowest digests, whatever they are called."""
    paths = (path for folder in folders for path in Path(folder).rglob("*"))
    photos = (path for path in paths if path.suffix.lower() in SUFFIXES)
    digests = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in photos}
    if len(digests) < COUNT:
        raise UserError(f"There are {len(digests)} photos in {', '.join(folders)}; {COUNT} are needed.")
    chosen = [digests[digest] for digest in sorted(digests)[:COUNT]]
    write_everyday(chosen, open_trunk(open_bundle(GENERAL_FOLDER)), GENERAL_FOLDER / FILE)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"Error: {error}")
