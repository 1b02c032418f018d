"""A look at a data set before training: sizes, copies, imbalance, a contact sheet."""

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from rich.markup import escape
from rich.table import Table

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.splitting import group_copies
from mobilevit_core.errors import UserError
from mobilevit_core.files import replacing, write_bytes
from mobilevit_core.images.containers import take_apart
from mobilevit_core.images.reading import read_encoded, read_photo
from mobilevit_core.messages import counted

CONTACT_SHEET, SKIPPED_LIST = "contact_sheet.jpg", "skipped.txt"
MOST_ROWS = 30  # classes in the table; of more only the smallest and the largest are shown
LIKELY_BLANK, BLANK = 20, 12  # levels between dark and bright: of a thumbnail, of 98 % of a photo
MOST_LOOKED = 1000  # photos that look blank as thumbnails
MEASURED = 300  # photos whose size is read
MOST_COMPARED = 20_000  # photos, above which copies are not counted
SHEET_CLASSES, SHEET_PHOTOS, SHEET_SIDE = 20, 8, 112  # rows, columns, pixels per picture
NAMED = 3


@dataclass(frozen=True)
class Findings:
    """What a look at a data set shows.

    Attributes:
        sides: shorter sides of some photos, pixels, ascending.
        copies: photos within a class that are (nearly) the same as another one of it.
        across: pairs of names: photos in different classes that are nearly the same.
        unevenness: the largest class over the smallest, in training photos.
        blank: names of photos of one colour, nearly black, or blown out.
    """

    sides: tuple[int, ...]
    copies: int
    across: tuple[tuple[str, str], ...]
    unevenness: float
    blank: tuple[str, ...] = ()

    @classmethod
    def of(cls, dataset: PhotoDataset) -> "Findings":
        """Looks at a data set whose photos have been read already; at others only for the sizes."""
        photos = [photo for members in dataset.splits.values() for photo in members]
        copies, across = 0, ()
        if len(photos) <= MOST_COMPARED and all(photo.facts for photo in photos):
            known = all(photo.sha256 in dataset.copies for photo in photos)
            copies, across = _copies(photos, dataset.copies if known else group_copies(photos))
        sides, blank = tuple(sorted(_sides(photos))), _blank(photos)
        return cls(sides, copies, across, dataset.unevenness, blank)

    @property
    def shorter_side(self) -> int | None:
        """The median of the shorter sides, pixels; None for no photos."""
        return int(statistics.median(self.sides)) if self.sides else None

    def sentences(self) -> list[str]:
        """What there is to say, one sentence per finding."""
        told = []
        if self.sides:
            told.append(
                f"shorter sides: {self.sides[0]} to {self.sides[-1]} px, half of them {self.shorter_side} px "
                f"or less ({counted(len(self.sides), 'photo')} measured)"
            )
        if self.blank:
            names = ", ".join(self.blank[:NAMED]) + (", ..." if len(self.blank) > NAMED else "")
            told.append(
                f"{counted(len(self.blank), 'photo')} of one colour, with nothing to learn from: "
                f"blank, nearly black, or blown out ({names})"
            )
        if self.copies:
            told.append(
                f"{counted(self.copies, 'photo')} (nearly) the same as another one of its class; copies "
                "stay in one split"
            )
        if self.across:
            pairs = ", ".join(" = ".join(pair) for pair in self.across[:NAMED])
            more = ", ..." if len(self.across) > NAMED else ""
            told.append(f"nearly the same photo in two classes, please check: {pairs}{more}")
        if self.unevenness > 1.5:
            told.append(f"the largest class has {self.unevenness:.1f} times the photos of the smallest")
        return told


