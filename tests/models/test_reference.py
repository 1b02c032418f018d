"""The paper's networks give the logits of an independent implementation with the same weights.

The reference is Hugging Face's MobileViT in PyTorch, with random weights: nothing is downloaded. It is heavy,
so it is no requirement of the tests; where it is missing, this file skips.
"""

import numpy as np
import pytest

from mobilevit_core.models.create import create_mobilevit, logits_model
from mobilevit_core.models.mobilevit import VARIANTS

MISSING = "the reference is not installed. To get it: pip install torch transformers"
torch = pytest.importorskip("torch", reason=MISSING)
pytest.importorskip("transformers", reason=MISSING)

from tests.models.hf_reference import copy_weights, reference  # noqa: E402 (needs what may be missing)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("image_size", [256, 128])
def test_the_logits_are_the_reference_implementations(variant: str, image_size: int) -> None:
    theirs = reference(variant)
    ours = logits_model(create_mobilevit(variant, 7, image_size))
    copy_weights(theirs, ours)
    images = np.random.default_rng(0).uniform(0, 255, (2, image_size, image_size, 3)).astype(np.float32)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(images.transpose(0, 3, 1, 2) / 255)).logits.numpy()
    actual = ours(images).numpy()
    assert np.abs(actual - expected).max() <= 1e-4 * max(np.abs(expected).max(), 1)
