"""Which way up a photo is, read from its EXIF or XMP data, however damaged they are."""

import re
import struct

TAG = 0x0112  # of the orientation in EXIF
ENTRY_BYTES = 12  # tag, type, count, value
NUMBERS = {1: "B", 3: "H", 4: "L", 8: "h", 9: "l"}  # EXIF's type -> struct's, for whole numbers
XMP = re.compile(rb'tiff:Orientation(?:="|>)([1-8])')


def read_orientation(exif: bytes, xmp: bytes = b"") -> int:
    """The orientation, 1 to 8 as EXIF numbers them; 1 (upright) where nothing readable is said.

    Only the first directory is searched, entry by entry, so that damage elsewhere does no harm.

    Args:
        exif: the EXIF data, with or without the leading "Exif".
        xmp: the XMP packet; it is asked where EXIF is silent.
    """
    try:
        value = _from_exif(exif.removeprefix(b"Exif\0\0"))
    except struct.error:
        value = None
    if value is None and (match := XMP.search(xmp)):
        value = int(match[1])
    return value if value is not None and 1 <= value <= 8 else 1


def _from_exif(tiff: bytes) -> int | None:
    if tiff[:2] not in (b"II", b"MM"):
        return None
    order = "<" if tiff[:2] == b"II" else ">"
    (start,) = struct.unpack_from(order + "L", tiff, 4)
    (entries,) = struct.unpack_from(order + "H", tiff, start)
    for place in range(start + 2, start + 2 + ENTRY_BYTES * entries, ENTRY_BYTES):
        tag, kind = struct.unpack_from(order + "HH", tiff, place)
        if tag == TAG and kind in NUMBERS:
            return int(struct.unpack_from(order + NUMBERS[kind], tiff, place + 8)[0])
    return None
