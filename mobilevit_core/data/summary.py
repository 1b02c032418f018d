"""What a data set is made of, in words and numbers, for people."""

from pathlib import Path

from rich.markup import escape
from rich.table import Table

from mobilevit_core.data.dataset import PhotoDataset
from mobilevit_core.files import write_bytes

SKIPPED_LIST = "skipped.txt"
MOST_ROWS = 30  # classes in the table; of more only the smallest and the largest are shown


def counts_table(dataset: PhotoDataset) -> Table:
    """Photos per class and split."""
    table = Table(title=None)
    table.add_column("class")
    for split in dataset.splits:
        table.add_column(split, justify="right")
    counts = list(dataset.counts().items())
    shown = counts
    if len(counts) > MOST_ROWS:
        by_size = sorted(counts, key=lambda row: row[1].get("train", 0))
        half = MOST_ROWS // 2
        shown = [*by_size[-half:][::-1], (f"... {len(counts) - 2 * half} more", {}), *by_size[:half][::-1]]
    for name, row in shown:
        table.add_row(escape(name), *(f"{row[split]:,}" if row else "" for split in dataset.splits))
    totals = (f"{len(photos):,}" for photos in dataset.splits.values())
    table.add_row(f"all {len(counts)}", *totals, style="bold")
    return table


def write_skipped(folder: Path, dataset: PhotoDataset) -> None:
    """Lists the files that are not part of a data set, one per line: reason, path, detail.

    Args:
        folder: of the run; nothing is written where nothing was skipped.
        dataset: as it was loaded.
    """
    if not dataset.skipped:
        return
    lines = ("\t".join((s.reason, s.path, s.detail)).replace("\n", " ") for s in dataset.skipped)
    text = "\n".join(lines) + "\n"
    write_bytes(folder / SKIPPED_LIST, text.encode(errors="surrogateescape"))
