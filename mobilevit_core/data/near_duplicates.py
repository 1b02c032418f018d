"""How alike photos look, whatever their size, compression and file: to keep copies out of training.

Likeness is the correlation of grey thumbnails of 24 x 24 pixels, mirror images included. Most pairs are
ruled out by few numbers: the lowest frequencies of both thumbnails and the length of what remains bound the
correlation from above. Memory is bounded by blocks; time grows with the square of the number of photos,
so very many are compared within their classes only.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from mobilevit_core.data.dataset import THUMBNAIL

# The known near-duplicates of tf_flowers lie between 0.905 and 1.000 (`near_duplicates.csv`). Among 8,189
# photos of other flowers two reached 0.90 without being copies: round blossoms on a dark ground.
LOOK_ALIKE = 0.9
# Where whole classes look alike (things on a plain ground), only higher likeness means a copy. Groups that
# are too large at one step are divided by the next; what the last holds together stays together.
STEPS = (LOOK_ALIKE, 0.95, 0.98, 0.995)
SMALL_GROUP = 3  # photos; a group up to this size, or a tenth of a class, is never too large
MOST_PAIRS = 5_000_000  # kept at a time; with more, the search goes on at the next step only
LOW = 8  # frequencies in each direction
BLOCK = 2048
MOST_COMPARED = 40_000  # photos compared across classes, too


def likeness_to(thumbnails: Sequence[np.ndarray], others: Sequence[np.ndarray]) -> np.ndarray:
    """The highest likeness of each photo to any of the others.

    Args:
        thumbnails: grey, uint8 (24, 24) each.
        others: what to compare with; -1 for all where there are none.

    Returns:
        float32 (photos,), -1..1.
    """
    highest = np.full(len(thumbnails), -1, np.float32)
    for second_start in range(0, len(others), BLOCK):
        second = _vectors(others[second_start : second_start + BLOCK])
        flat = second.reshape(len(second), -1).T
        mirrored = second[:, :, ::-1].reshape(len(second), -1).T
        for start in range(0, len(thumbnails), BLOCK):
            part = slice(start, start + BLOCK)
            first = _vectors(thumbnails[part])
            first = first.reshape(len(first), -1)
            values = np.maximum((first @ flat).max(axis=1), (first @ mirrored).max(axis=1))
            highest[part] = np.maximum(highest[part], values)
    return highest


def group_alike(thumbnails: Sequence[np.ndarray], labels: Sequence[int]) -> np.ndarray:
    """Groups of photos that are (nearly) copies of each other.

    Args:
        thumbnails: grey, uint8 (24, 24) each, of different files.
        labels: the class of each. Across classes only the highest step counts (things of one shape and
            different colours look alike in grey), and with more than `MOST_COMPARED` photos nothing.

    Returns:
        int (photos,): the same number for photos of one group.
    """
    classes = np.asarray(labels)
    members = [np.arange(len(classes))]
    if len(classes) > MOST_COMPARED:
        members = [np.flatnonzero(classes == label) for label in np.unique(classes)]
    groups = np.arange(len(classes))
    for indices in members:
        found = _group([thumbnails[index] for index in indices], classes[indices])
        groups[indices] = indices[found]
    return groups


def _group(thumbnails: Sequence[np.ndarray], classes: np.ndarray) -> np.ndarray:
    """As `group_alike`, each photo compared with all others."""
    count = len(thumbnails)
    limit = max(SMALL_GROUP, count // max(len(np.unique(classes)), 1) // 10)
    first, second, values, floor = _pairs(thumbnails)
    counted = (classes[first] == classes[second]) | (values >= STEPS[-1])
    first, second, values = first[counted], second[counted], values[counted]
    groups = np.arange(count)
    open_photos = np.ones(count, bool)
    for step in STEPS:
        if step < floor:
            continue
        kept = (values >= step) & open_photos[first] & open_photos[second]
        found = _components(first[kept], second[kept], count)
        sizes = np.bincount(found, minlength=count)[found]
        settled = open_photos & ((sizes <= limit) | (step == STEPS[-1]))
        groups[settled] = found[settled]
        open_photos &= ~settled
    return groups


def _components(first: np.ndarray, second: np.ndarray, count: int) -> np.ndarray:
    """For each photo the lowest index among those that pairs connect it with."""
    names = np.arange(count)
    while True:  # every pair takes the lower name, and every name that of its bearer, until nothing changes
        before = names.copy()
        np.minimum.at(names, first, names[second])
        np.minimum.at(names, second, names[first])
        names = names[names]
        if np.array_equal(names, before):
            return names


def _pairs(thumbnails: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Pairs of photos that look alike: first, second, likeness; and the likeness from which all are in.

    That is the lowest of `STEPS` at which the pairs are not too many to keep.
    """
    pieces: list[np.ndarray] = [np.zeros((0, 3))]
    steps = list(STEPS)
    for piece in _alike_blocks(thumbnails, steps):
        pieces.append(piece[piece[:, 2] >= steps[0]])
        while sum(map(len, pieces)) > MOST_PAIRS and len(steps) > 1:
            steps.pop(0)  # the blocks to come are searched at this step, too
            pieces = [piece[piece[:, 2] >= steps[0]] for piece in pieces]
    pairs = np.concatenate(pieces)
    return pairs[:, 0].astype(int), pairs[:, 1].astype(int), pairs[:, 2], steps[0]


