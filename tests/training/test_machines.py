"""Two machines train as one: here two processes on this one, with Keras on JAX."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.commands.train import train
from mobilevit_core.errors import UserError
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.models.parts import logits_model
from mobilevit_core.training import finish, state
from mobilevit_core.training.devices import check_backend, check_devices, own_part
from mobilevit_core.training.run_folder import RunFolder
from tests.drawing import draw_folder, noise_folder
from tests.training.killed_run import small_network

ROOT = Path(__file__).parents[2]
ON_JAX = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
LOGITS = """
import sys, keras, numpy as np
from mobilevit_core.models.parts import logits_model
model, images, answers = sys.argv[1:]
np.save(answers, logits_model(keras.saving.load_model(model)).predict(np.load(images), verbose=0))
"""


def started(photos: Path, run: Path, *words: str, **variables: str) -> subprocess.Popen[str]:
    """One process of a training on JAX."""
    command = [sys.executable, "-m", "tests.training.machine", str(photos), str(run), *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env={**ON_JAX, **variables}, stdout=pipe, stderr=pipe, text=True
    )


def ends(*processes: subprocess.Popen[str]) -> list[list[str]]:
    """What each process printed about the ends of its trainings."""
    outputs = [process.communicate() for process in processes]
    for process, (_, errors) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, errors[-3000:]
    return [[line for line in output.splitlines() if line[:1].isdigit()] for output, _ in outputs]


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def test_two_machines_give_the_loss_and_weights_of_one(
    tmp_path: Path, one_format: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two are also stopped after an epoch, and continued."""
    photos = draw_folder(tmp_path / "photos", photos_per_class=20)
    one, both = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "both")
    ((end,),) = ends(started(photos, one.path))
    assert end.startswith("0 The training is finished")
    place = {"KERAS_DISTRIBUTION_JOB_ADDRESSES": free_address(), "KERAS_DISTRIBUTION_NUM_PROCESSES": "2"}
    processes = [
        started(photos, both.path, "stop", **place, KERAS_DISTRIBUTION_PROCESS_ID=str(number))
        for number in range(2)
    ]
    for stopped, finished in ends(*processes):
        assert stopped.startswith("130 Stopped. 1 of 2 epochs") and finished.startswith("0 The training is")
    for alone, together in zip(one.rows(), both.rows(), strict=True):
        for key in set(alone) - {"seconds"}:
            assert np.isclose(float(alone[key]), float(together[key]), rtol=1e-4), key
    alone, together = (run.newest_checkpoint().arrays for run in (one, both))
    assert set(alone) == set(together)
    for name, value in alone.items():
        assert np.allclose(value, together[name], atol=1e-4), name
    for module in (finish, state):
        monkeypatch.setattr(module, "create_mobilevit", small_network)
    bundle, refused = finish.finish_run(both)  # on TensorFlow
    assert bundle.weights("float32").is_file() and not refused
    assert bundle.manifest.recipe["devices"] == "machines"


def test_the_network_has_the_same_logits_on_jax(shipped: Bundle, tmp_path: Path) -> None:
    side = shipped.manifest.rule.image_size
    images = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    model, paths = shipped.weights("keras"), (tmp_path / "images.npy", tmp_path / "logits.npy")
    command = [sys.executable, "-c", LOGITS, model, *paths]
    done = subprocess.run(command, cwd=ROOT, env=ON_JAX, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    ours = logits_model(load_keras(model)).predict(images, verbose=0)
    assert np.abs(np.load(paths[1]) - ours).max() < 1e-4 * np.abs(ours).max()


def test_what_several_machines_do_not_do() -> None:
    with pytest.raises(UserError, match="2 epochs are left"):
        check_backend("machines", 2)
    with pytest.raises(UserError, match="--teacher"):
        check_devices("machines", True)


def test_each_backend_trains_what_it_can(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    check_devices("one", True)
    check_backend("machines", 0)  # only the bundle is left to make
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    check_devices("machines", False)
    check_backend("machines", 2)
    with pytest.raises(UserError, match="--devices machines only"):
        check_devices("all", False)
    photos = noise_folder(tmp_path / "photos", {"a": 8, "b": 8})
    with pytest.raises(UserError, match="--devices machines only"):  # a head, too, before anything is written
        train(str(photos), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(UserError, match="Keras runs on jax"):
        finish.finish_run(RunFolder(tmp_path / "run"))
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    with pytest.raises(UserError, match="Keras runs on torch"):
        check_devices("one", False)


class Second(keras.distribution.DataParallel):
    """The second of two machines with two devices each."""

    num_model_replicas, num_processes, data_shard_id = 4, 2, 1

    def __init__(self) -> None:
        pass


def test_a_batch_that_can_not_be_shared_evenly_is_filled_up() -> None:
    batches = tf.data.Dataset.from_tensor_slices((tf.range(14), tf.range(14))).batch(8)
    parts = [images.numpy().tolist() for images, _ in own_part(batches, Second())]
    assert parts == [[4, 5, 6, 7], [12, 13, 8, 9]]
    assert own_part(batches, None) is batches
