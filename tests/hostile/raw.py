"""Picture files written byte by byte, which no library would write."""

import struct
import zlib

SOI, EOI = b"\xff\xd8", b"\xff\xd9"
ROWS = 100  # of a PNG, compressed once and repeated


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG's chunk with its checksum."""
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def packed(block: bytes, count: int, rest: bytes = b"") -> bytes:
    """zlib's stream for a block again and again and a rest, without compressing it again and again."""
    packer = zlib.compressobj(9)
    first, again = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    check = 1
    for _ in range(count):
        check = zlib.adler32(block, check)
    tail = zlib.compressobj(9, wbits=-15)
    end = tail.compress(rest) + tail.flush()
    return first + again * (count - 1) + end + struct.pack(">L", zlib.adler32(rest, check))


def png(
    width: int, height: int, color: int, depth: int = 8, extra: bytes = b"", interlaced: int = 0
) -> bytes:
    """A PNG of any size in no time: the same rows again and again.

    Args:
        width: in pixels.
        height: in pixels.
        color: colour type; 0 grey, 2 RGB, 3 palette, 6 RGBA.
        depth: bits per channel.
        extra: chunks before the pixels.
        interlaced: 1 claims Adam7 (the rows are not rearranged).
    """
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    row = b"\0" + b"\x50" * -(-width * channels * depth // 8)
    rows = min(ROWS, height)
    data = packed(row * rows, height // rows, row * (height % rows))
    header = struct.pack(">LLBBBBB", width, height, depth, color, 0, 0, interlaced)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def segment(code: int, content: bytes) -> bytes:
    """A JPEG's segment."""
    return bytes([0xFF, code]) + struct.pack(">H", len(content) + 2) + content


def scans(width: int, height: int, count: int, bytes_per_scan: int) -> bytes:
    """A progressive grey JPEG of many scans, all about nothing."""
    tables = segment(0xDB, b"\0" + b"\1" * 64)
    frame = segment(0xC2, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    one_code = b"\1" + b"\0" * 15 + b"\0"  # one code of one bit, for 0
    huffman = segment(0xC4, b"\0" + one_code) + segment(0xC4, b"\x10" + one_code)
    data = b"\0" * bytes_per_scan
    first = segment(0xDA, b"\1\1\0\0\0\0") + data
    more = segment(0xDA, b"\1\1\0\1\x3f\0") + data
    return SOI + tables + frame + huffman + first + more * (count - 1) + EOI


def with_segments(jpeg: bytes, segments: bytes) -> bytes:
    """A JPEG with further segments behind its beginning."""
    return SOI + segments + jpeg[2:]


def with_chunks(encoded: bytes, chunks: bytes) -> bytes:
    """A PNG with further chunks behind its header."""
    return encoded[:33] + chunks + encoded[33:]


def exif(orientation: int, more: list[tuple[int, int, int, bytes]] | None = None, order: str = "<") -> bytes:
    """EXIF data with an orientation and further entries (tag, type, count, 4 bytes), in the order of tags."""
    entries = [(0x0112, 3, 1, struct.pack(order + "HH", orientation, 0)), *(more or [])]
    packed = b"".join(struct.pack(order + "HHL", *entry[:3]) + entry[3] for entry in sorted(entries))
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HL", 42, 8)
    return b"Exif\0\0" + head + struct.pack(order + "H", len(entries)) + packed + b"\0" * 4


def riff(*chunks: tuple[bytes, bytes]) -> bytes:
    """A WebP file of the given chunks."""
    packed = b"".join(
        kind + struct.pack("<L", len(content)) + content + b"\0" * (len(content) % 2)
        for kind, content in chunks
    )
    return b"RIFF" + struct.pack("<L", len(packed) + 4) + b"WEBP" + packed


def solid_webp(width: int, height: int) -> bytes:
    """A lossless WebP of one colour: 40 bytes for any size."""
    size = (width - 1) | (height - 1) << 14
    # No transform, no colour cache, no meta codes; then five codes of a single symbol, zero.
    bits = sum(1 << 3 + 4 * code for code in range(5))
    return riff((b"VP8L", b"\x2f" + struct.pack("<L", size) + struct.pack("<L", bits)))
