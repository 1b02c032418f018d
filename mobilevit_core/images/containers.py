"""Takes picture files apart before a decoder sees them.

What the pixels need is kept; EXIF, colour profiles, comments, embedded previews and whatever follows the
picture are left out. So damaged or oversized metadata can neither refuse a photograph nor cost time, and size
and cost are known before anything is decoded.
"""

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from mobilevit_core.errors import UserError
from mobilevit_core.images import limits
from mobilevit_core.images.orientation import read_orientation

MAX_METADATA_BYTES = 2**20  # of compressed EXIF in a PNG, once inflated
WEBP_BYTES_PER_PIXEL = 20  # two canvases, the decoder's own copy, ours, and Pillow's, 4 bytes each
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")


@dataclass(frozen=True)
class Picture:
    """A picture file, taken apart.

    Attributes:
        format: "JPEG", "PNG" or "WEBP".
        encoded: the file without what the pixels don't need.
        orientation: 1 to 8, as EXIF numbers them.
        width: in pixels, as stored.
        height: in pixels, as stored.
        decoding_bytes: memory that decoding takes, about.
        scan_ends: for a JPEG, where each scan's data end in `encoded`.
    """

    format: str
    encoded: bytes
    orientation: int
    width: int
    height: int
    decoding_bytes: int
    scan_ends: tuple[int, ...] = ()


def take_apart(encoded: bytes, name: str) -> Picture:
    """Takes a picture file apart and checks it against the limits.

    Args:
        encoded: the whole file.
        name: what to call the photograph in an error.

    Raises:
        UserError: another format, damaged, or over a limit.
    """
    picture = _parser(encoded, name)(encoded, name)
    limits.check_size(picture.width, picture.height, picture.decoding_bytes, name)
    return picture


def _parser(encoded: bytes, name: str) -> Callable[[bytes, str], Picture]:
    if encoded[:2] == b"\xff\xd8":
        return _jpeg
    if encoded[:8] == PNG_SIGNATURE:
        return _png
    if encoded[:4] == b"RIFF" and encoded[8:12] == b"WEBP":
        return _webp
    if not encoded:
        raise UserError(f"{name} is empty.")
    if encoded[4:8] == b"ftyp" and encoded[8:12] in HEIC_BRANDS:
        raise UserError(
            f"{name} is a HEIC photograph, which is not supported. Save it as JPEG first "
            "(an iPhone takes JPEG with Settings > Camera > Formats > Most Compatible)."
        )
    if encoded[4:8] == b"ftyp" and encoded[8:12] in AVIF_BRANDS:
        raise UserError(f"{name} is an AVIF picture, which is not supported. Save it as JPEG or PNG first.")
    raise UserError(f"{name} is not a JPEG, PNG or WebP picture.")


# JPEG

# In a scan's data, 0xff is followed by 0 where it is data, and by 0xd0 to 0xd7 where decoding restarts.
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
SOI, EOI, SOS, TEM, JFIF, ADOBE = 0xD8, 0xD9, 0xDA, 0x01, 0xE0, 0xEE
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
# Least bits per block of 8 x 8, by kind of frame: a code each for the first coefficient and the end.
# A progressive frame's later scans may cover many blocks by one code; arithmetic coding has no such bound.
LEAST_BITS = {0xC0: 2, 0xC1: 2, 0xC2: 1}
MOST_BITS_PER_SAMPLE = 24  # noise at the best quality takes about 10
METADATA = {*range(0xE1, 0xF0), 0xFE} - {ADOBE}


@dataclass
class _Jpeg:
    """What the walk through a JPEG's segments gathers."""

    encoded: bytes
    name: str
    kept: list[bytes]
    kept_bytes: int = 0
    frame: tuple[int, bytes] | None = None
    scan_ends: tuple[int, ...] = ()
    data_bytes: int = 0
    exif: bytes = b""
    xmp: bytes = b""

    def keep(self, start: int, end: int) -> None:
        self.kept.append(self.encoded[start:end])
        self.kept_bytes += len(self.kept[-1])

    def metadata(self, content: bytes) -> None:
        """Remembers the first EXIF and the first XMP."""
        if content.startswith(b"Exif\0\0"):
            self.exif = self.exif or content
        elif content.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
            self.xmp = self.xmp or content


