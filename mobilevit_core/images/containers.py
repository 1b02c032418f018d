"""Takes picture files apart before a decoder sees them.

What the pixels need is kept; EXIF, colour profiles, comments, embedded previews and whatever follows the
picture are left out. So damaged or oversized metadata can neither refuse a photo nor cost time, and size
and cost are known before anything is decoded.
"""

import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from mobilevit_core.errors import UserError
from mobilevit_core.images import limits
from mobilevit_core.images.orientation import read_orientation

MAX_METADATA_BYTES = 2**20  # of compressed EXIF in a PNG, once inflated
WEBP_BYTES_PER_PIXEL = 20  # two canvases, the decoder's own copy, ours, and Pillow's, 4 bytes each
# Bytes per pixel that decoding takes: 8 (HEIC) and 10 (AVIF) were measured, alpha comes on top.
HEIF_BYTES_PER_PIXEL, AVIF_BYTES_PER_PIXEL = 10, 12
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
AVIF_BRANDS = (b"avif", b"avis")
HEAD_BYTES = 64  # of a file, that tell what it is
READ = "JPEG, PNG, WebP, HEIC or AVIF"


@dataclass(frozen=True)
class Picture:
    """A picture file, taken apart.

    Attributes:
        format: "JPEG", "PNG", "WEBP", "HEIF" or "AVIF".
        encoded: the file without what the pixels don't need.
        orientation: 1 to 8, as EXIF numbers them.
        width: in pixels, as stored.
        height: in pixels, as stored.
        decoded_bytes: memory that the decoded picture takes.
        working_bytes: memory that the decoder takes, with the decoded picture.
        scan_ends: for a JPEG, where each scan's data end in `encoded`.
    """

    format: str
    encoded: bytes
    orientation: int
    width: int
    height: int
    decoded_bytes: int
    working_bytes: int
    scan_ends: tuple[int, ...] = ()


def take_apart(encoded: bytes, name: str) -> Picture:
    """Takes a picture file apart and checks it against the limits.

    Args:
        encoded: the whole file.
        name: what to call the photo in an error.

    Raises:
        UserError: another format, damaged, or over a limit.
    """
    picture = _parser(encoded, name)(encoded, name)
    limits.check_size(picture.width, picture.height, picture.decoded_bytes, name, picture.working_bytes)
    return picture


def format_of(head: bytes) -> str | None:
    """Which kind of picture a file holds, by its first `HEAD_BYTES`; None for what is not read."""
    if head[:2] == b"\xff\xd8":
        return "JPEG"
    if head[:8] == PNG_SIGNATURE:
        return "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[4:8] != b"ftyp":
        return None
    end = min(int.from_bytes(head[:4], "big"), HEAD_BYTES)
    brands = [head[8:12], *(head[start : start + 4] for start in range(16, end, 4))]
    if any(brand in AVIF_BRANDS for brand in brands):
        return "AVIF"
    return "HEIF" if any(brand in HEIC_BRANDS for brand in brands) else None


def _parser(encoded: bytes, name: str) -> Callable[[bytes, str], Picture]:
    if not encoded:
        raise UserError(f"{name} is empty.")
    parsers = {"JPEG": _jpeg, "PNG": _png, "WEBP": _webp, "HEIF": _heif, "AVIF": _avif}
    kind = format_of(encoded[:HEAD_BYTES])
    if kind is None:
        raise UserError(f"{name} is not a {READ} picture.")
    return parsers[kind]


# JPEG

# In a scan's data, 0xff is followed by 0 where it is data, and by 0xd0 to 0xd7 where decoding restarts.
MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
SOI, EOI, SOS, TEM, ADOBE = 0xD8, 0xD9, 0xDA, 0x01, 0xEE
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
    walk.keep(0, 2)
    _walk_jpeg(walk)
    if walk.frame is None or not walk.scan_ends:
        raise UserError(f"{name} is damaged: the file ends before the picture begins.")
    code, header = walk.frame
    height, width = struct.unpack_from(">HH", header, 1)
    limits.check_size(width, height, 0, name)  # before anything is computed with it
    planes = _planes(header, name)
    _check_amount(walk, code, planes)
    limits.check_scans(len(walk.scan_ends), width, height, name)
    decoded_bytes = 4 * width * height // limits.reduction(width, height) ** 2
    working_bytes = decoded_bytes
    if code not in (0xC0, 0xC1) or len(walk.scan_ends) > 1:  # all coefficients are kept till the last scan
        working_bytes += 2 * sum(w * h for w, h in planes)
    orientation = read_orientation(walk.exif, walk.xmp)
    return Picture(
        "JPEG",
        b"".join(walk.kept),
        orientation,
        width,
        height,
        decoded_bytes,
        working_bytes,
        walk.scan_ends,
    )


