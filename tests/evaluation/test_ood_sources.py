from pathlib import Path

import pytest

from mobilevit_core import load_classifier
from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.metrics import evaluate
from mobilevit_core.evaluation.ood_sources import rejection_by_source, table
from tests.drawing import noise_folder


def test_every_source_has_its_figures(small_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    classifier = load_classifier(small_bundle.folder)
    known = evaluate(classifier, load_dataset(str(photo_folder)), "test")
    source = str(noise_folder(tmp_path / "things", {"": 3, "cups": 4}, 1))
    rows = rejection_by_source(classifier, known, [source, str(photo_folder), source])
    assert list(rows) == [source, str(photo_folder)] and rows[source]["pictures"] == 7
    # Photographs of the classes themselves are not found; whatever is found lies between none and all.
    assert rows[str(photo_folder)]["found"] < 0.5 and 0 <= rows[source]["found"] <= 1
    header, first, _ = table(rows)
    assert len(header) == len(first) and first[:2] == (source, "7")
    with pytest.raises(UserError, match="There is no folder"):
        rejection_by_source(classifier, known, ["no/such/folder"])
