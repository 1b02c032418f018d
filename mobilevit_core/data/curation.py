"""What people found by looking at public data sets, by the digests of the photos' files.

A data set with findings has a folder beside this file, with two lists:

near_duplicates.csv    pairs of photos that are (nearly) the same
suspect_labels.csv     photos whose label looks wrong to the eye
"""

import csv
from collections.abc import Iterator
from pathlib import Path

CURATED = ("tf_flowers",)  # folders; the lists are used wherever one of their photos turns up


def near_duplicates() -> Iterator[set[str]]:
    """Pairs of digests of photos that are (nearly) the same; one digest for identical files."""
    return (set(row.values()) for row in _rows("near_duplicates.csv"))


def suspect_labels() -> set[str]:
    """Digests of photos whose label looks wrong."""
    return {row["sha256"] for row in _rows("suspect_labels.csv")}


def _rows(name: str) -> Iterator[dict[str, str]]:
    for folder in CURATED:
        with Path(__file__).with_name(folder).joinpath(name).open(newline="") as file:
            yield from csv.DictReader(file)
