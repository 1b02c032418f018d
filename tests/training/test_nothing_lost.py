"""What a run keeps when it is killed, stopped, damaged, or meets a full disk."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mobilevit_core import cli, load_classifier
from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.conversion import packing
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import Stopped, UserError
from mobilevit_core.files import UNFINISHED
from mobilevit_core.training import callbacks, checkpoints, finish, state, trainer
from mobilevit_core.training.recipes import make_recipe
from mobilevit_core.training.run_folder import RunFolder
from mobilevit_core.training.transfer import StartingWeights
from tests.drawing import draw_folder, draw_photo
from tests.networks import float32_alone
from tests.training import killed_run

ROOT = Path(__file__).parents[2]
MOMENTS = (
    "run half begun",
    "first epoch",
    "training",
    "validation",
    "checkpoint half written",
    "checkpoint written, history not",
    "calibration",
    "bundle half written",
    "bundle written, not measured",
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the processes are forks")
def test_killed_at_any_moment_a_run_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    photos = draw_folder(tmp_path / "photos")
    command = [sys.executable, "-m", "tests.training.killed_run", photos, tmp_path, *MOMENTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("as arranged") == len(MOMENTS) + 2
    whole, killed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "killed")
    rows = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in run.rows()] for run in (whole, killed)
    ]
    assert rows[0] == rows[1] and [row["epoch"] for row in rows[0]] == ["0", "1", "2", "3"]
    states = [run.newest_checkpoint().arrays for run in (whole, killed)]
    assert set(states[0]) == set(states[1])
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    for name in ("model_float32.tflite", "model_int8.tflite"):
        assert _tensors(whole.bundle / name) == _tensors(killed.bundle / name)
    assert {path.name for path in killed.path.iterdir()} == {path.name for path in whole.path.iterdir()}
    assert not _leftovers(killed)


def _leftovers(run: RunFolder) -> list[Path]:
    """What `replacing` has begun and neither finished nor removed."""
    return list(run.path.rglob(f"{UNFINISHED}*"))


def _tensors(path: Path) -> list[bytes]:
    """Every constant of a .tflite file; names and metadata may differ."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    constants = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    values = (model.buffers[number].data for number in sorted(constants))
    return [b"" if value is None else bytes(value) for value in values]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("photos") / "photos")


@pytest.fixture(autouse=True)
def small_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (trainer, state, finish):
        monkeypatch.setattr(module, "create_mobilevit", killed_run.small_network)


@pytest.fixture(scope="module")
def run_of_two_epochs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs of three; copied by the tests that change it."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with pytest.MonkeyPatch.context() as patch:
        for module in (trainer, state):
            patch.setattr(module, "create_mobilevit", killed_run.small_network)
        patch.setattr(callbacks.AddEpochFacts, "on_epoch_begin", stop_at_the_third_epoch)
        with pytest.raises(Stopped):
            train(photos, folder)
    return folder


@pytest.fixture
def run(run_of_two_epochs: Path, tmp_path: Path) -> RunFolder:
    return RunFolder(Path(shutil.copytree(run_of_two_epochs, tmp_path / "run")))


def train(photos: Path, folder: Path, **values: str) -> Bundle:
    overrides = {"image_size": "64", "stages": "64:3", "batch_size": "8", "warmup_epochs": "0.5", **values}
    with float32_alone():  # what is tested are the run's files; the killed run has all formats
        bundle, _ = trainer.train_bundle(
            load_dataset(str(photos)), make_recipe("default", overrides), RunFolder(folder)
        )
    return bundle


def stop_at_the_third_epoch(callback: callbacks.AddEpochFacts, epoch: int, logs: object = None) -> None:
    callback._start = 0.0
    if epoch == 2:
        raise KeyboardInterrupt


def epochs(run: RunFolder) -> list[str]:
    return [row["epoch"] for row in run.rows()]


