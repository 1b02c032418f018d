"""Released weights: the logits of timm and Hugging Face transformers, and files that are refused."""

import struct
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from mobilevit_core.errors import UserError
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.mobilevit import VARIANTS
from mobilevit_core.models.parts import logits_model
from mobilevit_core.models.released_weights import IMAGENET_CLASSES, TIMM, open_weights
from mobilevit_core.training.recipes import make_recipe
from mobilevit_core.training.transfer import ReleasedStart
from tests.models.published_logits import first_logits, published_input
from tests.models.seeded_weights import (
    CLASSES,
    NAMING,
    SIZES,
    TOLERANCE,
    golden,
    images,
    largest_difference,
    names_digest,
    tensors,
    write,
)


@pytest.fixture(scope="module")
def drawn() -> dict[str, np.ndarray]:
    return tensors(TIMM, "xxs")


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Takes no weights: every file that it is given is refused."""
    return create_mobilevit(image_size=64)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("library", NAMING)
def test_the_logits_are_those_of_the_library(library: str, variant: str, tmp_path: Path) -> None:
    recorded = golden()[library][variant]
    held = tensors(NAMING[library], variant)
    assert names_digest({name: value.shape for name, value in held.items()}) == recorded["names"]
    file = write(tmp_path / "model.safetensors", held)
    for size in SIZES if variant == "xxs" else SIZES[:1]:
        theirs = np.array(recorded["logits"][str(size)])
        ours = logits_model(create_mobilevit(variant, None, size, weights=str(file)))(images(size)).numpy()
        assert ours.shape == (2, CLASSES)
        assert largest_difference(ours, theirs) <= TOLERANCE
        assert np.abs(theirs[0] - theirs[1]).max() > 0.01 * np.abs(theirs).max()  # they look at the image


@pytest.mark.parametrize("library", NAMING)
def test_other_classes_get_a_fresh_classifier(library: str, tmp_path: Path) -> None:
    held = tensors(NAMING[library], "xxs")
    file = write(tmp_path / "model.safetensors", held)
    keras.utils.set_random_seed(0)
    fresh = create_mobilevit(num_classes=5, image_size=64).get_layer("logits").get_weights()
    keras.utils.set_random_seed(0)
    model = create_mobilevit(num_classes=5, image_size=64, weights=str(file))
    assert all(
        np.array_equal(a, b) for a, b in zip(model.get_layer("logits").get_weights(), fresh, strict=True)
    )
    bias = held[NAMING[library].sources("last_bn", NAMING[library].prefixes())[1][0]]
    assert np.array_equal(model.get_layer("last_bn").beta.numpy(), bias)


def test_the_stem_of_transformers_is_turned_to_rgb(tmp_path: Path) -> None:
    held = tensors(NAMING["transformers"], "xxs")
    file = write(tmp_path / "model.safetensors", held)
    kernel = create_mobilevit(image_size=64, weights=str(file)).get_layer("stem_conv").kernel.numpy()
    theirs = held["mobilevit.conv_stem.convolution.weight"]
    assert np.array_equal(kernel, theirs[:, ::-1].transpose(2, 3, 1, 0))


def test_half_precision_is_read(tmp_path: Path, drawn: dict[str, np.ndarray]) -> None:
    half = {k: v.astype(np.float16) if v.dtype == np.float32 else v for k, v in drawn.items()}
    file = write(tmp_path / "model.safetensors", half)
    model = create_mobilevit(num_classes=CLASSES, image_size=64, weights=str(file))
    assert np.array_equal(model.get_layer("logits").bias.numpy(), half["head.fc.bias"].astype(np.float32))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.fc.bias": None, "stages.2.1.norm.bias": None}, "missing: head.fc.bias, stages.2.1.norm.bias"),
        ({"stages.9.conv.weight": np.zeros(1, np.float32)}, "unknown: stages.9.conv.weight"),
        (
            {"stages.2.1.transformer.0.attn.qkv.weight": np.zeros((64, 192), np.float32)},
            r"another shape: stages.2.1.transformer.0.attn.qkv.weight \(64, 192\) instead of \(192, 64\)",
        ),
        ({"stem.bn.weight": np.zeros(16, np.int32)}, "another type: stem.bn.weight I32"),
        ({"stem.bn.bias": np.full(16, np.nan, np.float32)}, "not finite, or a negative .*: stem.bn.bias"),
        ({"stem.bn.running_var": np.full(16, -1, np.float32)}, "negative variance: stem.bn.running_var"),
        ({"final_conv.conv.weight": np.zeros((100, 80, 1, 1), np.float32)}, "none of xxs, xs, s"),
        ({"stem.conv.weight": None}, "neither stem.conv.weight nor mobilevit.conv_stem"),
    ],
)
def test_a_file_with_other_tensors_is_refused(
    change: dict[str, np.ndarray | None],
    message: str,
    tmp_path: Path,
    drawn: dict[str, np.ndarray],
    network: keras.Model,
) -> None:
    changed = {name: value for name, value in {**drawn, **change}.items() if value is not None}
    file = write(tmp_path / "model.safetensors", changed)
    with pytest.raises(UserError, match=message):
        open_weights(str(file), "xxs").copy_to(network)


def test_a_hypercolumn_takes_all_but_its_own_layers(tmp_path: Path, drawn: dict[str, np.ndarray]) -> None:
    start = ReleasedStart(open_weights(str(write(tmp_path / "model.safetensors", drawn)), "xxs"))
    start.check(make_recipe("distill"))
    model, paper = (create_mobilevit(image_size=64, architecture=name) for name in ("hypercolumn", "paper"))
    own = model.get_layer("features").get_weights()[0]
    for network in (model, paper):
        assert not start.copy_to(network, ())
    assert np.array_equal(model.get_layer("features").get_weights()[0], own)
    last = [network.get_layer("last_conv").get_weights()[0] for network in (model, paper)]
    assert np.array_equal(*last)
    with pytest.raises(UserError, match="holds a paper network, the recipe trains a keras_example"):
        start.check(make_recipe("keras-example"))


def test_nothing_is_taken_from_a_file_that_is_refused(
    tmp_path: Path, drawn: dict[str, np.ndarray], network: keras.Model
) -> None:
    file = write(tmp_path / "model.safetensors", {**drawn, "head.fc.bias": np.full(7, np.inf, np.float32)})
    before = network.get_weights()
    with pytest.raises(UserError, match="head.fc.bias"):
        open_weights(str(file), "xxs").copy_to(network)
    assert all(np.array_equal(a, b) for a, b in zip(before, network.get_weights(), strict=True))
    with pytest.raises(UserError, match="head.fc.bias"):
        create_mobilevit(image_size=64, weights=str(file))


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[:-100],
        lambda content: struct.pack("<Q", 2**40) + content[8:],
        lambda content: content[:8] + b"x" * 100,
        lambda content: b"\x89PNG" + content[4:],
    ],
)
def test_a_damaged_file_is_refused(damage, tmp_path: Path, drawn: dict[str, np.ndarray]) -> None:  # noqa: ANN001
    file = write(tmp_path / "model.safetensors", drawn)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match="not a complete safetensors file"):
        open_weights(str(file), "xxs")


def test_what_does_not_fit_is_told(tmp_path: Path, drawn: dict[str, np.ndarray]) -> None:
    file = write(tmp_path / "model.safetensors", drawn)
    with pytest.raises(UserError, match="holds the variant xxs, not s"):
        create_mobilevit("s", weights=str(file))
    with pytest.raises(UserError, match="architecture 'paper'"):
        create_mobilevit(architecture="keras_example", weights=str(file))
    with pytest.raises(UserError, match="There is no file"):
        open_weights(str(tmp_path / "none.safetensors"), "xxs")
    with pytest.raises(UserError, match="is a folder"):
        open_weights(str(tmp_path), "xxs")
    with pytest.raises(UserError, match="num_classes is None"):
        create_mobilevit(num_classes=None)


def test_without_a_network_the_message_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match=r"timm/mobilevit_xs\.cvnets_in1k could not be downloaded.*file's path"
    ):
        open_weights("imagenet", "xs")
    with pytest.raises(UserError, match="a/b/c is not OWNER/NAME"):
        open_weights("hf://a/b/c", "xs")


def test_a_downloaded_file_tells_repository_commit_and_licence(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, drawn: dict[str, np.ndarray]
) -> None:
    commit = "0" * 40
    (tmp_path / "snapshots" / commit).mkdir(parents=True)
    file = write(tmp_path / "snapshots" / commit / "model.safetensors", drawn)
    asked = []
    monkeypatch.setattr(
        "huggingface_hub.hf_hub_download",
        lambda repository, name, **options: asked.append((repository, name, options)) or str(file),
    )
    described = open_weights("imagenet", "xxs").describe()
    assert asked[0][:2] == ("timm/mobilevit_xxs.cvnets_in1k", "model.safetensors")
    assert described["revision"] == commit
    assert described["data"]["name"] == "ImageNet-1k"
    assert "no patent grant" in described["licence"]["terms"]
    assert described["preprocessing"]["crop_fraction"] == 0.9
    assert open_weights("hf://someone/else@v1", "xxs").describe()["licence"] is None
    assert asked[-1][2]["revision"] == "v1"


def test_the_published_logits_are_read_in_their_order(tmp_path: Path, drawn: dict[str, np.ndarray]) -> None:
    wide = {
        **drawn,
        "head.fc.weight": np.zeros((IMAGENET_CLASSES, 320), np.float32),
        "head.fc.bias": np.arange(IMAGENET_CLASSES, dtype=np.float32),
    }
    file = write(tmp_path / "model.safetensors", wide)
    Image.new("RGB", (640, 480)).save(tmp_path / "cats.png")
    assert first_logits(str(file), "xxs", tmp_path / "cats.png").tolist() == [0, 1, 2]


def test_the_published_image_is_scaled_to_288_and_cropped_to_256() -> None:
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8))
    expected = photo.resize((384, 288), Image.Resampling.BILINEAR).crop((64, 16, 320, 272))
    assert np.array_equal(published_input(np.asarray(photo)), np.asarray(expected))
