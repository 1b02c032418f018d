"""Which image sizes the networks allow."""

from mobilevit_core.errors import UserError

# Five halvings bring the map to size/32, and the unfold of the last stage needs that to be even.
SIZE_STEP = 64
MAX_SIZE = 2048  # what memory is there for; far over what any of the networks is trained at


def check_image_size(image_size: int) -> None:
    """Raises a UserError that names the size and its nearest valid neighbours, unless it is valid."""
    if image_size > MAX_SIZE:
        raise UserError(f"Image size {image_size} is not possible: the largest is {MAX_SIZE}.")
    if image_size > 0 and image_size % SIZE_STEP == 0:
        return
    below = image_size // SIZE_STEP * SIZE_STEP
    nearest = [str(size) for size in (below, below + SIZE_STEP) if size >= SIZE_STEP] or [str(SIZE_STEP)]
    raise UserError(
        f"Image size {image_size} is not possible: the network halves the map five times and then pairs "
        f"its pixels, so the size must be a multiple of {SIZE_STEP}. Nearest: {' or '.join(nearest)}."
    )
