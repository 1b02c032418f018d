"""Provenance: which photos went into a bundle, so that no evaluation can pass for more than it is.

`provenance.txt` in the bundle has one line per photo: its split and the start of its digest.
Bundles that training started from, and teachers, hand theirs on.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset

FILE = "provenance.txt"
DIGITS = 16  # of the SHA-256, hexadecimal: enough to tell any two photos apart
RECORDED_SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Provenance:
    """Digests of photos.

    Attributes:
        train: the weights were fitted to them.
        validation: they were used to choose something, such as temperature, threshold or epoch.
    """

    train: frozenset[str] = frozenset()
    validation: frozenset[str] = frozenset()

    @classmethod
    def of(cls, *splits: Iterable[LabelledPhoto]) -> "Provenance":
        """Photos that the weights are fitted to and, as a second group, those that something is chosen by."""
        return cls(*(frozenset(photo.sha256[:DIGITS] for photo in photos) for photos in splits))

    @classmethod
    def by_training(cls, dataset: PhotoDataset, before: Iterable["Provenance"] = ()) -> "Provenance":
        """What a training on this data set sees, with what its starting weights and teachers had seen."""
        own = cls.of(*(dataset.splits.get(split, ()) for split in RECORDED_SPLITS))
        return cls.joined([own, *before])

    @classmethod
    def joined(cls, several: Iterable["Provenance"]) -> "Provenance":
        """What all of them together have seen; nothing for none."""
        train, validation = frozenset(), frozenset()
        for provenance in several:
            train, validation = train | provenance.train, validation | provenance.validation
        return cls(train, validation)

    @classmethod
    def read(cls, bundle_folder: Path) -> "Provenance | None":
        """A bundle's; None where it has no such file."""
        path = bundle_folder / FILE
        if not path.is_file():
            return None
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        return cls(
            *(
                frozenset(line.removeprefix(f"{split} ") for line in lines if line.startswith(f"{split} "))
                for split in RECORDED_SPLITS
            )
        )

    def write(self, bundle_folder: Path) -> None:
        """Adds the file to a bundle that is being written."""
        lines = [f"train {digest}" for digest in sorted(self.train)]
        lines += [f"validation {digest}" for digest in sorted(self.validation)]
        (bundle_folder / FILE).write_text("\n".join(lines) + "\n", encoding="ascii")

    def among(self, photos: Sequence[LabelledPhoto]) -> dict[str, int]:
        """How many of these photos were trained on, and how many were used to choose something."""
        digests = [photo.sha256[:DIGITS] for photo in photos]
        return {
            "trained_on": sum(digest in self.train for digest in digests),
            "chosen_by": sum(digest in self.validation for digest in digests),
        }