def _walk_jpeg(walk: _Jpeg) -> None:
    """Goes from marker to marker as libjpeg does, up to the end of the first picture."""
    encoded, position = walk.encoded, 2
    for _ in range(limits.MAX_PARTS):
        match = MARKER.search(encoded, position)
        if match is None:
            return
        start, code, position = match.start(), encoded[match.start() + 1], match.end()
        if code == EOI:
            walk.keep(start, position)
            return
        if code in (SOI, TEM):
            continue
        position += int.from_bytes(encoded[position : position + 2], "big")
        if code in METADATA:
            walk.metadata(encoded[start + 4 : position])
            continue
        walk.keep(start, position)
        if code in FRAMES and walk.frame is None:
            walk.frame = code, _frame_header(walk, encoded[start + 4 : position])
        elif code == SOS:
            position = _scan(walk, position)
    raise UserError(f"{walk.name} has more than {limits.MAX_PARTS} segments; it is damaged.")


def _frame_header(walk: _Jpeg, header: bytes) -> bytes:
    if len(header) < 6 or not header[5] or len(header) < 6 + 3 * header[5]:
        raise UserError(f"{walk.name} is damaged: its header is cut short.")
    return header


def _scan(walk: _Jpeg, start: int) -> int:
    """Keeps and counts a scan; returns where its data end."""
    limits.check_scans(len(walk.scan_ends) + 1, 0, 0, walk.name)
    match = MARKER.search(walk.encoded, start)
    end = match.start() if match else len(walk.encoded)
    walk.keep(start, end)
    walk.data_bytes += len(walk.kept[-1])
    walk.scan_ends += (walk.kept_bytes,)
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
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
GREY, PALETTE = 0, 3  # colour types
RAW_PROFILES = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
XMP_KEY = b"XML:com.adobe.xmp\0\0\0\0\0"  # uncompressed, no language


@dataclass
class _Png:
    """What the walk through a PNG's chunks gathers."""

    header: bytes = b""
    colors: dict[bytes, bytes] = field(default_factory=dict)  # the chunks with palette and transparency
    data: list[bytes] = field(default_factory=list)
    exif: bytes = b""
    profile: bytes | None = None  # EXIF in a text; the first one that there is, even if it can't be read
    xmp: bytes = b""

    def add(self, kind: bytes, content: bytes, whole: bytes) -> None:
        """Sorts a chunk in."""
        if kind == b"IHDR":
            self.header = self.header or whole
        elif kind in (b"PLTE", b"tRNS"):
            self.colors.setdefault(kind, whole)
        elif kind == b"IDAT":
            self.data.append(content)
        elif kind == b"eXIf":
            self.exif = self.exif or content
        elif kind in (b"tEXt", b"zTXt") and self.profile is None and content.startswith(RAW_PROFILES):
            self.profile = _raw_profile(kind, content)
        elif kind == b"iTXt" and content.startswith(XMP_KEY):
            self.xmp = self.xmp or content


def _png(encoded: bytes, name: str) -> Picture:
    walk = _Png()
    _walk_png(encoded, walk, name)
    width, height, bytes_per_pixel = _png_header(walk.header, name)
    data = b"IDAT" + b"".join(walk.data)  # one chunk instead of many, which would cost a step each
    size = bytes_per_pixel * width * height
    parts = (
        PNG_SIGNATURE,
        walk.header,
        *walk.colors.values(),
        struct.pack(">L", len(data) - 4) + data + struct.pack(">L", zlib.crc32(data)),
        PNG_END,
    )
    orientation = read_orientation(walk.exif or walk.profile or b"", walk.xmp)
    return Picture("PNG", b"".join(parts), orientation, width, height, size, size)