def _jpeg(encoded: bytes, name: str) -> Picture:
    walk = _Jpeg(encoded, name, [])
    _walk_jpeg(walk)
    if walk.frame is None or not walk.scan_ends:
        raise UserError(f"{name} is damaged: the file ends before the picture begins.")
    code, header = walk.frame
    height, width = struct.unpack_from(">HH", header, 1)
    limits.check_size(width, height, 0, name)
    planes = _planes(header, name)
    _check_amount(walk, code, planes)
    decoding_bytes = 4 * width * height // limits.reduction(width, height) ** 2
    if code not in (0xC0, 0xC1) or len(walk.scan_ends) > 1:  # all coefficients are kept till the last scan
        decoding_bytes += 2 * sum(w * h for w, h in planes)
    orientation = read_orientation(walk.exif, walk.xmp)
    return Picture("JPEG", b"".join(walk.kept), orientation, width, height, decoding_bytes, walk.scan_ends)


def _walk_jpeg(walk: _Jpeg) -> None:
    """Goes from marker to marker as libjpeg does, up to the end of the first picture."""
    encoded, position, kept_from = walk.encoded, 2, 0
    for _ in range(limits.MAX_PARTS):
        match = MARKER.search(encoded, position)
        if match is None:
            walk.keep(kept_from, len(encoded))
            return
        start, code = match.start(), encoded[match.start() + 1]
        if code == EOI:
            walk.keep(kept_from, match.end())
            return
        position = match.end()
        if code in (SOI, TEM):
            continue
        position += int.from_bytes(encoded[position : position + 2], "big")
        if code in METADATA:
            walk.metadata(encoded[start + 4 : position])
            walk.keep(kept_from, start)
            kept_from = position
        elif code in FRAMES and walk.frame is None:
            walk.frame = code, _frame_header(walk, encoded[start + 4 : position])
        elif code == SOS:
            position = _scan(walk, position, kept_from)
    raise UserError(f"{walk.name} has more than {limits.MAX_PARTS} segments; it is damaged.")


def _frame_header(walk: _Jpeg, header: bytes) -> bytes:
    if len(header) < 6 or not header[5] or len(header) < 6 + 3 * header[5]:
        raise UserError(f"{walk.name} is damaged: its header is cut short.")
    return header


def _scan(walk: _Jpeg, start: int, kept_from: int) -> int:
    """Counts a scan; returns where its data end."""
    if len(walk.scan_ends) == limits.MAX_SCANS:
        raise UserError(
            f"{walk.name} is a progressive JPEG of more than {limits.MAX_SCANS} scans, "
            "which would take too long to decode. Save it again as an ordinary JPEG."
        )
    match = MARKER.search(walk.encoded, start)
    end = match.start() if match else len(walk.encoded)
    walk.data_bytes += max(end - start, 0)
    walk.scan_ends += (walk.kept_bytes + end - kept_from,)
    return end


