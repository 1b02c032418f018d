"""What a photo may be at most. Checked on its header, before anything is decoded."""

from mobilevit_core.errors import UserError

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 120_000_000  # a 108-megapixel phone picture passes
MAX_SIDE = 32_000  # pixels
MAX_ASPECT = 100  # longer side over shorter side
MAX_DECODED_BYTES = 256 * 2**20  # after decoding: 64 million pixels in colour, but for large JPEGs (below)
MAX_WORKING_BYTES = 700 * 2**20  # memory that the decoder takes
MAX_SCANS = 100  # of a JPEG; each goes over the whole picture again, and ten are usual
MAX_SCANNED_PIXELS = 3_000_000_000  # scans times pixels: 25 scans of the largest picture, 0.5 s of work
MAX_PARTS = 100_000  # segments of a JPEG, chunks of a PNG

# A larger photo is decoded at the largest of 1/2, 1/4 or 1/8 of its size that is not larger. Resized for
# the network, the result differs by 1 of 255 levels on average and by 8 at the most (tests/images).
FULL_SIZE_PIXELS = 16_000_000
FACTORS = (1, 2, 4, 8)

QUICK_BYTES = 192 * 2**20  # what takes more memory to decode waits for its turn


def is_large(width: int, height: int, working_bytes: int) -> bool:
    """Whether decoding a picture takes so much that one at a time is enough."""
    return width * height > FULL_SIZE_PIXELS or working_bytes > QUICK_BYTES


def reduction(width: int, height: int) -> int:
    """By which factor a photo's sides are divided while it is decoded: 1, 2, 4 or 8."""
    return next((f for f in FACTORS if width * height <= FULL_SIZE_PIXELS * f * f), FACTORS[-1])


def check_size(width: int, height: int, decoded_bytes: int, name: str, working_bytes: int = 0) -> None:
    """Refuses a picture that is too large to decode.

    Args:
        width: in pixels.
        height: in pixels.
        decoded_bytes: memory that the decoded picture takes.
        name: of the photo, for the message.
        working_bytes: memory that the decoder takes.

    Raises:
        UserError: a limit is exceeded; the message names both.
    """
    size = f"{name} has {width} x {height} pixels"
    if width < 1 or height < 1:
        raise UserError(f"{size}: it is damaged.")
    if width * height > MAX_PIXELS:
        raise UserError(f"{size}; the limit is {MAX_PIXELS // 1_000_000} million.")
    if max(width, height) > MAX_SIDE:
        raise UserError(f"{size}; the limit is {MAX_SIDE} pixels per side.")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise UserError(f"{size}; one side may be at most {MAX_ASPECT} times the other.")
    for taken, limit in ((decoded_bytes, MAX_DECODED_BYTES), (working_bytes, MAX_WORKING_BYTES)):
        if taken > limit:
            raise UserError(
                f"{size} and takes {taken / 2**20:.0f} MiB of memory to decode; "
                f"the limit is {limit // 2**20} MiB. A smaller JPEG copy will work."
            )


def check_scans(scans: int, width: int, height: int, name: str) -> None:
    """Refuses a JPEG of so many scans that decoding would take too long.

    Args:
        scans: their number.
        width: in pixels.
        height: in pixels.
        name: of the photo, for the message.

    Raises:
        UserError: a limit is exceeded; the message names the way out.
    """
    most = min(MAX_SCANS, MAX_SCANNED_PIXELS // max(1, width * height))
    if scans > most:
        raise UserError(
            f"{name} is a progressive JPEG of more than {most} scans, "
            "which would take too long to decode. Save it again as an ordinary JPEG."
        )
