"""Fuzzing: changed JPEG, PNG, WebP, HEIC and AVIF files through the reader, from a seed.

`python -m tests.hostile.fuzz --count N --seed S [--photos FOLDER]` prints the count and every finding:
an exception other than UserError, pixels of another kind than promised, or more than two seconds.
"""

import argparse
import random
import struct
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from mobilevit_core.errors import UserError
from mobilevit_core.images.reading import SUFFIXES, read_photo
from tests.drawing import draw_photo
from tests.hostile import raw
from tests.hostile.corpus import encoded, from_heic

MOST_SECONDS = 2.0
INTERESTING = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
LENGTHS = (0, 1, 2, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


@dataclass(frozen=True)
class Finding:
    """What should not have happened.

    Attributes:
        number: of the file, counted from the seed.
        what: an exception or a time.
        content: the file.
    """

    number: int
    what: str
    content: bytes


def seeds() -> list[bytes]:
    """Sound files to change: each format, several ways of coding, with metadata."""
    photo = draw_photo((200, 80, 30), seed=3, size=(61, 47))
    turned = raw.segment(0xE1, raw.exif(6)) + raw.segment(0xFE, b"a comment")
    color, clear = photo, photo.convert("RGBA")
    clear.putalpha(90)
    other = Image.linear_gradient("L").resize(photo.size).convert("RGB")
    return [
        raw.with_segments(encoded(color, "JPEG", quality=90), turned),
        encoded(color, "JPEG", progressive=True),
        encoded(color.convert("CMYK"), "JPEG"),
        encoded(color, "JPEG", quality=60, restart_marker_blocks=4),
        encoded(color, "MPO", save_all=True, append_images=[other]),
        encoded(color, "PNG", exif=raw.exif(3)[6:]),
        encoded(color.convert("P"), "PNG", transparency=3),
        encoded(color.convert("1"), "PNG"),
        encoded(clear, "PNG"),
        encoded(color, "WEBP", exif=raw.exif(8)[6:]),
        encoded(clear, "WEBP", lossless=True),
        encoded(color, "WEBP", save_all=True, append_images=[other]),
        encoded(color, "AVIF", exif=raw.exif(6)[6:]),
        encoded(clear, "AVIF"),
        *(from_heic(kind)[0] for kind in ("plain", "turned", "alpha", "10-bit")),
    ]


def mutate(content: bytes, choose: random.Random, others: list[bytes]) -> bytes:
    """Changes a file in one to eight ways."""
    changed = bytearray(content)
    for _ in range(choose.randint(1, 8)):
        if not changed:
            break
        place = choose.randrange(min(len(changed), choose.choice((40, 700, len(changed)))))
        way = choose.randrange(7)
        if way == 0:
            changed[place] ^= 1 << choose.randrange(8)
        elif way == 1:
            changed[place] = choose.choice(INTERESTING)
        elif way == 2:
            changed[place : place + choose.randint(1, 60)] = b""
        elif way == 3:
            changed[place:place] = choose.randbytes(choose.randint(1, 60))
        elif way == 4:
            order = choose.choice((">H", "<H", ">L", "<L"))
            number = choose.choice(LENGTHS) & (0xFFFF if order[1] == "H" else 0xFFFFFFFF)
            changed[place : place + struct.calcsize(order)] = struct.pack(order, number)
        elif way == 5:
            other = choose.choice(others)
            start = choose.randrange(len(other))
            changed[place:place] = other[start : start + choose.randint(1, 200)]
        else:
            changed = changed[: max(1, place)] if choose.random() < 0.2 else changed * choose.randint(1, 2)
    result = bytes(changed)
    return _with_right_checksums(result) if choose.random() < 0.7 else result


def _with_right_checksums(content: bytes) -> bytes:
    """So that a changed PNG gets past its checksums."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return content
    changed, position = bytearray(content), 8
    while position + 12 <= len(changed):
        end = position + 8 + int.from_bytes(changed[position : position + 4], "big")
        if end + 4 > len(changed):
            break
        changed[end : end + 4] = struct.pack(">L", zlib.crc32(changed[position + 4 : end]))
        position = end + 4
    return bytes(changed)


def fuzz(count: int, seed: int, files: list[bytes]) -> Iterator[tuple[str, Finding | None]]:
    """Reads changed files.

    Args:
        count: how many.
        seed: of the changes.
        files: sound files.

    Yields:
        For each "answered" or "refused", and what was found, if anything.
    """
    choose = random.Random(seed)
    for number in range(count):
        content = mutate(choose.choice(files), choose, files)
        outcome, what, start = "answered", "", time.process_time()
        try:
            pixels = read_photo(content, "fuzz")
            if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape:
                what = f"{pixels.dtype} {pixels.shape}"
        except UserError as error:
            outcome = "refused"
            if not str(error).isprintable() or len(str(error)) > 300:
                what = f"message {error!s:.400}"
        except BaseException as error:
            outcome, what = "failed", repr(error)
        seconds = time.process_time() - start  # of this process: what else runs here has no part in it
        if seconds > MOST_SECONDS:
            what = f"{what} {seconds:.1f} s"
        yield outcome, Finding(number, what, content) if what else None


def main() -> int:
    """Runs from the command line; the exit code is 1 if anything was found."""
    parser = argparse.ArgumentParser(description="Changed picture files through the reader.")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--photos", type=Path, help="folder of photos to change as well")
    parser.add_argument("--keep", type=Path, help="folder to write findings to")
    arguments = parser.parse_args()
    files = seeds()
    if arguments.photos:
        found = (p for p in sorted(arguments.photos.rglob("*")) if p.suffix.lower() in SUFFIXES)
        files += [path.read_bytes() for path, _ in zip(found, range(100), strict=False)]
    outcomes: dict[str, int] = {}
    findings = []
    for outcome, finding in fuzz(arguments.count, arguments.seed, files):
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if finding:
            findings.append(finding)
            print(f"{finding.number}: {finding.what}", flush=True)
            if arguments.keep:
                arguments.keep.mkdir(parents=True, exist_ok=True)
                (arguments.keep / str(finding.number)).write_bytes(finding.content)
    print(f"{arguments.count} files from seed {arguments.seed}: {outcomes}, {len(findings)} findings")
    return bool(findings)


if __name__ == "__main__":
    raise SystemExit(main())