def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    photos: Path, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = RunFolder(tmp_path / "whole")
    train(photos, whole.path)
    damaged = run.checkpoints / "epoch-00002.npz"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1  # one bit
    damaged.write_bytes(content)
    train(photos, run.path)
    messages = capsys.readouterr().err.replace("\n", " ")
    assert f"the checkpoint {damaged} (Bad CRC-32" in messages
    assert f"{run.checkpoints / 'epoch-00001.npz'} is used instead" in messages
    for before, after in zip(whole.rows(), run.rows(), strict=True):
        assert {**before, "seconds": ""} == {**after, "seconds": ""}
    ends = [folder.newest_checkpoint().arrays for folder in (whole, run)]
    assert all(np.array_equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_without_a_readable_checkpoint_nothing_starts_again(photos: Path, run: RunFolder) -> None:
    history = run.history.read_bytes()
    for path in run.checkpoints.iterdir():
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match=r"No checkpoint can be read: .*epoch-00002.*epoch-00001"):
        train(photos, run.path)
    for path in run.checkpoints.iterdir():
        path.write_bytes(b"garbage")
    with pytest.raises(UserError, match=r"epoch-00002.npz \(it is no checkpoint\)"):
        train(photos, run.path)
    shutil.rmtree(run.checkpoints)
    with pytest.raises(UserError, match="records 2 epochs, but .* has no checkpoint"):
        train(photos, run.path)
    assert run.history.read_bytes() == history


def test_a_checkpoint_of_another_network_is_refused(photos: Path, run: RunFolder) -> None:
    found = run.newest_checkpoint()
    checkpoints.save(run.checkpoints, replace(found, epoch=9, arrays={"variable_00000": np.zeros(3)}))
    with pytest.raises(UserError, match="another network"):
        train(photos, run.path)


def test_a_damaged_history_is_written_anew(photos: Path, run: RunFolder) -> None:
    run.history.write_text("epoch,loss\n0,1\nepoch,loss\n7,7\n")
    train(photos, run.path)
    assert epochs(run) == ["0", "1", "2"]


