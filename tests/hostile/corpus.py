"""The corpus: files that a page open to strangers gets sooner or later, and what must come of each.

`python -m tests.hostile.corpus FOLDER` writes them.
"""

import io
import os
import random
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pi_heif
from PIL import Image

from tests.drawing import UNTURNED, draw_photo
from tests.hostile import raw

ANSWERED, REFUSED, EITHER = "answered", "refused", "either"
PHOTO = draw_photo((210, 60, 40), seed=5, size=(120, 90))


@dataclass(frozen=True)
class Entry:
    """One file.

    Attributes:
        name: of the file.
        content: its bytes.
        outcome: "answered", "refused" (in one sentence), or "either" where both are right.
        pixels: what an answer has to be about, uint8 (height, width, 3), where it is known.
        heavy: whether reading it in this process would take seconds or much memory.
    """

    name: str
    content: bytes
    outcome: str
    pixels: np.ndarray | None = None
    heavy: bool = False


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    """A picture as a file's bytes."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def plain(content: bytes) -> np.ndarray:
    """Pixels as Pillow reads them, without turning."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


@cache
def good(format: str) -> bytes:
    """A sound photo."""
    options = {"JPEG": {"quality": 90}, "PNG": {}, "WEBP": {"lossless": True}}[format]
    return encoded(PHOTO, format, **options)


SUFFIX = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}


def orientations() -> Iterator[Entry]:
    """EXIF 1 to 8 in each format, EXIF in a PNG's text, and XMP."""
    for format, suffix in SUFFIX.items():
        for number, store in UNTURNED.items():
            stored = Image.fromarray(np.ascontiguousarray(store(np.asarray(PHOTO))))
            options = {"JPEG": {"quality": 95}, "PNG": {}, "WEBP": {"lossless": True}}[format]
            content = encoded(stored, format, exif=raw.exif(number)[6:], **options)
            if format == "JPEG":
                content = raw.with_segments(
                    encoded(stored, format, **options), raw.segment(0xE1, raw.exif(number))
                )
            back = {6: 8, 8: 6}.get(number, number)
            yield Entry(f"exif-{number}.{suffix}", content, ANSWERED, UNTURNED[back](plain(content)))
    turned = UNTURNED[8](np.asarray(PHOTO))
    xmp = b'<x tiff:Orientation="6"/>'
    text = b"\nexif\n 0\n" + raw.exif(6).hex().encode()
    chunks = {
        "xmp": raw.chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp),
        "text": raw.chunk(b"tEXt", b"Raw profile type exif\0" + text),
        "packed-text": raw.chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)),
    }
    for kind, chunk in chunks.items():
        yield Entry(f"orientation-{kind}.png", raw.with_chunks(good("PNG"), chunk), ANSWERED, turned)
    packet = raw.segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp)
    yield Entry(
        "orientation-xmp.jpg",
        raw.with_segments(good("JPEG"), packet),
        ANSWERED,
        UNTURNED[8](plain(good("JPEG"))),
    )