def _planes(header: bytes, name: str) -> list[tuple[int, int]]:
    """Width and height of each component: colours are often stored at half the size."""
    height, width = struct.unpack_from(">HH", header, 1)
    sampling = [(header[7 + 3 * i] >> 4, header[7 + 3 * i] & 15) for i in range(header[5])]
    widest, highest = max(h for h, _ in sampling), max(v for _, v in sampling)
    if not widest or not highest:
        raise UserError(f"{name} is damaged: its header makes no sense.")
    return [(width * h // widest, height * v // highest) for h, v in sampling]


def _check_amount(walk: _Jpeg, code: int, planes: list[tuple[int, int]]) -> None:
    """Refuses a size that the data can't belong to; libjpeg would only warn and fill in grey."""
    bits = 8 * walk.data_bytes
    if bits < LEAST_BITS.get(code, 0) * sum((w // 8) * (h // 8) for w, h in planes):
        raise UserError(f"{walk.name} is damaged: it holds too little data for the size in its header.")
    samples = sum((w + 16) * (h + 16) for w, h in planes)  # thin and tiny pictures are padded to blocks
    if bits > MOST_BITS_PER_SAMPLE * samples * max(1, len(walk.scan_ends) // 4):
        raise UserError(f"{walk.name} is damaged: it holds too much data for the size in its header.")


# PNG

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
GREY, PALETTE = 0, 3  # colour types
XMP_KEY = b"XML:com.adobe.xmp\0\0\0\0\0"  # uncompressed, no language


def _png(encoded: bytes, name: str) -> Picture:
    kept, exif, xmp = [PNG_SIGNATURE], b"", b""
    position = len(PNG_SIGNATURE)
    for number in range(limits.MAX_PARTS + 1):
        if number == limits.MAX_PARTS:
            raise UserError(f"{name} has more than {limits.MAX_PARTS} chunks; it is damaged.")
        kind, content = encoded[position + 4 : position + 8], encoded[position + 8 :]
        if len(kind) < 4:
            break
        length = int.from_bytes(encoded[position : position + 4], "big")
        end = position + 12 + length
        content = encoded[position + 8 : position + 8 + length]
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"):
            _check_sum(kind + content, encoded[end - 4 : end], name)
            kept.append(encoded[position:end])
        elif kind == b"eXIf":
            exif = exif or content
        elif kind in (b"tEXt", b"zTXt"):
            exif = exif or _raw_profile(kind, content)
        elif kind == b"iTXt" and content.startswith(XMP_KEY):
            xmp = xmp or content
        position = end
        if kind == b"IEND":
            break
    width, height, bytes_per_pixel = _png_header(kept, name)
    return Picture(
        "PNG",
        b"".join(kept),
        read_orientation(exif, xmp),
        width,
        height,
        bytes_per_pixel * width * height,
    )


def _check_sum(content: bytes, expected: bytes, name: str) -> None:
    if len(expected) == 4 and zlib.crc32(content) != int.from_bytes(expected, "big"):
        raise UserError(f"{name} is damaged: a checksum in the file is wrong.")


def _png_header(kept: list[bytes], name: str) -> tuple[int, int, int]:
    """Width, height, and bytes per pixel as Pillow decodes it."""
    if len(kept) < 2 or kept[1][4:8] != b"IHDR" or len(kept[1]) < 25:
        raise UserError(f"{name} is damaged: the file ends before the picture begins.")
    width, height, depth, colors = struct.unpack_from(">LLBB", kept[1], 8)
    if colors in (GREY, PALETTE):
        return width, height, 2 if depth == 16 else 1
    return width, height, 4


def _raw_profile(kind: bytes, content: bytes) -> bytes:
    """EXIF as older programs wrote it into a PNG: a text of hexadecimal digits."""
    key, _, text = content.partition(b"\0")
    if key not in (b"Raw profile type exif", b"Raw profile type APP1"):
        return b""
    try:
        if kind == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], MAX_METADATA_BYTES)
        return bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except (ValueError, zlib.error):
        return b""


# WebP


def _webp(encoded: bytes, name: str) -> Picture:
    size = _webp_size(encoded)
    if size is None:
        raise UserError(f"{name} is damaged: the file ends before the picture begins.")
    exif, xmp = _riff_chunk(encoded, b"EXIF"), _riff_chunk(encoded, b"XMP ")
    decoding_bytes = WEBP_BYTES_PER_PIXEL * size[0] * size[1]
    return Picture("WEBP", encoded, read_orientation(exif, xmp), *size, decoding_bytes)


def _webp_size(encoded: bytes) -> tuple[int, int] | None:
    kind, header = encoded[12:16], encoded[20:30]
    if kind == b"VP8X" and len(header) == 10:
        return 1 + int.from_bytes(header[4:7], "little"), 1 + int.from_bytes(header[7:10], "little")
    if kind == b"VP8L" and len(header) >= 5:
        bits = int.from_bytes(header[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 " and len(header) == 10:
        width, height = struct.unpack_from("<HH", header, 6)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _riff_chunk(encoded: bytes, wanted: bytes) -> bytes:
    position = 12
    for _ in range(limits.MAX_PARTS):
        kind = encoded[position : position + 4]
        length = int.from_bytes(encoded[position + 4 : position + 8], "little")
        if kind == wanted:
            return encoded[position + 8 : position + 8 + length]
        if len(kind) < 4:
            break
        position += 8 + length + length % 2
    return b""
