"""Learning from finished models."""

from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.training.distillation import Teachers


@pytest.mark.usefixtures("tiny")
def test_labels_are_blended_with_the_teachers_answers(small_bundle: Bundle) -> None:
    images = np.random.default_rng(0).uniform(0, 255, (3, 64, 64, 3)).astype(np.float32)
    labels = np.eye(3, dtype=np.float32)
    answers = load_keras(small_bundle.weights("keras")).predict(images, verbose=0)
    turned = small_bundle.manifest.class_names[::-1]  # the network's own order counts
    batches = tf.data.Dataset.from_tensors((images, labels))
    teachers = Teachers([small_bundle, small_bundle], turned)
    ((same, targets),) = teachers.blend(batches, 64, share=0.25)
    assert np.array_equal(same, images)
    assert np.allclose(targets, 0.75 * labels + 0.25 * answers[:, ::-1], atol=1e-5)
    assert np.abs(targets - labels).max() > 0.05


def test_a_teacher_of_other_classes_is_refused(small_bundle: Bundle) -> None:
    with pytest.raises(UserError, match="knows blue, green, red; it must know what is trained: cat, dog"):
        Teachers([small_bundle], ("cat", "dog"))
    lacking = replace(small_bundle, folder=small_bundle.folder / "report")
    with pytest.raises(UserError, match=r"no model\.keras"):
        Teachers([lacking], small_bundle.manifest.class_names)
