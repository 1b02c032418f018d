"""What is chosen where the person does not say."""

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from mobilevit_core.commands.plan import ENOUGH_TEST, HEAD_BELOW, SMALLEST_BELOW, Plan, Wish
from mobilevit_core.data.dataset import LabelledPhoto, PhotoDataset
from mobilevit_core.data.findings import Findings
from mobilevit_core.errors import UserError
from mobilevit_core.training import transfer
from mobilevit_core.training.recipes import RECIPES
from tests.conftest import SHIPPED

GENERAL = transfer.GENERAL_FOLDER  # a hypercolumn
LARGE = Findings((480,), 0, (), 1)


@pytest.fixture(autouse=True)
def flowers_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No general weights, the flowers are there."""
    monkeypatch.setattr(transfer, "GENERAL_FOLDER", tmp_path / "none")
    monkeypatch.setattr(transfer, "DEFAULT_START", {"general": tmp_path / "none", "flowers": SHIPPED})


def dataset(train: int, test: int = ENOUGH_TEST, scheme: str = "default") -> PhotoDataset:
    splits = {
        name: tuple(LabelledPhoto(f"{name}{n}", n % 2, b"") for n in range(count))
        for name, count in (("train", train), ("validation", 4), ("test", test))
    }
    return PhotoDataset("drawn", scheme, ("a", "b"), splits)


def plan(photos: PhotoDataset, findings: Findings = LARGE, **wish: object) -> Plan:
    wished = Wish(**wish)
    return wished.with_photos(wished.before_loading(), photos, findings)


def test_few_photos_get_a_head_and_many_a_network() -> None:
    few, many = (plan(dataset(2 * HEAD_BELOW + shift)) for shift in (-2, 0))
    assert few.is_head and few.recipe.suspects == "keep"
    assert not many.is_head and many.name == "finetune"
    assert few.start == many.start == str(SHIPPED)
    assert any("recipe: head" in reason and f"{HEAD_BELOW}" in reason for reason in few.reasons)
    assert [reason.partition(":")[0] for reason in many.reasons] == ["start", "recipe", "sizes"]


def test_a_small_class_among_large_ones_gets_a_head() -> None:
    def uneven(small: int, large: int) -> PhotoDataset:
        photos = tuple(LabelledPhoto(f"train{n}", int(n >= small), b"") for n in range(small + large))
        return PhotoDataset("drawn", "default", ("hat", "shirt"), {"train": photos, "test": photos})

    rare = plan(uneven(SMALLEST_BELOW - 1, 400))
    assert rare.is_head and any(
        f"hat, has only {SMALLEST_BELOW - 1}" in reason and f"from {SMALLEST_BELOW} on" in reason
        for reason in rare.reasons
    )
    assert not plan(uneven(SMALLEST_BELOW, 400)).is_head
    assert plan(uneven(SMALLEST_BELOW - 1, 400), values={"batch_size": "8"}).name == "finetune"


def test_what_is_said_is_done_without_a_reason() -> None:
    assert plan(dataset(8), recipe="default") == Plan("default", RECIPES["default"], None)
    chosen = plan(dataset(1000), recipe="head", weights=str(SHIPPED))
    assert chosen.is_head and chosen.reasons == ()
    fresh = plan(dataset(8), weights="fresh")
    assert (fresh.name, fresh.start) == ("default", None)


@pytest.mark.parametrize(
    "wish", [{"values": {"stages": "64:2"}}, {"has_teacher": True}, {"values": {"batch_size": "8"}}]
)
def test_values_of_a_training_mean_a_training(wish: Mapping[str, object]) -> None:
    assert plan(dataset(8), **wish).name == "finetune"


def test_too_few_test_photos_are_not_held_back() -> None:
    assert plan(dataset(20, ENOUGH_TEST - 1)).recipe.split_scheme == "whole"
    assert plan(dataset(20, ENOUGH_TEST)).recipe.split_scheme == "default"
    assert plan(dataset(20, 2, "folders")).recipe.split_scheme == "default"  # the person's own test split
    kept = plan(dataset(20, 2), values={"split_scheme": "default"})
    assert kept.is_head and kept.recipe.split_scheme == "default"
    assert plan(dataset(2000, 2)).recipe.split_scheme == "default"  # a network needs validation


def test_small_photos_are_not_enlarged() -> None:
    small = plan(dataset(2000), Findings((60, 100, 120), 0, (), 1)).recipe
    assert small.stages == ((128, 28),) and small.image_size == 128
    assert plan(dataset(2000), Findings((60,), 0, (), 1), values={"stages": "192:1"}).recipe.image_size == 192


def test_the_best_start_that_is_here_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "GENERAL_FOLDER", SHIPPED)
    monkeypatch.setattr(transfer, "DEFAULT_START", {"general": SHIPPED, "flowers": SHIPPED})
    assert plan(dataset(8)).start == "general"
    assert plan(dataset(8), values={"variant": "s"}).start is None  # the weights here are xxs
    monkeypatch.setattr(transfer, "DEFAULT_START", {})
    assert (plan(dataset(8)).name, plan(dataset(8)).start) == ("default", None)
    with pytest.raises(UserError, match="--weights imagenet"):
        plan(dataset(8), recipe="head")


def test_a_whole_network_keeps_the_layers_of_its_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "GENERAL_FOLDER", GENERAL)
    for recipe in ("finetune", "reject"):
        kept = plan(dataset(2000), recipe=recipe, weights="general").recipe
        assert kept == replace(RECIPES[recipe], architecture="hypercolumn")
    paper = plan(dataset(2000), weights="general", values={"architecture": "paper"})
    assert paper.recipe.architecture == "paper"
    assert plan(dataset(2000), weights="imagenet").recipe.architecture == "paper"


def test_released_weights_are_the_start_where_they_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "GENERAL_FOLDER", SHIPPED)
    monkeypatch.setattr(transfer, "DEFAULT_START", {"general": SHIPPED})
    offline = plan(dataset(8))
    assert offline.start == "general" and any("HF_HUB_OFFLINE" in reason for reason in offline.reasons)
    asked = []
    monkeypatch.setattr(transfer, "imagenet_problem", lambda variant: asked.append(variant))
    online = plan(dataset(8))
    assert online.start == "imagenet" and asked == ["xxs"]
    assert any("licence" in reason and "--weights general" in reason for reason in online.reasons)
    assert plan(dataset(8), values={"variant": "s"}).start == "imagenet"
    assert plan(dataset(8), began_with="").start == "general"  # a run goes on as it began
    monkeypatch.setattr(transfer, "imagenet_problem", lambda variant: "no network")
    assert plan(dataset(8), began_with="imagenet").start == "imagenet"
    example = {"architecture": "keras_example"}
    assert plan(dataset(8), values=example).start is None


def test_waiting_for_released_weights_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(transfer, "MOST_SECONDS", 0.05)
    answered = threading.Event()
    monkeypatch.setattr(transfer, "open_weights", lambda source, variant: answered.wait(30))
    assert "did not answer" in transfer.imagenet_problem("xxs")
    answered.set()
    monkeypatch.setattr(transfer, "MOST_SECONDS", 10)
    assert transfer.imagenet_problem("xxs") is None

    def failing(source: str, variant: str) -> None:
        raise UserError("no network")

    monkeypatch.setattr(transfer, "open_weights", failing)
    assert "can't be reached" in transfer.imagenet_problem("xxs")


def test_general_weights_that_are_not_here_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="general weights are not installed.*--weights fresh"):
        transfer.open_start("general", "xxs")
    monkeypatch.setattr(transfer, "GENERAL_FOLDER", SHIPPED)
    assert transfer.open_start("general", "xxs").bundle.folder == SHIPPED


def test_an_unknown_recipe_is_told() -> None:
    with pytest.raises(UserError, match="Unknown recipe 'best'.*head"):
        Wish("best")


def named(*class_names: str) -> PhotoDataset:
    return replace(dataset(400), class_names=class_names)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("turn_left", "turn_right"), {"flip": 0.0}),
        (("Abbiegen rechts", "Abbiegen links"), {"flip": 0.0}),
        (("b", "d"), {"flip": 0.0}),
        (("ripe tomato", "unripe-tomato"), {"color": 0.0, "degrade": 0.0}),
        (("red car", "Blue Car"), {"color": 0.0, "degrade": 0.0}),
        (("sharp", "blurred"), {"degrade": 0.0}),
        (("left hand", "red ball"), {}),
        (("red rose", "blue whale"), {}),
        (("a", "b"), {}),
    ],
)
def test_augmentation_leaves_alone_what_tells_classes_apart(
    names: tuple[str, str], values: dict[str, float]
) -> None:
    chosen = plan(named(*names))
    usual = RECIPES["finetune"]
    told = {value: getattr(chosen.recipe, value) for value in ("flip", "color", "degrade")}
    assert told == {value: getattr(usual, value) for value in told} | values
    for value in values:
        assert any(r.startswith(f"{value}: 0") and repr(names[0]) in r for r in chosen.reasons)
        asked = plan(named(*names), values={value: "0.25"})
        assert getattr(asked.recipe, value) == 0.25
        final = plan(named(*names), recipe="finetune")
        assert final.recipe == usual
        assert any(f"try --set {value}=0" in reason for reason in final.reasons)
