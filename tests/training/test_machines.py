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


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def trained(shipped: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `tests.training.machine`, with the shipped network's logits on JAX."""
    folder, side = tmp_path_factory.mktemp("machines"), shipped.manifest.rule.image_size
    images = np.random.default_rng(0).uniform(0, 255, (2, side, side, 3)).astype(np.float32)
    np.save(folder / "images.npy", images)
    photos = draw_folder(folder / "photos", photos_per_class=20)
    asked = [shipped.weights("keras"), folder / "images.npy", folder / "logits.npy"]
    command = [sys.executable, "-m", "tests.training.machine", photos, folder, free_address(), *asked]
    done = subprocess.run(command, cwd=ROOT, env=ON_JAX, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks")
def test_two_machines_give_the_loss_and_weights_of_one(
    trained: Path, one_format: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two are also stopped after an epoch, and continued."""
    one, both = RunFolder(trained / "one"), RunFolder(trained / "both")
    (end,) = ends(trained / "one.txt")
    assert end.startswith("0 The training is finished")
    for number in range(2):
        stopped, finished = ends(trained / f"both-{number}.txt")
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


def ends(output: Path) -> list[str]:
    """What a process printed about the ends of its trainings."""
    return [line for line in output.read_text().splitlines() if line[:1].isdigit()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks")
def test_the_network_has_the_same_logits_on_jax(shipped: Bundle, trained: Path) -> None:
    images = np.load(trained / "images.npy")
    ours = logits_model(load_keras(shipped.weights("keras"))).predict(images, verbose=0)
    assert np.abs(np.load(trained / "logits.npy") - ours).max() < 1e-4 * np.abs(ours).max()


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