def _sides(photos: Sequence[LabelledPhoto]) -> list[int]:
    step = max(len(photos) // MEASURED, 1)
    return [side for side in in_order(_side, photos[::step]) if side]


def _side(photo: LabelledPhoto) -> int:
    try:
        picture = take_apart(*read_encoded(photo.source, photo.name))
    except UserError:  # gone since it was listed; who needs it says so
        return 0
    return min(picture.width, picture.height)


def _blank(photos: Sequence[LabelledPhoto]) -> tuple[str, ...]:
    """Names of photos of one colour; thumbnails that have one are looked at closely, so many of them."""
    likely = [photo for photo in photos if photo.facts and np.ptp(photo.thumbnail) <= LIKELY_BLANK]
    found = in_order(_has_one_colour, likely[:MOST_LOOKED])
    return tuple(p.name for p, blank in zip(likely[:MOST_LOOKED], found, strict=True) if blank)


def _has_one_colour(photo: LabelledPhoto) -> bool:
    try:
        pixels = read_photo(photo.source, photo.name)
    except UserError:
        return False
    low, high = np.percentile(pixels.reshape(-1, 3), (1, 99), axis=0)
    return bool((high - low).max() <= BLANK)


def _copies(
    photos: Sequence[LabelledPhoto], groups: Mapping[str, int]
) -> tuple[int, tuple[tuple[str, str], ...]]:
    """How many photos repeat one of their class, and pairs that are in two."""
    members: dict[int, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        members[groups[photo.sha256]].append(photo)
    copies, across = 0, []
    for group in members.values():
        first: dict[int, LabelledPhoto] = {}
        for photo in group:
            copies += photo.label in first
            first.setdefault(photo.label, photo)
        one, *others = first.values()
        across += [(one.name, other.name) for other in others]
    return copies, tuple(across)


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


def write_findings(folder: Path, dataset: PhotoDataset) -> None:
    """Writes the list of skipped files (reason, path, detail) and the contact sheet into a run folder.

    Nothing is written where nothing was skipped, and a sheet that is there already stays.
    """
    if dataset.skipped:
        lines = ("\t".join((s.reason, s.path, s.detail)).replace("\n", " ") for s in dataset.skipped)
        write_bytes(folder / SKIPPED_LIST, ("\n".join(lines) + "\n").encode(errors="surrogateescape"))
    if not (folder / CONTACT_SHEET).exists():
        rows = _rows_by_class(dataset)
        draw_sheet(folder / CONTACT_SHEET, rows)


def _rows_by_class(dataset: PhotoDataset) -> dict[str, list[tuple[LabelledPhoto, str]]]:
    """Class and number of photos -> some of them, evenly through the class."""
    photos = [photo for members in dataset.splits.values() for photo in members]
    by_label: dict[int, list[LabelledPhoto]] = defaultdict(list)
    for photo in photos:
        by_label[photo.label].append(photo)
    rows = {}
    for label, name in list(enumerate(dataset.class_names))[:SHEET_CLASSES]:
        members = by_label[label]
        step = max(len(members) / SHEET_PHOTOS, 1)
        chosen = [members[int(k * step)] for k in range(min(SHEET_PHOTOS, len(members)))]
        rows[f"{name} ({len(members):,})"] = [(photo, "") for photo in chosen]
    return rows


def draw_sheet(path: Path, rows: Mapping[str, Sequence[tuple[LabelledPhoto, str]]]) -> None:
    """Draws photos in rows.

    Args:
        path: of the JPEG file; replaced.
        rows: heading -> photos, each with a caption, which may be empty.
    """
    font, line = ImageFont.load_default(13), 18
    captioned = any(caption for row in rows.values() for _, caption in row)
    height = SHEET_SIDE + line * (1 + 2 * captioned) + 6
    width = max(len(row) for row in rows.values()) if rows else 1
    sheet = Image.new("RGB", (max(width, 4) * (SHEET_SIDE + 6) + 6, max(len(rows), 1) * height + 6), "white")
    pen = ImageDraw.Draw(sheet)
    for number, (heading, row) in enumerate(rows.items()):
        top = 6 + number * height
        pen.text((6, top), _printable(heading), "black", font)
        for column, (photo, caption) in enumerate(row):
            left = 6 + column * (SHEET_SIDE + 6)
            _paste(sheet, photo, (left, top + line))
            for index, text in enumerate(caption.splitlines()):
                place = (left, top + line + SHEET_SIDE + index * line)
                pen.text(place, _fitting(_printable(text), pen, font), "black", font)
    with replacing(path) as beside:
        sheet.save(beside, "JPEG", quality=85)


def _paste(sheet: Image.Image, photo: LabelledPhoto, place: tuple[int, int]) -> None:
    try:
        image = Image.fromarray(read_photo(photo.source, photo.name))
    except UserError:  # gone since it was listed: its place stays white
        return
    image.thumbnail((SHEET_SIDE, SHEET_SIDE))
    sheet.paste(image, place)


def _printable(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)


def _fitting(text: str, pen: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont) -> str:
    """The text, cut to the width of a picture."""
    while len(text) > 1 and pen.textlength(text, font) > SHEET_SIDE:
        text = f"{text[:-2]}…"
    return text