def odd_metadata() -> Iterator[Entry]:
    """Damaged EXIF, ICC and MPF: never a reason to refuse a picture."""
    upright, turned = plain(good("JPEG")), UNTURNED[8](plain(good("JPEG")))
    for number, data in enumerate(_odd_exif()):
        content = raw.with_segments(good("JPEG"), raw.segment(0xE1, data))
        yield Entry(f"exif-odd-{number:02}.jpg", content, ANSWERED, turned)
    for number, data in enumerate((b"Exif\0\0", b"Exif\0\0II", raw.exif(0), raw.exif(9), raw.exif(6)[:14])):
        content = raw.with_segments(good("JPEG"), raw.segment(0xE1, data))
        yield Entry(f"exif-useless-{number}.jpg", content, ANSWERED, upright)
    for kind, data in {
        "icc": b"ICC_PROFILE\0\1\1" + b"\xff" * 500,
        "icc-numbering": b"ICC_PROFILE\0\7\3" + b"\0" * 90,
        "mpf": b"MPF\0II*\0\xff\xff\xff\xff",
        "mpf-short": b"MPF\0",
    }.items():
        content = raw.with_segments(good("JPEG"), raw.segment(0xE2, data))
        yield Entry(f"damaged-{kind}.jpg", content, ANSWERED, upright)
    photoshop = raw.segment(0xED, b"Photoshop 3.0\0" + b"8BIM\4\x04\xff\xff\xff\xff")
    yield Entry("damaged-photoshop.jpg", raw.with_segments(good("JPEG"), photoshop), ANSWERED, upright)
    pixels = np.asarray(PHOTO)
    for kind, chunk in {
        "exif": raw.chunk(b"eXIf", b"II*\0\xff\xff\xff\xff"),
        "exif-checksum": raw.chunk(b"eXIf", raw.exif(1)[6:])[:-4] + b"\0\0\0\0",
        "icc": raw.chunk(b"iCCP", b"x\0\0" + b"nonsense"),
        "gamma": raw.chunk(b"gAMA", b""),
        "resolution": raw.chunk(b"pHYs", b"\0"),
        "text": raw.chunk(b"zTXt", b"x\0\0nonsense"),
        "raw-profile": raw.chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 9\nzz"),
    }.items():
        yield Entry(f"damaged-{kind}.png", raw.with_chunks(good("PNG"), chunk), ANSWERED, pixels)
    for kind, extra in {"exif": (b"EXIF", b"II*\0\xff\xff"), "icc": (b"ICCP", b"nonsense")}.items():
        flags = {"exif": 0x08, "icc": 0x20}[kind]
        canvas = bytes([flags, 0, 0, 0]) + struct.pack("<L", 119)[:3] + struct.pack("<L", 89)[:3]
        body = (b"VP8L", good("WEBP")[20:])
        parts = [(b"VP8X", canvas), body, extra] if kind == "exif" else [(b"VP8X", canvas), extra, body]
        yield Entry(f"damaged-{kind}.webp", raw.riff(*parts), ANSWERED, pixels)


def _odd_exif() -> Iterator[bytes]:
    """EXIF that says "turn" correctly and is odd elsewhere."""
    for tag in (0x8769, 0x8825, 0xA005, 0x014A):  # pointers to sub-directories
        yield raw.exif(6, [(tag, 9, 1, struct.pack("<l", -7))])
        yield raw.exif(6, [(tag, 4, 1, struct.pack("<L", 0xFFFFFFF0))])
        yield raw.exif(6, [(tag, 2, 1000, b"\xff" * 4)])
    yield raw.exif(6, order=">")
    yield raw.exif(6, [(0x010F, 2, 0xFFFFFFFF, b"\0" * 4)])
    yield raw.exif(6, [(0x011A, 5, 1, b"\xff" * 4)])  # a fraction outside of the data
    choose = random.Random(11)
    for _ in range(25):
        more = [
            (
                choose.choice((0x0100, 0x010F, 0x011A, 0x0132, 0x8298, 0x8769, choose.randrange(65536))),
                choose.randrange(20),
                choose.choice((0, 1, 7, 2**31, 2**32 - 1)),
                choose.randbytes(4),
            )
            for _ in range(choose.randrange(1, 6))
        ]
        yield raw.exif(6, [entry for entry in more if entry[0] != 0x0112])


def truncated() -> Iterator[Entry]:
    """Cut at many places."""
    files = {
        "baseline.jpg": good("JPEG"),
        "progressive.jpg": encoded(PHOTO, "JPEG", progressive=True),
        "photo.png": good("PNG"),
        "photo.webp": good("WEBP"),
        "lossy.webp": encoded(PHOTO, "WEBP"),
    }
    for name, content in files.items():
        for share in (0.0, 0.01, 0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97):
            cut = content[: int(len(content) * share)]
            yield Entry(f"cut-{int(share * 100):02}-{name}", cut, REFUSED)
        yield Entry(f"cut-last-byte-{name}", content[:-1], EITHER)
        stem, suffix = name.split(".")
        junk = content + b"\0junk\xff\xd8\xff" * 999
        yield Entry(f"trailing-junk-{stem}.{suffix}", junk, ANSWERED, plain(content))


