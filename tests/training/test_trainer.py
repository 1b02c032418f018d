import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from typer.testing import CliRunner

from mobilevit_core import load_classifier
from mobilevit_core.bundle.weight_formats import FORMATS
from mobilevit_core.cli import app
from mobilevit_core.data.loading import load_dataset
from mobilevit_core.errors import UserError
from mobilevit_core.images.reading import read_photo
from mobilevit_core.training import callbacks
from mobilevit_core.training import trainer as training
from mobilevit_core.training.augmentation import mix
from mobilevit_core.training.input_pipeline import PhotoCache, steps_per_epoch, training_batches
from mobilevit_core.training.recipes import RECIPES, Recipe, make_recipe
from mobilevit_core.training.run_folder import RunFolder
from tests.drawing import draw_folder


@pytest.mark.usefixtures("tiny")
def test_an_interrupted_run_ends_like_an_uninterrupted_one(
    photo_folder: Path, small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = load_dataset(str(photo_folder))
    recipe = dataclasses.replace(small_recipe, stages=((64, 2), (128, 1)))
    whole, cut = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "cut")
    for run in (whole, cut):
        run.path.mkdir()
    expected = training.train(dataset, recipe, whole)

    finish = training.TrainingState.finish_epoch

    def finish_and_stop(*arguments: object) -> None:
        finish(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # inside the first stage
        patch.setattr(training.TrainingState, "finish_epoch", finish_and_stop)
        training.train(dataset, recipe, cut)
    resumed = training.train(dataset, recipe, cut)

    assert [row["epoch"] for row in cut.rows()] == ["0", "1", "2"]
    assert [row["image_size"] for row in cut.rows()] == ["64", "64", "128"]
    for before, after in zip(whole.rows(), cut.rows(), strict=True):
        assert {**before, "seconds": ""} == {**after, "seconds": ""}
    for before, after in zip(expected.get_weights(), resumed.get_weights(), strict=True):
        assert np.array_equal(before, after)


def test_a_folder_that_is_no_run_is_left_alone(
    photo_folder: Path, small_recipe: Recipe, tmp_path: Path
) -> None:
    dataset = load_dataset(str(photo_folder))
    (tmp_path / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match="is not a training run"):
        training.train_bundle(dataset, small_recipe, RunFolder(tmp_path))
    assert (tmp_path / "thesis.txt").read_text() == "precious"
    other = dataclasses.replace(small_recipe, variant="xl")
    with pytest.raises(UserError, match="no variant 'xl'"):
        training.train_bundle(dataset, other, RunFolder(tmp_path / "new"))
    assert not (tmp_path / "new").exists()


@pytest.mark.usefixtures("tiny")
def test_a_run_that_diverges_says_so_and_keeps_its_checkpoint(
    photo_folder: Path, small_recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, run = load_dataset(str(photo_folder)), RunFolder(tmp_path / "run")
    augment = training.training_batches

    def broken_from_second_epoch(*arguments: object) -> tf.data.Dataset:
        batches = augment(*arguments).enumerate()
        return batches.map(lambda n, batch: (batch[0] * tf.where(n >= 3, np.nan, 1.0), batch[1]))

    monkeypatch.setattr(training, "training_batches", broken_from_second_epoch)
    with pytest.raises(UserError, match="loss of epoch 2 is nan.*learning_rate=0.0005"):
        training.train_bundle(dataset, small_recipe, run)
    assert run.newest_checkpoint().epoch == 1
    assert not run.bundle.exists()


@pytest.mark.usefixtures("tiny")
def test_the_best_epoch_is_kept(photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = make_recipe("keras-example", {"stages": "64:3", "batch_size": "12", "architecture": "paper"})
    dataset, run = load_dataset(str(photo_folder), "keras-example"), RunFolder(tmp_path / "run")
    weights = []
    add_facts = callbacks.AddEpochFacts.on_epoch_end

    def second_is_best(callback: callbacks.AddEpochFacts, epoch: int, logs: dict[str, float]) -> None:
        add_facts(callback, epoch, logs)
        logs["val_accuracy"] = (0.3, 0.9, 0.5)[epoch]
        weights.append(callback.model.get_weights())

    monkeypatch.setattr(callbacks.AddEpochFacts, "on_epoch_end", second_is_best)
    run.path.mkdir()
    model = training.train(dataset, recipe, run)
    kept = model.get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(kept, weights[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(kept, weights[2], strict=True))


def test_batches_follow_from_seed_and_epoch_alone(
    photo_folder: Path, small_recipe: Recipe, tmp_path: Path
) -> None:
    photos = load_dataset(str(photo_folder)).split("train")
    cache = PhotoCache(photos, 96, tmp_path)
    steps = steps_per_epoch(len(photos), small_recipe.batch_size)

    def batches(first_epoch: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        dataset = training_batches(photos, cache, 3, 64, small_recipe, first_epoch)
        return [(x.numpy(), y.numpy()) for x, y in dataset.take(count)]

    from_start, from_second = batches(0, 2 * steps), batches(1, steps)
    for (x, y), (x2, y2) in zip(from_start[steps:], from_second, strict=True):
        assert np.array_equal(x, x2) and np.array_equal(y, y2)
    assert not np.array_equal(from_start[0][0], from_second[0][0])
    for x, y in from_start:
        assert x.shape[1:] == (64, 64, 3) and 0 <= x.min() and x.max() <= 255
        assert np.allclose(y.sum(axis=1), 1)


def test_every_photo_is_seen_once_an_epoch_with_its_own_label(photo_folder: Path, tmp_path: Path) -> None:
    """With the augmentation turned off, what comes out is what lies in the folder."""
    photos = load_dataset(str(photo_folder)).split("train")
    cache = PhotoCache(photos, 96, tmp_path)
    recipe = make_recipe("default", {"mix": "0", "color": "0", "batch_size": "24", "crop_scale": "1"})
    images, labels = next(iter(training_batches(photos, cache, 3, 64, recipe, 0)))
    # The discs are blue, green and red: the middle of the image tells the class.
    middle = images[:, 24:40, 24:40].numpy().mean(axis=(1, 2))
    assert (middle[:, ::-1].argmax(axis=1) == labels.numpy().argmax(axis=1)).mean() > 0.9
    assert labels.numpy().sum(axis=0).tolist() == [8, 8, 8]


def test_the_cache_gives_the_same_from_memory_and_from_files(photo_folder: Path, tmp_path: Path) -> None:
    photos = load_dataset(str(photo_folder)).split("train")[:6]
    in_memory = PhotoCache(photos, 1000, tmp_path / "none")
    mixed = PhotoCache(photos, 1000, tmp_path / "files", budget=3 * 90 * 70 * 3)
    assert not (tmp_path / "none").exists()
    assert len(list((tmp_path / "files").iterdir())) == 3
    read = tf.function(mixed.read)
    for index, photo in enumerate(photos):
        expected = read_photo(photo.source)
        assert np.array_equal(in_memory.read(tf.constant(index)).numpy(), expected)
        assert np.array_equal(read(tf.constant(index)).numpy(), expected)


def test_mixing_moves_labels_as_far_as_pixels() -> None:
    images = tf.stack([tf.fill((32, 32, 3), value) for value in (0.0, 100.0, 200.0)])
    labels = tf.eye(3)
    blended = 0
    for number in range(40):
        x, y = mix(images, labels, 0.5, tf.constant([number, 1]))
        own = y.numpy()[1, 1]
        assert x.numpy()[1].mean() == pytest.approx(100 * own + 0 * (1 - own), abs=0.1)
        assert np.allclose(y.numpy().sum(axis=1), 1)
        blended += own < 1
    assert 10 <= blended <= 30


@pytest.mark.parametrize(("photos", "batch", "steps"), [(64, 32, 2), (65, 32, 2), (72, 32, 3), (3, 32, 1)])
def test_a_small_last_batch_is_dropped(photos: int, batch: int, steps: int) -> None:
    assert steps_per_epoch(photos, batch) == steps


def test_recipes_are_what_was_published_and_can_be_overridden() -> None:
    example = RECIPES["keras-example"]
    assert (example.optimizer, example.learning_rate, example.label_smoothing) == ("adam", 2e-3, 0.1)
    assert (example.batch_size, example.epochs, example.keep) == (64, 30, "best")
    changed = make_recipe("default", {"stages": "64:2,128:3", "warmup_epochs": "1"})
    assert (changed.stages, changed.image_size, changed.warmup_epochs) == (((64, 2), (128, 3)), 128, 1.0)
    assert make_recipe("default", {"stages": "64:2", "image_size": "128"}).image_size == 128


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"colour": "1"}, "no value 'colour'"),
        ({"batch_size": "many"}, "batch_size=many"),
        ({"batch_size": "0"}, "batch_size is 0"),
        ({"stages": "128"}, "stages=128"),
        ({"stages": "128:0"}, "stages"),
        ({"stages": "100:5"}, "Image size 100"),
        ({"optimizer": "lion"}, "adam, adamw"),
        ({"mix": "2"}, "between 0 and 1"),
        ({"seed": "-1"}, "seed is -1"),
        ({"learning_rate": "nan"}, "finite"),
        ({"warmup_epochs": "inf"}, "finite"),
        ({"weight_decay": "-1"}, "weight_decay is -1"),
        ({"crop_fraction": "7"}, "crop_fraction"),
    ],
)
def test_impossible_values_are_named(overrides: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_recipe("default", overrides)


@pytest.mark.usefixtures("tiny")
def test_drawn_photos_are_learned_from_the_command_line(tmp_path: Path) -> None:
    """Training, averaging, export, evaluation and prediction together: three colours are told apart."""
    folder, run = draw_folder(tmp_path / "photos", 20), tmp_path / "run"
    values = ["stages=64:25", "batch_size=8", "mix=0", "color=0", "crop_scale=0.6", "ema_decay=0.9"]
    command = ["train", str(folder), "--recipe", "default", "--run", str(run), "--json"]
    command += [word for value in values for word in ("--set", value)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert list(made["files"]) == list(FORMATS) and made["recipe"]["image_size"] == 64
    assert set(made["metrics"]["validation"]["formats"]) == set(FORMATS)
    assert [row["epoch"] for row in RunFolder(run).rows()] == [str(epoch) for epoch in range(25)]

    dataset, classifier = load_dataset(str(folder)), load_classifier(run / "bundle", "float32")
    answers = [classifier.predict(photo.source).label for photo in dataset.split("test")]
    expected = [dataset.class_names[photo.label] for photo in dataset.split("test")]
    assert np.mean([a == e for a, e in zip(answers, expected, strict=True)]) >= 5 / 6

    before = (run / "bundle" / "model.keras").stat().st_mtime_ns
    again = CliRunner().invoke(app, command)  # finished: nothing is trained or written again
    assert json.loads(again.stdout) == made
    assert (run / "bundle" / "model.keras").stat().st_mtime_ns == before
    manifest = run / "bundle" / "bundle.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"metrics": {}}))
    mended = CliRunner().invoke(app, command)  # stopped between the bundle and its figures
    assert json.loads(mended.stdout)["metrics"] == made["metrics"]
    other = CliRunner().invoke(app, [*command, "--set", "batch_size=4"])
    assert other.exit_code == 2 and "batch_size is 4, it was 8" in other.stderr.replace("\n", " ")
    assert "Found" not in other.stderr  # told before the photos are read