def test_a_second_process_is_refused(photos: Path, run: RunFolder) -> None:
    ready = "import sys, time; from pathlib import Path; from mobilevit_core.training.run_folder import *\n"
    ready += f"with RunFolder(Path({str(run.path)!r})).locked(): print('in', flush=True); time.sleep(600)"
    first = subprocess.Popen([sys.executable, "-c", ready], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert first.stdout.readline() == b"in\n"
        history = run.history.read_bytes()
        for attempt in (lambda: train(photos, run.path), lambda: finish.finish_run(run)):
            with pytest.raises(UserError, match=f"Another process is training in {run.path}. Wait"):
                attempt()
        assert run.history.read_bytes() == history
    finally:
        first.kill()
        first.communicate()
    train(photos, run.path)  # the lock died with its process
    assert epochs(run) == ["0", "1", "2"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_with_a_sentence(
    photos: Path, run: RunFolder, number: int, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_the_next_step(callback: object, batch: int, logs: object = None) -> None:
        os.kill(os.getpid(), number)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    handlers = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(callbacks.UpdateEMA, "on_train_batch_end", at_the_next_step)
    command = ["train", "--data", str(photos), "--recipe", "default", "--run", str(run.path)]
    for value in ("image_size=64", "stages=64:3", "batch_size=8", "warmup_epochs=0.5"):
        command += ["--set", value]
    result = CliRunner().invoke(cli.app, command)
    assert result.exit_code == code
    assert f"Stopped. 2 of 3 epochs are kept in {run.path}; the same command continues" in result.stderr
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == handlers
    assert epochs(run) == ["0", "1"] and not run.cache.exists()


def test_stopped_before_the_first_epoch_and_after_the_last(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.UpdateEMA, "on_train_batch_end", interrupt)
        with pytest.raises(Stopped, match="No epoch was finished; the same command starts again"):
            train(photos, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "bundle_model", interrupt)
        with pytest.raises(Stopped, match="The training is finished; the same command makes its bundle"):
            train(photos, tmp_path / "run")


def test_a_disk_that_is_too_small_is_told_before_training(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=3_000_000)
    monkeypatch.setattr(trainer.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        UserError, match=r"has 3 MB of free space; checkpoints and the bundle need about 21 MB"
    ):
        train(photos, tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize("where", ["checkpoint", "history", "bundle"])
def test_a_disk_that_fills_up_keeps_the_last_checkpoint(
    photos: Path, run: RunFolder, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **named: object) -> None:
        if where == "checkpoint":
            arguments[0].write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device", str(run.path / "there"))

    target = {"checkpoint": (np, "savez"), "history": (RunFolder, "write_history")}
    with monkeypatch.context() as patch:
        if where == "history":  # written at the start, too
            write = RunFolder.write_history
            patch.setattr(
                RunFolder, "write_history", lambda r, rows: full() if len(rows) > 2 else write(r, rows)
            )
        else:
            patch.setattr(*target.get(where, (packing, "attached")), full)
        kept = "2 of 3 epochs are kept" if where == "checkpoint" else "The training is finished"
        out = "Free some there, or name a folder on another disk"
        with pytest.raises(UserError, match=f"there: No space left on device. {out}. {kept}"):
            train(photos, run.path)
    assert not _leftovers(run) and not run.bundle.exists() and not run.cache.exists()
    train(photos, run.path)
    assert epochs(run) == ["0", "1", "2"]


def test_a_place_that_cannot_be_written_is_named(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UserError, match=r"The run folder .*file/run can't be written: Not a directory"):
        train(photos, tmp_path / "file" / "run")
    with pytest.raises(UserError, match="is not a training run"):
        train(photos, tmp_path / "file")


def test_more_epochs_continue_a_finished_run(
    photos: Path, run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    first = train(photos, run.path)
    assert train(photos, run.path).manifest == first.manifest  # left as it is
    longer = train(photos, run.path, stages="64:3,128:1", image_size="128")
    assert [row["image_size"] for row in run.rows()] == ["64", "64", "64", "128"]
    assert (longer.manifest.rule.image_size, longer.manifest.recipe["stages"]) == (128, [[64, 3], [128, 1]])
    messages = " ".join(capsys.readouterr().err.split())
    assert (
        "continues after epoch 3, now to epoch 4. Its learning rate follows the schedule of 4 ep" in messages
    )
    aside = run.path / "bundle-epoch-3"
    assert f"the bundle of the first 3 epochs is now {aside}" in messages
    assert open_bundle(aside).manifest.recipe["stages"] == [[64, 3]]
    with pytest.raises(UserError, match=r"stages is 64:3, but 4 epochs are done"):
        train(photos, run.path)


def test_values_of_the_end_make_the_bundle_again_and_train_nothing(photos: Path, run: RunFolder) -> None:
    first, history = train(photos, run.path), run.history.read_bytes()
    again = train(photos, run.path, false_rejection_rate="0.2")
    assert run.history.read_bytes() == history
    rules = [bundle.manifest.rejection for bundle in (first, again)]
    assert rules[1].threshold > rules[0].threshold
    recipes = again.manifest.recipe, run.record()["recipe"]
    assert [recipe["false_rejection_rate"] for recipe in recipes] == [0.2, 0.2]
    assert open_bundle(run.path / "bundle-epoch-3").manifest == first.manifest
    assert train(photos, run.path, false_rejection_rate="0.2").manifest == again.manifest  # left as it is


def test_a_running_run_takes_other_stages_from_here_on(photos: Path, run: RunFolder) -> None:
    with pytest.raises(UserError, match=r"stages is 128:3, but 2 epochs are done \(--set stages=64:2,"):
        train(photos, run.path, stages="128:3")
    train(photos, run.path, stages="64:2")  # enough of it
    assert epochs(run) == ["0", "1"] and run.bundle.exists()


def test_other_values_are_named_with_their_option(photos: Path, run: RunFolder, small_bundle: Bundle) -> None:
    with pytest.raises(UserError) as caught:
        train(photos, run.path, batch_size="4", color="0.5")
    message = str(caught.value)
    assert "batch_size is 4, it was 8 (--set batch_size=8); color is 0.5, it was 0.3" in message
    assert "finish" in message
    dataset = load_dataset(str(photos))
    recipe = make_recipe("default", {"stages": "64:3", "batch_size": "8", "warmup_epochs": "0.5"})
    with pytest.raises(UserError, match="--weights: it was not given when the run began"):
        trainer.train_bundle(dataset, recipe, run, StartingWeights(small_bundle))


def test_the_same_photos_by_another_path_are_the_same(
    photos: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    train(Path("photos"), run.path)
    assert epochs(run) == ["0", "1", "2"]


def test_photos_that_are_gone_changed_or_new_are_named_and_a_bundle_can_still_be_made(
    photos: Path, run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = Path(shutil.copytree(photos, tmp_path / "photos"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks.AddEpochFacts, "on_epoch_begin", stop_at_the_third_epoch)
        with pytest.raises(Stopped):
            train(moved, tmp_path / "own")
    own = RunFolder(tmp_path / "own")
    rows = own.recorded_photos()
    lost = next(row for row in rows if row["split"] == "validation")
    changed = next(row for row in rows if row["split"] == "train")
    Path(lost["file"]).unlink()
    draw_photo((200, 200, 9), 4321).save(changed["file"])
    draw_photo((9, 9, 200), 1234).save(moved / "blue" / "new.jpg")
    with pytest.raises(UserError) as caught:
        train(moved, own.path)
    for split in (
        f"gone ({lost['name']} of validation",
        changed["name"],
        "blue/new.jpg",
        f"finish {own.path}",
    ):
        assert split in str(caught.value)
    bundle, refused = finish.finish_run(own)
    assert bundle.folder == own.path / "bundle-epoch-2" and not refused
    notes = " ".join(capsys.readouterr().err.split())
    assert f"2 of 30 photos are gone or have changed ({changed['name']}, {lost['name']})" in notes
    assert bundle.manifest.calibration["fitted_on"].startswith("2 photos")
    assert bundle.manifest.data["photos"] == {"train": 24, "validation": 3, "test": 3}
    assert bundle.manifest.recipe["stages"] == [[64, 2]]
    assert bundle.provenance.among(load_dataset(str(photos)).split("train"))["trained_on"] == 24
    with pytest.raises(UserError, match="exists already"):
        finish.finish_run(own)


def test_a_bundle_without_any_photo_left(photos: Path, run: RunFolder, tmp_path: Path) -> None:
    text = run.photos.read_text().replace(str(photos), str(tmp_path / "nowhere"))
    run.photos.write_text(text)
    result = CliRunner().invoke(cli.app, ["finish", str(run.path), "--to", str(tmp_path / "made")])
    assert result.exit_code == 0 and result.stdout == f"Bundle: {tmp_path / 'made'}\n", result.output
    assert "probabilities are not calibrated" in result.stderr and "no int8 format" in result.stderr
    bundle = open_bundle(tmp_path / "made")
    assert bundle.manifest.calibration is None and bundle.manifest.rejection is None
    assert "int8" not in bundle.present and "float32" in bundle.present
    assert len(load_classifier(bundle.folder).predict(next(photos.rglob("*.jpg"))).top()) == 3


def test_a_bundle_of_an_unfinished_run_has_no_share_of_its_start(
    run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = json.loads(run.config.read_text())
    record["recipe"]["start_share"] = 0.25
    run.config.write_text(json.dumps(record))
    bundle, _ = finish.finish_run(run, tmp_path / "made")
    assert bundle.manifest.recipe["start_share"] == 0
    assert "share of 0.25" in " ".join(capsys.readouterr().err.split())


def test_finishing_nothing(tmp_path: Path, run: RunFolder) -> None:
    with pytest.raises(UserError, match="does not exist. Name the run"):
        finish.finish_run(RunFolder(tmp_path / "none"))
    shutil.rmtree(run.checkpoints)
    run.history.unlink()
    with pytest.raises(UserError, match="no finished epoch yet"):
        finish.finish_run(run)