def damaged_data() -> Iterator[Entry]:
    """Headers that lie, and data that were changed."""
    jpeg, end = good("JPEG"), good("JPEG").rindex(raw.EOI)
    frame = jpeg.index(b"\xff\xc0")
    large = encoded(draw_photo((20, 200, 60), seed=6, size=(640, 480)), "JPEG", quality=95)

    def sized(content: bytes, height: int, width: int) -> bytes:
        place = content.index(b"\xff\xc0") + 5
        return content[:place] + struct.pack(">HH", height, width) + content[place + 4 :]

    yield Entry("header-larger.jpg", sized(jpeg, 900, 1200), REFUSED)
    yield Entry("header-taller.jpg", sized(jpeg, 130, 120), REFUSED)
    yield Entry("header-huge.jpg", sized(jpeg, 10_900, 10_900), REFUSED)
    yield Entry("header-much-smaller.jpg", sized(large, 16, 16), REFUSED)
    yield Entry("header-zero.jpg", sized(jpeg, 0, 120), REFUSED)
    yield Entry("header-max.jpg", sized(jpeg, 65_535, 65_535), REFUSED)
    yield Entry("data-half-with-end.jpg", jpeg[: (frame + end) // 2] + raw.EOI, REFUSED)
    yield Entry("data-90-with-end.jpg", jpeg[: end - 300] + raw.EOI, REFUSED)
    yield Entry("data-none.jpg", jpeg[: jpeg.index(b"\xff\xda") + 14] + raw.EOI, REFUSED)
    yield Entry("no-end-of-picture.jpg", jpeg[:end], EITHER)
    yield Entry("grey-corner.jpg", *_grey_corner())
    png = bytearray(good("PNG"))
    png[len(png) // 2] ^= 0x10
    yield Entry("flipped-bit.png", bytes(png), REFUSED)
    yield Entry("header-checksum.png", good("PNG")[:20] + b"\7" + good("PNG")[21:], REFUSED)
    yield Entry("no-pixels.png", good("PNG")[:33] + raw.chunk(b"IEND", b""), REFUSED)
    yield Entry(
        "nonsense.png", good("PNG")[:33] + raw.chunk(b"IDAT", b"no") + raw.chunk(b"IEND", b""), REFUSED
    )
    yield Entry("negative-length.png", good("PNG")[:33] + b"\xff\xff\xff\xffIDAT" + b"\0" * 50, REFUSED)
    yield Entry("nonsense.webp", raw.riff((b"VP8L", b"\x2f" + b"\xff" * 30)), REFUSED)


def _grey_corner() -> tuple[bytes, str, np.ndarray]:
    """A sound picture that looks like one whose data ran out."""
    pixels = np.asarray(PHOTO).copy()
    pixels[-24:] = 128
    content = encoded(Image.fromarray(pixels), "JPEG", quality=95)
    return content, ANSWERED, plain(content)


def modes() -> Iterator[Entry]:
    """Every way to store colours."""
    for mode in ("1", "L", "LA", "P", "RGBA"):
        image = PHOTO.convert(mode)
        yield Entry(f"mode-{mode}.png", encoded(image, "PNG"), ANSWERED, np.asarray(image.convert("RGB")))
    for mode in ("L", "CMYK", "YCbCr"):
        content = encoded(PHOTO.convert(mode), "JPEG")
        yield Entry(f"mode-{mode}.jpg", content, ANSWERED, plain(content))
    ycck = encoded(PHOTO.convert("CMYK"), "JPEG")
    adobe = ycck.index(b"Adobe")
    yield Entry("mode-YCCK.jpg", ycck[: adobe + 11] + b"\2" + ycck[adobe + 12 :], ANSWERED)
    grey = np.asarray(PHOTO.convert("L"))
    deep = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "PNG")
    yield Entry("mode-16-bit.png", deep, ANSWERED, np.repeat(grey[..., None], 3, axis=2))
    yield Entry("mode-16-bit-rgb.png", raw.png(40, 30, 2, 16), ANSWERED, np.full((30, 40, 3), 0x50, np.uint8))
    yield Entry("mode-2-bit.png", raw.png(40, 30, 0, 2), ANSWERED)
    yield Entry("mode-bad-depth.png", raw.png(40, 30, 2, 4), REFUSED)
    yield Entry("palette-missing.png", raw.png(40, 30, 3), EITHER)
    short = raw.chunk(b"PLTE", b"\1\2\3")
    yield Entry("palette-short.png", raw.png(40, 30, 3, extra=short), EITHER)
    clear = PHOTO.convert("RGBA")
    clear.putalpha(0)
    white = np.full((90, 120, 3), 255, np.uint8)
    yield Entry("transparent.png", encoded(clear, "PNG"), ANSWERED, white)
    yield Entry("transparent.webp", encoded(clear, "WEBP", lossless=True), ANSWERED, white)
    yield Entry("float.tif", encoded(PHOTO.convert("F"), "TIFF"), REFUSED)
    progressive = encoded(PHOTO, "JPEG", progressive=True)
    yield Entry("progressive.jpg", progressive, ANSWERED, plain(progressive))


HEIC = Path(__file__).with_name("heic")  # PHOTO as pillow-heif 1.8.1 wrote it, quality 40


def from_heic(kind: str) -> tuple[bytes, np.ndarray]:
    """A file, and its pixels by the decoder alone, over white."""
    content = (HEIC / f"{kind}.heic").read_bytes()
    image = pi_heif.open_heif(content).to_pillow().convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return content, np.asarray(Image.alpha_composite(white, image).convert("RGB"))


def sized_box(content: bytes, width: int, height: int) -> bytes:
    """The file with another size in its box."""
    place = content.index(b"ispe") + 8
    return content[:place] + struct.pack(">LL", width, height) + content[place + 8 :]


def heic_and_avif() -> Iterator[Entry]:
    """What phones write today: turned, transparent, deep, cut, lying, and with odd boxes."""
    for kind in ("plain", "turned", "alpha", "10-bit"):
        yield Entry(f"heic-{kind}.heic", *_answered(*from_heic(kind)))
    avif = encoded(PHOTO, "AVIF", quality=60)
    yield Entry("avif-plain.avif", *_answered(avif, plain(avif)))
    exif = Image.Exif()
    exif[0x0112] = 6
    yield Entry(
        "avif-turned.avif",
        *_answered(encoded(PHOTO, "AVIF", quality=60, exif=exif), UNTURNED[8](plain(avif))),
    )
    for suffix, content in (("heic", from_heic("plain")[0]), ("avif", avif)):
        pixels = from_heic("plain")[1] if suffix == "heic" else plain(avif)
        for share in (1, 5, 10, 30, 50, 70, 90, 97):
            yield Entry(f"cut-{share:02}.{suffix}", content[: len(content) * share // 100], REFUSED)
        yield Entry(f"cut-last-byte.{suffix}", content[:-1], REFUSED)
        yield Entry(f"trailing-junk.{suffix}", *_answered(content + b"\0junk\xff\xd8\xff" * 999, pixels))
        yield Entry(f"{suffix}-named.jpg", *_answered(content, pixels))
        yield Entry(f"size-zero.{suffix}", sized_box(content, 0, 90), REFUSED)
        yield Entry(f"size-larger-than-limit.{suffix}", sized_box(content, 31_000, 31_000), REFUSED)
        smaller = {"heic": REFUSED, "avif": EITHER}[suffix]  # libavif scales to the size that the box names
        yield Entry(f"size-smaller-than-picture.{suffix}", sized_box(content, 16, 16), smaller)
        yield Entry(f"size-larger-than-picture.{suffix}", sized_box(content, 4000, 3000), EITHER)
        yield Entry(f"size-missing.{suffix}", content.replace(b"ispe", b"free"), REFUSED)
        boxes = struct.pack(">L4s", 8, b"free")
        yield Entry(f"boxes-100000.{suffix}", content[:24] + boxes * 100_000 + content[24:], REFUSED)
        for name, changed in (("codec", b"zzz1"), ("type", b"mime")):
            old = {"codec": {"heic": b"hvc1", "avif": b"av01"}[suffix], "type": b"pict"}[name]
            yield Entry(f"unknown-{name}.{suffix}", content.replace(old, changed), REFUSED)
    yield Entry("really-a-jpeg.heic", *_answered(good("JPEG"), plain(good("JPEG"))))
    yield Entry("no-suffix", *_answered(good("JPEG"), plain(good("JPEG"))))


def _answered(content: bytes, pixels: np.ndarray) -> tuple[bytes, str, np.ndarray]:
    return content, ANSWERED, pixels


def deep_and_transparent() -> Iterator[Entry]:
    """12 bits in 16, and white drawings on nothing."""
    grey = np.asarray(PHOTO.convert("L"))
    values = grey.astype(np.uint16) * 4095 // 255  # the brightest pixel needs all 12 bits
    values[0, 0] = 4095
    expected = np.round(values * (255 / 4095)).astype(np.uint8)
    twelve = encoded(Image.fromarray(values), "PNG")
    yield Entry("mode-12-bit-in-16.png", *_answered(twelve, np.repeat(expected[..., None], 3, axis=2)))
    for kind, value in (("white", 255), ("black", 0)):
        icon = np.zeros((90, 120, 4), np.uint8)
        icon[20:70, 30:90] = (value, value, value, 255)
        shown = np.full((90, 120, 3), 255 - value, np.uint8)
        shown[20:70, 30:90] = value
        content = encoded(Image.fromarray(icon), "PNG")
        yield Entry(f"icon-{kind}.png", *_answered(content, shown))
        yield Entry(
            f"icon-{kind}.webp", *_answered(encoded(Image.fromarray(icon), "WEBP", lossless=True), shown)
        )


def animated() -> Iterator[Entry]:
    """Several pictures in a file: the first counts."""
    other = draw_photo((20, 30, 200), seed=7, size=PHOTO.size)
    more = {"save_all": True, "append_images": [other, PHOTO]}
    yield Entry("animated.gif", encoded(PHOTO, "GIF", **more), REFUSED)
    pixels = np.asarray(PHOTO)
    yield Entry("animated.webp", encoded(PHOTO, "WEBP", lossless=True, **more), ANSWERED, pixels)
    yield Entry("animated.png", encoded(PHOTO, "PNG", **more), ANSWERED, pixels)
    mpo = encoded(PHOTO, "MPO", **more)
    yield Entry("two-pictures.jpg", mpo, ANSWERED, plain(mpo))
    place = mpo.index(b"MPF\0")
    broken = mpo[: place + 12] + b"\xff" * 30 + mpo[place + 42 :]
    yield Entry("two-pictures-damaged-list.jpg", broken, ANSWERED, plain(mpo))


def other_kinds() -> Iterator[Entry]:
    """Files of other kinds under a picture's name."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("photo.jpg", good("JPEG"))
    kinds = {
        "empty": b"",
        "text": b"hello, I am a text file\n" * 9,
        "html": b"<html><script>alert(1)</script></html>",
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        "pdf": b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n",
        "elf": b"\x7fELF\2\1\1" + b"\0" * 99,
        "exe": b"MZ" + b"\0" * 99,
        "zip": archive.getvalue(),
        "gzip": b"\x1f\x8b\x08" + b"\0" * 30,
        "json": b'{"path": "/etc/passwd"}',
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "zeros": b"\0" * 100_000,
        "random": random.Random(1).randbytes(100_000),
        "bmp": encoded(PHOTO, "BMP"),
        "tiff": encoded(PHOTO, "TIFF"),
        "ico": encoded(PHOTO, "ICO"),
        "jpeg2000": encoded(PHOTO, "JPEG2000"),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0" * 99,
        "avif": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf" + b"\0" * 99,
        "riff-wave": b"RIFF\x24\0\0\0WAVEfmt " + b"\0" * 40,
    }
    for kind, content in kinds.items():
        yield Entry(f"really-{kind}.jpg", content, REFUSED)
    yield Entry("really-a-png.jpg", good("PNG"), ANSWERED, np.asarray(PHOTO))
    yield Entry("really-a-jpeg.webp", good("JPEG"), ANSWERED, plain(good("JPEG")))


def sizes() -> Iterator[Entry]:
    """Thin, tiny and large."""
    for width, height in ((1, 1), (2, 1), (1, 2), (1, 90), (90, 1), (3, 250)):
        image = PHOTO.resize((width, height))
        yield Entry(f"size-{width}x{height}.png", encoded(image, "PNG"), ANSWERED, np.asarray(image))
    yield Entry("size-1x20000.png", raw.png(1, 20_000, 2), REFUSED)
    yield Entry("size-20000x1.png", raw.png(20_000, 1, 2), REFUSED)
    yield Entry("size-1x119999999.png", raw.png(1, 119_999_999 // 100 * 100, 0), REFUSED, heavy=True)
    yield Entry("size-33000x400.png", raw.png(33_000, 400, 0), REFUSED)
    yield Entry(
        "size-0x9.png", raw.png(9, 9, 2).replace(struct.pack(">LL", 9, 9), struct.pack(">LL", 0, 9)), REFUSED
    )
    phone = encoded(PHOTO.resize((12_000, 9000)), "JPEG", quality=85)
    yield Entry("phone-108-megapixels.jpg", phone, ANSWERED, heavy=True)


def bombs() -> Iterator[Entry]:
    """Small files that become large."""
    for kind, color, depth in (("rgba", 6, 8), ("rgb-16-bit", 2, 16)):
        yield Entry(f"bomb-{kind}.png", raw.png(10_900, 10_900, color, depth), REFUSED)
        yield Entry(f"large-{kind}.png", raw.png(8000, 8000, color, depth), EITHER, heavy=True)
    for kind, depth in (("grey-16-bit", 16), ("grey", 8)):
        yield Entry(f"bomb-{kind}.png", raw.png(10_900, 10_900, 0, depth), EITHER, heavy=True)
    yield Entry("bomb-interlaced.png", raw.png(8000, 8000, 6, interlaced=1), EITHER, heavy=True)
    yield Entry("bomb-900-megapixels.png", raw.png(30_000, 30_000, 0, 1), REFUSED)
    yield Entry("bomb-119-megapixels.webp", raw.solid_webp(10_900, 10_900), REFUSED)
    black = raw.solid_webp(5900, 5900)
    yield Entry("bomb-35-megapixels.webp", black, EITHER, np.zeros((2950, 2950, 3), np.uint8), heavy=True)
    packed = raw.packed(b"\0" * 1_000_000, 300)
    pixels = np.asarray(PHOTO)
    for kind, chunk in {
        "ztxt": raw.chunk(b"zTXt", b"x\0\0" + packed),
        "iccp": raw.chunk(b"iCCP", b"x\0\0" + packed),
        "itxt": raw.chunk(b"iTXt", b"x\0\1\0\0\0" + packed),
        "raw-profile": raw.chunk(b"zTXt", b"Raw profile type exif\0\0" + packed),
    }.items():
        yield Entry(f"bomb-{kind}.png", raw.with_chunks(good("PNG"), chunk), ANSWERED, pixels)
    yield Entry("bomb.gif", encoded(Image.new("P", (9000, 9000)), "GIF"), REFUSED)


def endless() -> Iterator[Entry]:
    """Much ado: scans, markers and chunks by the thousand."""
    for count in (101, 300, 2000):
        yield Entry(f"scans-{count}.jpg", raw.scans(10_900, 10_900, count, 2400), REFUSED)
    yield Entry("scans-2000-short.jpg", raw.scans(10_900, 10_900, 2000, 166), REFUSED)
    for count in (26, 100):
        yield Entry(f"scans-{count}.jpg", raw.scans(10_900, 10_900, count, 9600), REFUSED)
    yield Entry("scans-25.jpg", raw.scans(10_900, 10_900, 25, 9600), EITHER, heavy=True)
    yield Entry("scans-100-30-megapixels.jpg", raw.scans(6000, 5000, 100, 2400), EITHER, heavy=True)
    yield Entry("scans-100-small.jpg", raw.scans(400, 300, 100, 2400), EITHER)
    jpeg, upright = good("JPEG"), plain(good("JPEG"))
    for kind, one, count in (
        ("markers", raw.segment(0xFE, b"x"), 99_000),
        ("exif", raw.segment(0xE1, b"Exif\0\0II"), 50_000),
    ):
        yield Entry(f"many-{kind}.jpg", raw.with_segments(jpeg, one * count), ANSWERED, upright)
    comment = raw.segment(0xFE, b"x")
    yield Entry("markers-100000.jpg", raw.with_segments(jpeg, comment * 100_000), REFUSED)
    yield Entry("tables.jpg", raw.with_segments(jpeg, raw.segment(0xDB, b"\0" + b"\1" * 64) * 9000), EITHER)
    yield Entry("fill-bytes.jpg", raw.with_segments(jpeg, b"\xff" * 1_000_000), EITHER)
    text = raw.chunk(b"tEXt", b"a\0b")
    yield Entry("chunks.png", raw.with_chunks(good("PNG"), text * 50_000), ANSWERED, np.asarray(PHOTO))
    yield Entry("chunks-100000.png", raw.with_chunks(good("PNG"), text * 100_000), REFUSED)
    exif = raw.chunk(b"zTXt", b"Raw profile type exif\0\0" + raw.packed(b"\n" * 1_000_000, 1))
    palette = raw.chunk(b"PLTE", b"\1\2\3" * 200)
    for kind, chunks in {"profiles": exif * 2000, "palettes": palette * 10_000}.items():
        yield Entry(f"many-{kind}.png", raw.with_chunks(good("PNG"), chunks), ANSWERED, np.asarray(PHOTO))
    indexed = raw.png(40, 30, 3, extra=raw.chunk(b"PLTE", bytes((7, 8, 9)) * 256) + palette * 10_000)
    yield Entry("many-palettes-indexed.png", indexed, ANSWERED, np.full((30, 40, 3), (7, 8, 9), np.uint8))
    yield Entry("empty-data.png", raw.with_chunks(good("PNG"), raw.chunk(b"IDAT", b"") * 20_000), EITHER)


def names() -> Iterator[Entry]:
    """Sound photos with names that are hard to bear."""
    content, pixels = good("JPEG"), plain(good("JPEG"))
    for name in (
        os.fsdecode(b"latin-\xe9\xe8.jpg"),
        "émoji-🌻.jpg",
        'it\'s "quoted".jpg',
        "<b onmouseover=alert(1)>.jpg",
        "=1+1.jpg",
        "@SUM(A1).jpg",
        "-rf.jpg",
        "line\nbreak.jpg",
        "tab\t\x1b[31m.jpg",
        "%s%n$(id)`id`;id.jpg",
        " .jpg",
        "..jpg",
        "CON.jpg",
        "x" * 240 + ".jpg",
        "UPPER.JPG",
        "שלום.jpg",
    ):
        yield Entry(name, content, ANSWERED, pixels)
    yield Entry("bad\nname\x1b[31m.jpg", b"no picture", REFUSED)
    yield Entry("y" * 240 + ".jpg", b"no picture", REFUSED)


PARTS = (
    orientations,
    odd_metadata,
    truncated,
    damaged_data,
    modes,
    deep_and_transparent,
    heic_and_avif,
    animated,
    other_kinds,
    sizes,
    bombs,
    endless,
    names,
)


@cache
def corpus() -> tuple[Entry, ...]:
    """All files, each with a name of its own."""
    entries = tuple(entry for part in PARTS for entry in part())
    assert len({entry.name for entry in entries}) == len(entries)
    return entries


def write(folder: Path) -> list[tuple[Path, Entry]]:
    """Writes the corpus; names that the file system refuses are left out."""
    written = []
    for entry in corpus():
        try:
            (folder / entry.name).write_bytes(entry.content)
        except (OSError, UnicodeEncodeError):
            continue
        written.append((folder / entry.name, entry))
    return written


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    print(f"{len(write(target))} files in {target}")
