"""Learning from a network that somebody exported: what it is asked, and that nothing is lost on the way."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from typer.testing import CliRunner

from mobilevit_core.cli import app
from mobilevit_core.commands.pretrain import pretrain
from mobilevit_core.commands.train import train
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.loading import load_unlabelled
from mobilevit_core.errors import UserError
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.parts import backbone
from mobilevit_core.training import crops, own_classes, pretraining
from mobilevit_core.training.crops import CropBatches, CropPlan, CropStore, Targets
from mobilevit_core.training.recipes import Recipe
from mobilevit_core.training.teacher_networks import TEACHERS, imagenet_names, is_network, open_teacher
from tests.drawing import COLORS, draw_folder, draw_photo
from tests.networks import float32_alone, tiny_networks

NAMES = ("red", "green", "blue")
GRID = 4  # the teacher's features are the mean colours of a grid
WEIGHTS = np.random.default_rng(0).normal(size=(3 * GRID * GRID, len(NAMES))).astype(np.float32)


def write_teacher(file: Path, side: int | str = 32, **metadata: str) -> Path:
    """Features: an image reduced to 4 x 4 pixels; logits: a product with fixed weights."""
    kernel = (32 if isinstance(side, str) else side) // GRID
    nodes = [
        helper.make_node(
            "AveragePool", ["image"], ["small"], kernel_shape=[kernel] * 2, strides=[kernel] * 2
        ),
        helper.make_node("Flatten", ["small"], ["features"]),
        helper.make_node("MatMul", ["features", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, side, side])],
        [
            helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", 3 * GRID * GRID]),
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(NAMES)]),
        ],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {"classes": "\n".join(NAMES), **metadata})
    onnx.save(model, file)
    return file


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without classes, in one folder."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(24):
        draw_photo(COLORS[("blue", "green", "red")[number % 3]], number).save(folder / f"{number}.png")
    (folder / "broken.png").write_text("no photo")
    return folder


def test_a_file_is_asked_as_it_wants_to_be(tmp_path: Path) -> None:
    teacher = open_teacher(f"{write_teacher(tmp_path / 'teacher.onnx')}:32:100:50")
    image = np.random.default_rng(1).integers(0, 256, (1, 32, 32, 3), np.uint8)
    features, logits = teacher.answer(image)
    wanted = (
        ((image[0].astype(float) - 100) / 50).reshape(GRID, 8, GRID, 8, 3).mean((1, 3)).transpose(2, 0, 1)
    )
    np.testing.assert_allclose(features[0], wanted.ravel(), atol=1e-5)
    np.testing.assert_allclose(logits[0], wanted.ravel() @ WEIGHTS, atol=1e-4)
    assert teacher.class_names == NAMES


def test_a_file_tells_its_input_itself(tmp_path: Path) -> None:
    file = write_teacher(tmp_path / "teacher.onnx", "side", image_size="32", mean="1,2,3", scale="4")
    wants = open_teacher(str(file)).input
    assert (wants.image_size, wants.mean, wants.scale) == (32, (1, 2, 3), (4,))


def test_a_teacher_that_can_not_be_had_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("no network")
    unsized = write_teacher(tmp_path / "unsized.onnx", "side")
    for teacher, said in (
        (tmp_path / "missing.onnx", "does not exist"),
        (tmp_path / "text.onnx", "can't be opened as an ONNX network"),
        (unsized, "does not tell its image size"),
        (f"{unsized}:x", r"write FILE\.onnx"),
        (f"{write_teacher(tmp_path / 'sized.onnx')}:64", r"takes \[32, 32\] px, not 64"),
    ):
        with pytest.raises(UserError, match=said):
            open_teacher(str(teacher))


def test_named_teachers_name_imagenet() -> None:
    names = imagenet_names()
    assert len(set(names)) == 1000 and names[0] == "tench" and names[985] == "daisy"
    assert (
        all(is_network(name) for name in TEACHERS) and is_network("a/b.onnx:224") and not is_network("bundle")
    )


def test_asking_goes_on_where_it_was_killed(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "CHUNK", 8)
    teacher = open_teacher(str(write_teacher(tmp_path / "teacher.onnx")))
    drawn = load_unlabelled([str(photos)]).split("train")
    plan = CropPlan(image_size=64, crops=40, crop_scale=0.3, seed=3)  # more than photos
    whole, killed = (CropStore(tmp_path / name, plan, drawn) for name in ("whole", "killed"))
    whole.ask([teacher])
    answer, asked = teacher.answer, []

    def dying(images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        asked.append(len(images))
        if len(asked) == 3:
            raise KeyboardInterrupt
        return answer(images)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(teacher, "answer", dying)
        killed.ask([teacher])
    with monkeypatch.context() as patch:
        patch.setattr(teacher, "answer", dying)
        asked[:] = [0] * 3
        killed.ask([teacher])
    assert asked[3:] == [8, 8, 8]  # two of the five chunks were there
    whole.open(), killed.open()
    for one, other in zip(whole.take(np.arange(40)), killed.take(np.arange(40)), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(np.unique(whole.take(np.arange(40))[0], axis=0)) == 40  # no crop twice


def test_every_crop_once_per_epoch_in_an_order_of_its_own(photos: Path, tmp_path: Path) -> None:
    store = CropStore(tmp_path, CropPlan(64, 0, 0.3, 0), load_unlabelled([str(photos)]).split("train"))
    store.ask([open_teacher(str(write_teacher(tmp_path / "teacher.onnx")))])
    store.open()
    numbers = np.arange(24)
    pixels, features, logits = store.take(numbers)
    targets = Targets.fitted(features)

    def answers(epoch: int) -> np.ndarray:
        batches = CropBatches(store, numbers, targets, 8, 64, seed=(0, epoch))
        return np.concatenate([batches[index][1] for index in range(len(batches))])

    wanted = targets.of(features, logits, numbers)
    assert wanted[:, :3].sum(1) == pytest.approx(1, abs=1e-5)
    assert wanted[:, 3:].mean(0) == pytest.approx(0, abs=1e-3)
    assert not np.array_equal(answers(0), answers(1))
    np.testing.assert_array_equal(answers(1), answers(1))
    np.testing.assert_array_equal(np.sort(answers(0), axis=0), np.sort(wanted, axis=0))


def test_a_killed_training_ends_as_one_that_was_not(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = str(write_teacher(tmp_path / "teacher.onnx"))
    values = {"stages": "64:2", "image_size": 64, "batch_size": 8, "crops": 0}
    with tiny_networks(), float32_alone():
        whole = pretrain([str(photos)], tmp_path / "whole", [teacher], weights="fresh", values=values)
        fit, fits = pretraining.keras.Model.fit, []

        def dying(*arguments: object, **named: object) -> object:
            fits.append(named["initial_epoch"])
            if len(fits) == 2:
                raise KeyboardInterrupt
            return fit(*arguments, **named)

        monkeypatch.setattr(pretraining.keras.Model, "fit", dying)
        with pytest.raises(BaseException):  # noqa: B017 (Stopped, or the interruption itself)
            pretrain([str(photos)], tmp_path / "killed", [teacher], weights="fresh", values=values)
        killed = pretrain([str(photos)], tmp_path / "killed", [teacher], weights="fresh", values=values)
    assert fits == [0, 1, 1]
    assert "broken.png" in (tmp_path / "whole" / "skipped.txt").read_text()  # as it was told
    assert whole.bundle.manifest.class_names == NAMES
    one, other = (
        pretraining.keras.saving.load_model(each.bundle.weights("keras")) for each in (whole, killed)
    )
    for first, second in zip(one.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("photos", "crops"), [(2, 40), (24, 24), (24, 5000), (400, 100_000), (30_000, 40_000)]
)
def test_no_photo_is_both_learned_from_and_held_back(photos: int, crops: int) -> None:
    order = CropPlan(64, crops, 0.3, 0).order(photos)
    known, held = pretraining._held_back(order)
    assert not set(order[known]) & set(order[held])
    assert len(set(order[held])) <= max(photos // 10, 1) and 1 <= len(held) <= pretraining.HELD_BACK
    assert len(known) >= crops // 2


def test_one_photo_is_too_few(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (80, 80), "red").save(tmp_path / "photos" / "only.png")
    teacher = write_teacher(tmp_path / "teacher.onnx")
    result = CliRunner().invoke(app, ["train", str(tmp_path / "photos"), "--teacher", str(teacher)])
    assert result.exit_code == 2 and "photos has one photo" in result.stderr


def test_a_hypercolumns_features_vary_alike_within_classes(photos: Path, tmp_path: Path) -> None:
    """And the answers stay what they were."""
    found = load_unlabelled([str(photos)]).splits["train"]
    store = CropStore(tmp_path, CropPlan(64, 300, 0.3, 0), found)
    store.ask([open_teacher(str(write_teacher(tmp_path / "teacher.onnx")))])
    store.open()
    with tiny_networks():
        model = create_mobilevit(num_classes=3, image_size=64, architecture="hypercolumn")
    model.get_layer("logits").bias.assign([0.5, 0, -0.5])
    images, _, logits = store.take(np.arange(300))
    images, answers = images.astype(np.float32), logits.argmax(axis=1)
    before = model.predict(images, verbose=0)
    pretraining.whiten(model, store, np.arange(300))
    assert np.allclose(model.predict(images, verbose=0), before, atol=1e-4)
    seen = backbone(model).predict(images, verbose=0)
    groups = [seen[answers == one] for one in np.unique(answers)]
    apart = np.concatenate([group - group.mean(axis=0) for group in groups])
    variances = np.sort(np.linalg.eigvalsh(apart.T @ apart / len(apart)))
    assert variances[-1] == pytest.approx(1, abs=0.02) and variances[-4] > 0.5


def test_other_options_are_refused(photos: Path, tmp_path: Path) -> None:
    teacher = write_teacher(tmp_path / "teacher.onnx")
    arguments = ["train", str(photos), "--teacher", str(teacher), "--other", str(photos)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "On photos without labels" in result.stderr


def test_a_photo_that_is_no_longer_there_is_named(photos: Path, tmp_path: Path) -> None:
    gone = LabelledPhoto("gone.png", 0, tmp_path / "gone.png")
    store = CropStore(tmp_path / "crops", CropPlan(64, 0, 0.3, 0), [gone])
    with pytest.raises(UserError, match=r"gone\.png"):
        store.ask([open_teacher(str(write_teacher(tmp_path / "teacher.onnx")))])


def test_own_classes_are_learned_from_labels_and_a_teacher(photos: Path, tmp_path: Path) -> None:
    teacher = str(write_teacher(tmp_path / "teacher.onnx"))
    own = draw_folder(tmp_path / "own", photos_per_class=10)
    values = {"stages": "64:2", "image_size": 64, "batch_size": 8, "crops": 80}
    with tiny_networks(), float32_alone():
        run = tmp_path / "run"
        arguments = {"weights": "fresh", "recipe": "default", "values": values, "teachers": [teacher]}
        trained = train(own, run, unlabelled=[str(photos)], **arguments)
        again = train(own, run, unlabelled=[str(photos)], **arguments)
        with pytest.raises(UserError, match="--teacher"):
            train(own, run, weights="fresh", recipe="default", values=values)
    manifest = trained.bundle.manifest
    assert manifest.class_names == ("blue", "green", "red") and again.figures == trained.figures
    assert manifest.teachers[0]["unlabelled"] == 24
    seen = trained.bundle.provenance.train
    assert {photo.sha256[:16] for photo in load_unlabelled([str(photos)]).split("train")} <= seen


def test_held_out_photos_are_not_among_those_without_labels(photos: Path) -> None:
    drawn = load_unlabelled([str(photos)]).split("train")
    left = own_classes.NetworkTeachers([], drawn).without(drawn[:5])
    assert left.unlabelled == drawn[5:]


def test_another_image_size_has_crops_of_its_own(photos: Path, tmp_path: Path) -> None:
    teacher = open_teacher(str(write_teacher(tmp_path / "teacher.onnx")))
    drawn = load_unlabelled([str(photos)]).split("train")
    for size in (64, 128):
        store = CropStore(tmp_path / "crops", CropPlan(size, 0, 0.3, 0), drawn)
        store.ask([teacher])
        store.open()
        pixels, features, _ = store.take(np.arange(24))
        assert pixels.shape == (24, size, size, 3)
        np.testing.assert_array_equal(store.all_features(), features)


def test_whole_photos_are_among_the_crops() -> None:
    def share(whole_share: float) -> float:
        plan = CropPlan(64, 0, 0.3, 0, whole_share)
        return float(np.mean([plan.box(crop, 120, 100) == (0, 0, 120, 100) for crop in range(400)]))

    assert share(0) < 0.03  # where no box of a random shape fits
    assert share(0.25) == pytest.approx(share(0) + 0.25, abs=0.07)


def test_some_crops_are_grey_and_some_are_unsharp() -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (200, 32, 32, 3)).astype(np.float32)
    seen = crops._degraded(drawn.copy(), np.random.default_rng(1), 0.3)
    grey = np.ptp(seen, axis=3).max((1, 2)) < 1
    unsharp = seen.std((1, 2, 3)) < 0.5 * drawn.std((1, 2, 3))
    same = (seen == drawn).all((1, 2, 3))
    assert 0.2 < grey.mean() < 0.4 and 0.15 < unsharp.mean() < 0.4 and 0.35 < same.mean() < 0.65
    assert seen.min() >= 0 and seen.max() <= 255


@pytest.mark.parametrize(
    ("unlabelled", "share", "times"), [(0, 0.5, 1), (6, 0.5, 1), (46, 0.5, 5), (16, 0.25, 6)]
)
def test_photos_of_the_classes_are_cut_as_often_as_other_share_says(
    unlabelled: int, share: float, times: int
) -> None:
    photos = tuple(LabelledPhoto(str(number), number % 3, Path(str(number))) for number in range(14))
    dataset = PhotoDataset(
        "", "default", ("a", "b", "none of these"), {"train": photos}, other_class="none of these"
    )
    cut = own_classes._repeated(dataset, unlabelled, Recipe(other_share=share))
    assert [cut.count(photo) for photo in photos] == [1 if photo.label == 2 else times for photo in photos]


def test_a_crop_teaches_its_label_and_what_the_classifier_says() -> None:
    random = np.random.default_rng(0)
    labels = np.array([0, 1] * 20 + [-1] * 4)
    features = random.normal(0, 0.1, (44, 5)).astype(np.float32)
    features[1:40:2, 0] += 1
    features[40:, 0] += [0, 1, 0, 1]
    answers = own_classes._answers(features, labels, 3, share=0.5, balanced=False)
    assert answers.sum(1) == pytest.approx(1, abs=1e-5)
    assert answers[40:].argmax(1).tolist() == [0, 1, 0, 1] and answers[40:].max() < 0.95
    assert (answers[:40].argmax(1) == labels[:40]).all() and answers[:40].max(1).min() > 0.7


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"unlabelled": ["more"]}, "--teacher efficientnet_lite0"),
        ({"teachers": ["a.onnx", "bundle"]}, "either bundles .* or networks"),
        ({"teachers": ["a.onnx"], "values": {"devices": "all"}}, "--devices"),
    ],
)
def test_what_does_not_go_together_is_told(arguments: dict[str, Any], said: str, tmp_path: Path) -> None:
    own = draw_folder(tmp_path / "own", photos_per_class=5)
    with pytest.raises(UserError, match=said):
        train(own, tmp_path / "run", weights="fresh", recipe="default", **arguments)
