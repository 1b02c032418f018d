"""Golden inputs: drawn alike everywhere, chosen well, read back with care."""

import json
from typing import Any

import numpy as np
import pytest

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.golden import CHOSEN, TOP, Golden, drawn, telling
from mobilevit_core.bundle.manifest import Manifest


def plainly_drawn(seed: int, size: int, x: int, y: int) -> list[int]:
    """One pixel as the text of `drawn` tells it, in plain whole numbers."""
    numbers, state = [], seed + 1
    for _ in range(12):
        state = (state * 75 + 74) % 65537
        numbers.append(state % 256)
    column, row, across = (size * (128 + number) // 512 for number in numbers[9:])
    apart = (x - column) ** 2 + (y - row) ** 2
    start = 6 if 24 * apart < across**2 else 3 if 4 * apart < across**2 else 0
    return [(value + 2 * ((x ^ y) % 16)) % 256 for value in numbers[start : start + 3]]


@pytest.mark.parametrize(("seed", "size"), [(0, 64), (1, 192), (65535, 256)])
def test_a_image_is_whole_number_arithmetic(seed: int, size: int) -> None:
    image = drawn(seed, size)
    assert image.dtype == np.float32 and image.shape == (size, size, 3)
    assert 0 <= image.min() and image.max() <= 255
    for x, y in np.random.default_rng(seed).integers(0, size, (200, 2)).tolist():
        assert image[y, x].tolist() == plainly_drawn(seed, size, x, y)
    assert not np.array_equal(image, drawn(seed - 1 if seed else 2, size))


def test_undecided_images_of_different_classes_are_chosen() -> None:
    answers = np.full((8, 3), 0.01)
    answers[np.arange(8), [0, 0, 0, 0, 0, 1, 1, 2]] = [0.5, 0.4, 0.45, 0.9, 0.8, 0.95, 0.9, 0.99]
    assert telling(answers) == [1, 6, 7]
    alike = np.column_stack([np.linspace(0.9, 0.6, 5), np.linspace(0.1, 0.4, 5)])
    assert telling(alike) == [2, 3, 4]  # one class alone: the least decided


def test_the_difference_is_the_largest_of_any_probability() -> None:
    names = ("a", "b", "c")
    answers = np.array([[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]])
    golden = Golden.of([3, 4], names, {"int8": answers})
    assert golden.difference("int8", names, answers) == pytest.approx(0, abs=1e-6)
    off = answers + [[0, 0, 0], [0, -0.05, 0.02]]
    assert golden.difference("int8", names, off) == pytest.approx(0.05)
    # The same answers under labels in another order are another answer.
    assert golden.difference("int8", ("c", "b", "a"), answers) == pytest.approx(0.7)
    off[0, 1] = np.nan
    assert np.isnan(golden.difference("int8", names, off))


def test_many_classes_take_little_room() -> None:
    names = [f"class {number}" for number in range(1000)]
    answers = np.random.default_rng(0).dirichlet(np.full(1000, 0.1), CHOSEN)
    golden = Golden.of(range(CHOSEN), names, {"float32": answers})
    assert all(len(row) == TOP for row in golden.scores["float32"])
    assert len(json.dumps(golden.to_json())) < 1500


BAD: list[tuple[str, Any, str]] = [
    ("drawing", "stripes", "golden.drawing is 'stripes'"),
    ("seeds", [], "golden.seeds is []"),
    ("seeds", [1.5, 2, 3], "golden.seeds.0 is 1.5"),
    ("seeds", [-1, 2, 3], "golden.seeds.0 is -1"),
    ("seeds", [1, 2], "3 for 2 seeds"),
    ("seeds", list(range(17)), "at most 16 items"),
    ("tolerance", 2, "golden.tolerance is 2"),
    ("tolerance", None, "golden.tolerance is None"),
    ("scores", [], "golden.scores is []; it must be an object"),
    ("scores", {"float32": [{}, {}, {}]}, "golden.scores.float32.0 is {}"),
    ("scores", {"float32": [{"a stranger": 0.5}] * 3}, "'a stranger', which is not a class"),
    ("scores", {"float32": [{"red": "much"}] * 3}, "golden.scores.float32.0.red is 'much'"),
]


@pytest.mark.parametrize(("key", "value", "message"), BAD)
def test_damaged_golden_inputs_are_refused_by_name(
    key: str, value: Any, message: str, small_bundle: Bundle
) -> None:
    manifest = small_bundle.manifest.to_json()
    assert Manifest.from_json(manifest) == small_bundle.manifest
    with pytest.raises(ValueError, match=message.replace("[", r"\[")):
        Manifest.from_json({**manifest, "golden": {**manifest["golden"], key: value}})


def test_a_manifest_without_golden_inputs_stays_as_it_was(small_bundle: Bundle) -> None:
    older = small_bundle.manifest.to_json()
    del older["golden"]
    manifest = Manifest.from_json(older)
    assert manifest.golden is None and manifest.to_json() == older
