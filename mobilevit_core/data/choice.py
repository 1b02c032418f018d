"""Which photos: the one description, from the command line to the manifest and back."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mobilevit_core.data.dataset import OTHER_FOLDER

Names = tuple[str, ...]
Name = str | os.PathLike[str]


@dataclass(frozen=True)
class DataChoice:
    """Which photos are used, and which are not.

    A source is a folder with one subfolder per class, a zip file of such a folder, a CSV file of paths and
    labels, or a name in tensorflow-datasets.

    Attributes:
        data: sources of the classes; classes of the same name (or WordNet id) become one.
        train_only: sources with more photos of the same classes, for the training split alone.
        other: sources whose photos show none of the classes; they become the last class, "none of
            these", together with the subfolder of that name if there is one.
        other_without: classes of these that are left out; those with the name of a wanted class are anyway.
        weights: source -> how often its photos are drawn for training.
        leave_out: a data set whose validation and test photos must not be trained on, not even as a
            near copy; for pretraining.
        without: classes to leave out whole, to measure later how well a model rejects them.
    """

    data: Names
    train_only: Names = ()
    other: Names = ()
    other_without: Names = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    leave_out: str | None = None
    without: Names = ()

    @classmethod
    def of(cls, data: "Name | Sequence[Name] | DataChoice") -> "DataChoice":
        """The choice itself, or that of one or several sources."""
        if isinstance(data, DataChoice):
            return data
        return cls((os.fspath(data),) if isinstance(data, str | os.PathLike) else tuple(map(os.fspath, data)))

    @classmethod
    def from_manifest(cls, description: Mapping[str, Any]) -> "DataChoice":
        """What `PhotoDataset.describe` recorded."""
        rows = description.get("sources") or [{"data": description["name"], "other": False, "weight": 1.0}]
        wanted = [row for row in rows if not row["other"]]
        data = tuple(row["data"] for row in wanted if not row.get("train_only"))
        inside = {f"{name}/{OTHER_FOLDER}" for name in data}
        return cls(
            data,
            tuple(row["data"] for row in wanted if row.get("train_only")),
            tuple(row["data"] for row in rows if row["other"] and row["data"] not in inside),
            tuple(description.get("other_without", ())),
            {row["data"]: row["weight"] for row in rows if row["weight"] != 1},
            description.get("leave_out"),
            tuple(description.get("without", ())),
        )

    @property
    def sources(self) -> Names:
        """All of them."""
        return (*self.data, *self.train_only, *self.other)

    def absolute(self) -> "DataChoice":
        """The same with full paths of folders and files, so that they are found from anywhere."""

        def full(name: str) -> str:
            return os.path.abspath(name) if Path(name).exists() else name

        return replace(
            self,
            data=tuple(map(full, self.data)),
            train_only=tuple(map(full, self.train_only)),
            other=tuple(map(full, self.other)),
            weights={full(name): weight for name, weight in self.weights.items()},
        )

    def only(self, there: Names) -> "DataChoice":
        """The same without sources beside the classes' own that are not there."""
        other = tuple(name for name in self.other if name in there)
        return replace(
            self,
            train_only=tuple(name for name in self.train_only if name in there),
            other=other,
            other_without=self.other_without if other else (),
            weights={name: weight for name, weight in self.weights.items() if name in (*self.data, *there)},
        )