def _alike_blocks(thumbnails: Sequence[np.ndarray], steps: list[float]) -> Iterator[np.ndarray]:
    """Pairs (first < second) with likeness `steps[0]` or more, block by block: (pairs, 3)."""
    bounds, mirrored = _bounding_vectors(thumbnails)
    for start in range(0, len(thumbnails), BLOCK):
        for second_start in range(start, len(thumbnails), BLOCK):
            block, second_block = bounds[start : start + BLOCK], slice(second_start, second_start + BLOCK)
            possible = np.maximum(block @ bounds[second_block].T, block @ mirrored[second_block].T)
            rows, columns = np.nonzero(possible >= steps[0])
            rows, columns = rows + start, columns + second_start
            ordered = rows < columns
            rows, columns = rows[ordered], columns[ordered]
            for part in range(0, len(rows), BLOCK):
                chosen = slice(part, part + BLOCK)
                yield _exact(thumbnails, rows[chosen], columns[chosen], steps[0])


def _exact(
    thumbnails: Sequence[np.ndarray], rows: np.ndarray, columns: np.ndarray, least: float
) -> np.ndarray:
    first = _vectors([thumbnails[row] for row in rows])
    second = _vectors([thumbnails[column] for column in columns])
    straight = np.einsum("nij,nij->n", first, second)
    values = np.maximum(straight, np.einsum("nij,nij->n", first, second[:, :, ::-1]))
    alike = values >= least
    return np.stack([rows[alike], columns[alike], values[alike]], axis=1)


def _bounding_vectors(thumbnails: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Vectors whose products are at least the correlation: (photos, 65), and the same mirrored.

    The cosine transform keeps lengths and products, so the low frequencies give their share of the product
    exactly and the rest at most the product of its lengths. A mirror changes the sign of every second
    horizontal frequency.
    """
    places, frequencies = np.arange(THUMBNAIL) + 0.5, np.arange(LOW)[:, None]
    waves = np.cos(np.pi / THUMBNAIL * frequencies * places) * np.sqrt(2 / THUMBNAIL)
    waves[0] /= np.sqrt(2)
    straight = np.empty((len(thumbnails), LOW * LOW + 1), np.float32)
    for start in range(0, len(thumbnails), BLOCK):
        vectors = _vectors(thumbnails[start : start + BLOCK])
        low = (waves @ vectors @ waves.T).reshape(len(vectors), -1)
        rest = np.sqrt(np.maximum(1 - (low**2).sum(axis=1), 0)) + 1e-4
        straight[start : start + BLOCK] = np.column_stack([low, rest])
    signs = np.append(np.tile((-1.0) ** np.arange(LOW), LOW), 1.0).astype(np.float32)
    return straight, straight * signs


def _vectors(thumbnails: Sequence[np.ndarray]) -> np.ndarray:
    """Mean 0, length 1: float32 (photos, 24, 24)."""
    pixels = np.stack(thumbnails).astype(np.float32)
    pixels -= pixels.mean(axis=(1, 2), keepdims=True)
    lengths = np.linalg.norm(pixels.reshape(len(pixels), -1), axis=1)[:, None, None]
    return pixels / np.maximum(lengths, 1e-6)