def _walk_png(encoded: bytes, walk: _Png, name: str) -> None:
    position = len(PNG_SIGNATURE)
    for _ in range(limits.MAX_PARTS):
        kind = encoded[position + 4 : position + 8]
        if len(kind) < 4 or kind == b"IEND":
            return
        end = position + 12 + int.from_bytes(encoded[position : position + 4], "big")
        content = encoded[position + 8 : end - 4]
        if kind in (b"IHDR", b"PLTE", b"tRNS", b"IDAT"):
            _check_sum(kind + content, encoded[end - 4 : end], name)
        walk.add(kind, content, encoded[position:end])
        position = end
    raise UserError(f"{name} has more than {limits.MAX_PARTS} chunks; it is damaged.")


def _check_sum(content: bytes, expected: bytes, name: str) -> None:
    if len(expected) == 4 and zlib.crc32(content) != int.from_bytes(expected, "big"):
        raise UserError(f"{name} is damaged: a checksum in the file is wrong.")


def _png_header(header: bytes, name: str) -> tuple[int, int, int]:
    """Width, height, and bytes per pixel as Pillow decodes it."""
    if len(header) < 25:
        raise UserError(f"{name} is damaged: the file ends before the picture begins.")
    width, height, depth, colors = struct.unpack_from(">LLBB", header, 8)
    if colors in (GREY, PALETTE):
        return width, height, 2 if depth == 16 else 1
    return width, height, 4


def _raw_profile(kind: bytes, content: bytes) -> bytes:
    """EXIF as older programs wrote it into a PNG: a text of hexadecimal digits."""
    text = content.partition(b"\0")[2]
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
    pixels = size[0] * size[1]
    orientation = read_orientation(exif, xmp)
    return Picture("WEBP", encoded, orientation, *size, 4 * pixels, WEBP_BYTES_PER_PIXEL * pixels)


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


# HEIC and AVIF: boxes inside of boxes


def _heif(encoded: bytes, name: str) -> Picture:
    # Upright already: the decoder turns by the file's own boxes, and its EXIF repeats them.
    return _in_boxes("HEIF", encoded, HEIF_BYTES_PER_PIXEL, name)


def _avif(encoded: bytes, name: str) -> Picture:
    return _in_boxes("AVIF", encoded, AVIF_BYTES_PER_PIXEL, name)


def _in_boxes(format: str, encoded: bytes, bytes_per_pixel: int, name: str) -> Picture:
    """A picture whose size is the largest that its boxes name; tiles and previews are smaller."""
    sizes = [
        struct.unpack_from(">LL", encoded, start + 4)
        for meta, meta_end in _boxes(encoded, 0, len(encoded), b"meta", name)
        for properties, properties_end in _boxes(encoded, meta + 4, meta_end, b"iprp", name)
        for container, container_end in _boxes(encoded, properties, properties_end, b"ipco", name)
        for start, end in _boxes(encoded, container, container_end, b"ispe", name)
        if end - start >= 12
    ]
    if not sizes:
        raise UserError(f"{name} is damaged: the file does not say how large the picture is.")
    for width, height in sizes:
        limits.check_size(width, height, 0, name)
    width, height = max(sizes, key=lambda size: size[0] * size[1])
    pixels = width * height
    return Picture(format, encoded, 1, width, height, 4 * pixels, bytes_per_pixel * pixels)


def _boxes(encoded: bytes, position: int, end: int, wanted: bytes, name: str) -> Iterator[tuple[int, int]]:
    """Where the contents of the boxes of one kind begin and end; raises a UserError for a file cut short."""
    for _ in range(limits.MAX_PARTS):
        if position + 8 > end:
            return
        length, kind = struct.unpack_from(">L4s", encoded, position)
        if not (kind.isascii() and kind.decode().isprintable()):  # something else behind the picture
            return
        start = position + 8
        if length == 1 and start + 8 <= end:
            (length,) = struct.unpack_from(">Q", encoded, start)
            start += 8
        stop = position + length if length else end
        if not start <= stop <= end:
            raise UserError(f"{name} is damaged: the file ends before the picture does.")
        if kind == wanted:
            yield start, stop
        position = stop
    raise UserError(f"{name} has more than {limits.MAX_PARTS} boxes; it is damaged.")
