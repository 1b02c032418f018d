"""The weights that MobileViT's authors released, read with NumPy alone.

The same networks are published twice on the Hugging Face Hub, as `model.safetensors`:

- timm: `timm/mobilevit_{xxs,xs,s}.cvnets_in1k`. RGB, one fused projection to query, key and value.
- Hugging Face transformers: `apple/mobilevit-{xx-small,x-small,small}`. BGR, three projections.

Both take pixels divided by 255 without mean and deviation, which is what our networks do inside. BGR is
turned into RGB once, by reversing the input channels of the first convolution.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilevit_core import hub
from mobilevit_core.errors import UserError, reason
from mobilevit_core.files import file_sha256
from mobilevit_core.images.preprocessing import ResizeRule
from mobilevit_core.models.parts import CLASSIFIER, FEATURES, NORMALIZED
from mobilevit_core.models.variants import DEPTHS, VARIANTS

if TYPE_CHECKING:
    import keras

IMAGENET = "imagenet"
IMAGENET_DATA = "ImageNet-1k"  # what the manifest calls the photos
FILE = "model.safetensors"
SUFFIX = ".safetensors"
# A commit of the three timm repositories would pin the files; none could be looked up without a network.
# The commit that a download resolves to and the file's digest go into the manifest.
REVISION = hub.MAIN
IMAGENET_CLASSES = 1000
NAMED = 5  # how many tensors of one kind an error lists
FLOATS = ("F16", "F32", "F64")
COUNTER = ".num_batches_tracked"  # of PyTorch's BatchNorm; plays no part in the answers
NORMALIZATION = ("weight", "bias", "running_mean", "running_var")  # Keras: gamma, beta, mean, variance

LICENCE = {
    "name": "Apple's licence of ml-cvnets",
    "url": "https://github.com/apple/ml-cvnets/blob/main/LICENSE",
    "terms": "Use, modification and redistribution are allowed with the licence's notice; no patent grant.",
}


@dataclass(frozen=True)
class Naming:
    """How one library names the tensors of the network, and what input its weights expect.

    Attributes:
        title: the library.
        layers: the stem, the last convolution and the classifier: our layer prefix -> theirs.
        blocks: templates of their prefixes with {stage} counted from 0 and {index}: "mv", an inverted
            residual of stages 1 and 2; "down", the one that opens a later stage; "vit", a MobileViT block.
        parts: inside a block, our name -> theirs.
        transformer: template of a transformer layer inside a MobileViT block, with {index}.
        transformer_parts: inside a transformer layer, our name -> theirs.
        qkv: the tensors that our fused projection consists of, under their prefix.
        conv: name of a convolution beside its normalization.
        norm: name of the normalization.
        bgr: whether the first convolution expects blue first.
        preprocessing: how the publisher turns a photo into the input.
    """

    title: str
    layers: Mapping[str, str]
    blocks: Mapping[str, str]
    parts: Mapping[str, str]
    transformer: str
    transformer_parts: Mapping[str, str]
    qkv: tuple[str, ...]
    conv: str
    norm: str
    bgr: bool
    preprocessing: Mapping[str, Any]

    @property
    def first(self) -> str:
        """The tensor by which a file of this naming is recognized."""
        return f"{self.layers['stem']}.{self.conv}.weight"

    @property
    def last(self) -> str:
        """The tensor whose width tells the variant."""
        return f"{self.layers['last']}.{self.conv}.weight"

    def prefixes(self) -> dict[str, str]:
        """Our layer prefix -> theirs, for the whole network."""
        found = dict(self.layers)
        for stage, kind, index, ours in _blocks():
            theirs = self.blocks[kind].format(stage=stage, index=index)
            found |= {f"{ours}_{part}": f"{theirs}.{name}" for part, name in self.parts.items()}
            for layer in range(DEPTHS[stage - 2]) if kind == "vit" else ():
                inside = f"{theirs}.{self.transformer.format(index=layer)}"
                for part, name in self.transformer_parts.items():
                    found[f"{ours}_transformer{layer}_{part}"] = f"{inside}.{name}"
        return found

    def sources(self, layer: str, prefixes: Mapping[str, str]) -> list[tuple[str, ...]]:
        """Their tensors for each weight of one of our layers; several are stacked on their first axis."""
        if layer.endswith("_conv"):
            return [(f"{prefixes[layer.removesuffix('_conv')]}.{self.conv}.weight",)]
        if layer.endswith("_bn"):
            theirs = f"{prefixes[layer.removesuffix('_bn')]}.{self.norm}"
            return [(f"{theirs}.{key}",) for key in NORMALIZATION]
        theirs = prefixes[layer]
        if layer.endswith("_project_in"):
            return [(f"{theirs}.weight",)]
        parts = self.qkv if layer.endswith("_qkv") else ("",)
        return [tuple(f"{theirs}{part}.{key}" for part in parts) for key in ("weight", "bias")]


def _blocks() -> Iterator[tuple[int, str, int, str]]:
    """Every block: stage counted from 0, kind, index inside the stage, our layer prefix."""
    yield 0, "mv", 0, "stage1_mv0"
    for index in range(3):
        yield 1, "mv", index, f"stage2_mv{index}"
    for stage in (2, 3, 4):
        yield stage, "down", 0, f"stage{stage + 1}_mv0"
        yield stage, "vit", 1, f"stage{stage + 1}_vit"


TIMM = Naming(
    title="timm",
    layers={"stem": "stem", "last": "final_conv", CLASSIFIER: "head.fc"},
    blocks={"mv": "stages.{stage}.{index}", "down": "stages.{stage}.0", "vit": "stages.{stage}.1"},
    parts={
        "expand": "conv1_1x1",
        "depthwise": "conv2_kxk",
        "reduce": "conv3_1x1",
        "local": "conv_kxk",
        "project_in": "conv_1x1",
        "norm": "norm",
        "project_out": "conv_proj",
        "fusion": "conv_fusion",
    },
    transformer="transformer.{index}",
    transformer_parts={
        "attention_norm": "norm1",
        "attention_qkv": "attn.qkv",
        "attention_out": "attn.proj",
        "ffn_norm": "norm2",
        "ffn_in": "mlp.fc1",
        "ffn_out": "mlp.fc2",
    },
    qkv=("",),
    conv="conv",
    norm="bn",
    bgr=False,
    preprocessing={
        "image_size": 256,
        "mode": "center_crop",
        "crop_fraction": 0.9,
        "interpolation": "bicubic",
        "channels": "RGB",
    },
)

TRANSFORMERS = Naming(
    title="Hugging Face transformers",
    layers={"stem": "mobilevit.conv_stem", "last": "mobilevit.conv_1x1_exp", CLASSIFIER: "classifier"},
    blocks={
        "mv": "mobilevit.encoder.layer.{stage}.layer.{index}",
        "down": "mobilevit.encoder.layer.{stage}.downsampling_layer",
        "vit": "mobilevit.encoder.layer.{stage}",
    },
    parts={
        "expand": "expand_1x1",
        "depthwise": "conv_3x3",
        "reduce": "reduce_1x1",
        "local": "conv_kxk",
        "project_in": "conv_1x1.convolution",
        "norm": "layernorm",
        "project_out": "conv_projection",
        "fusion": "fusion",
    },
    transformer="transformer.layer.{index}",
    transformer_parts={
        "attention_norm": "layernorm_before",
        "attention_qkv": "attention.attention",
        "attention_out": "attention.output.dense",
        "ffn_norm": "layernorm_after",
        "ffn_in": "intermediate.dense",
        "ffn_out": "output.dense",
    },
    qkv=(".query", ".key", ".value"),
    conv="convolution",
    norm="normalization",
    bgr=True,
    preprocessing={
        "image_size": 256,
        "mode": "center_crop",
        "crop_fraction": 256 / 288,
        "interpolation": "bilinear",
        "channels": "BGR, reversed once in the first convolution",
    },
)

NAMINGS = (TIMM, TRANSFORMERS)
# Hub repositories that hold what the authors released.
RELEASED = re.compile(r"timm/mobilevit_(xxs|xs|s)\.cvnets_in1k|apple/mobilevit-(xx-small|x-small|small)")


@dataclass(frozen=True)
class Tensor:
    """One weight of one of our layers, and where it comes from.

    Attributes:
        layer: our layer.
        names: of the file's tensors; several are stacked on their first axis.
        shape: of each of them.
        axes: the transposition from their layout to ours.
    """

    layer: str
    names: tuple[str, ...]
    shape: tuple[int, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class ReleasedWeights:
    """A safetensors file in one of the two namings, opened and recognized; its tensors are still unread.

    Attributes:
        path: the file.
        source: what the person asked for, for messages and the manifest.
        naming: whose names it uses.
        variant: "xxs", "xs" or "s".
        classes: width of its classifier.
        repository: on the Hub, None for a local file.
        revision: the commit that was downloaded, None for a local file.
        shapes: tensor -> shape.
        types: tensor -> safetensors' name of its type.
    """

    path: Path
    source: str
    naming: Naming
    variant: str
    classes: int
    repository: str | None = None
    revision: str | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict, repr=False)
    types: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def rule(self) -> ResizeRule:
        """The publisher's resize and crop in our terms (we resize bilinearly throughout)."""
        given = self.naming.preprocessing
        return ResizeRule(given["image_size"], given["mode"], given["crop_fraction"])

    def describe(self) -> dict[str, Any]:
        """What the manifest records of weights that a training started from."""
        released = bool(self.repository and RELEASED.fullmatch(self.repository))
        data = {"name": IMAGENET_DATA, "photos": {"train": 1_281_167}} if released else {"name": self.source}
        return {
            "weights_sha256": file_sha256(self.path),
            "source": self.repository or self.path.name,
            "revision": self.revision,
            "naming": self.naming.title,
            "data": data,
            "classes": self.classes,
            "recipe": None,
            "start": None,
            "preprocessing": dict(self.naming.preprocessing),
            "licence": LICENCE if released else None,
        }

    def check_variant(self, variant: str) -> None:
        """Raises a UserError unless the file holds this variant."""
        if variant != self.variant:
            raise UserError(
                f"{self.source} holds the variant {self.variant}, not {variant}. "
                f"Ask for {self.variant}, or name weights of {variant}."
            )

    def copy_to(self, model: "keras.Model", head: bool | None = None) -> None:
        """Gives a model of `create_mobilevit` these weights.

        Every tensor of the file is checked before the first weight of the model changes.

        Args:
            model: a "paper" network of the same variant, of any image size, or a hypercolumn on it, whose
                own layers stay.
            head: whether the classifier is taken over; by default where the number of classes is the same.

        Raises:
            UserError: a tensor is missing, unknown, of another shape or type, or not finite.
        """
        if head is None:
            head = model.output_shape[-1] == self.classes
        plan = self.plan(model)
        self._check(plan)
        for layer, weights in self._read(plan).items():
            if layer != CLASSIFIER or head:
                model.get_layer(layer).set_weights(weights)

    def plan(self, model: "keras.Model") -> list[Tensor]:
        """Where each weight of the model comes from; the classifier as wide as the file's."""
        prefixes = self.naming.prefixes()
        tensors = []
        for layer in model.layers:
            if not layer.weights or layer.name in (NORMALIZED, FEATURES):
                continue
            sources = self.naming.sources(layer.name, prefixes)
            for weight, names in zip(layer.weights, sources, strict=True):
                shape = tuple(weight.shape)
                if layer.name == CLASSIFIER:
                    shape = (*shape[:-1], self.classes)
                tensors.append(_tensor(layer.name, names, shape))
        return tensors

    def _check(self, plan: Sequence[Tensor]) -> None:
        expected = {name: tensor.shape for tensor in plan for name in tensor.names}
        held = {name for name in self.shapes if not name.endswith(COUNTER)}
        shared = sorted(held & set(expected))
        problems = {
            "missing": sorted(set(expected) - held),
            "unknown": sorted(held - set(expected)),
            "of another shape": [
                f"{name} {self.shapes[name]} instead of {expected[name]}"
                for name in shared
                if self.shapes[name] != expected[name]
            ],
            "of another type": [
                f"{name} {self.types[name]}, not one of {', '.join(FLOATS)}"
                for name in shared
                if self.types[name] not in FLOATS
            ],
        }
        self._refuse(problems)

    def _refuse(self, problems: Mapping[str, Sequence[str]]) -> None:
        told = [f"{kind}: {_listed(names)}" for kind, names in problems.items() if names]
        if told:
            raise UserError(
                f"{self.source} does not hold the weights of MobileViT {self.variant} as "
                f"{self.naming.title} names them. Tensors {'; '.join(told)}."
            )

    def _read(self, plan: Sequence[Tensor]) -> dict[str, list[np.ndarray]]:
        """Our layer -> its weights in Keras's layout, float32."""
        weights: dict[str, list[np.ndarray]] = {}
        broken = []
        with _open_file(self.path) as file:
            for tensor in plan:
                parts = [np.asarray(file.get_tensor(name), np.float32) for name in tensor.names]
                broken += [
                    name for name, part in zip(tensor.names, parts, strict=True) if _is_broken(name, part)
                ]
                value = np.concatenate(parts)
                if self.naming.bgr and tensor.layer == "stem_conv":
                    value = value[:, ::-1]
                weights.setdefault(tensor.layer, []).append(value.transpose(tensor.axes))
        self._refuse({"with values that are not finite, or a negative variance": broken})
        return weights


def open_weights(source: str, variant: str) -> ReleasedWeights:
    """Finds, downloads if need be, and recognizes released weights.

    Args:
        source: "imagenet" for the authors' weights of the variant, "hf://OWNER/NAME" or
            "hf://OWNER/NAME@REVISION" for a repository of the Hub, or a local safetensors file.
        variant: what "imagenet" means; other sources tell their own.

    Raises:
        UserError: there is no such file, no network, or the file is neither timm's nor transformers'.
    """
    if source != IMAGENET and not hub.is_address(source):
        return read_file(Path(source))
    imagenet = hub.Address(f"timm/mobilevit_{variant}.cvnets_in1k", REVISION)
    address = imagenet if source == IMAGENET else hub.parse(source)
    path = _download(address)
    commit = path.parent.name if path.parent.parent.name == "snapshots" else address.revision
    return replace(read_file(path, source), repository=address.repository, revision=commit)


def is_released(source: str) -> bool:
    """Whether `open_weights` is what reads this; anything else is meant as a bundle's folder."""
    return source == IMAGENET or hub.is_address(source) or source.lower().endswith(SUFFIX)


def read_file(path: Path, source: str | None = None) -> ReleasedWeights:
    """Recognizes a safetensors file by its tensors' names.

    Raises:
        UserError: the file is missing or damaged, or holds something else.
    """
    source = source or str(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder; a {SUFFIX} file is expected here.")
    if not path.is_file():
        raise UserError(f"There is no file {path}.")
    with _open_file(path) as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
        types = {name: str(part.get_dtype()) for name, part in slices.items()}
    naming = next((naming for naming in NAMINGS if naming.first in shapes), None)
    if naming is None:
        raise UserError(
            f"{source} is not a MobileViT as timm or Hugging Face transformers name it: it has neither "
            f"{TIMM.first} nor {TRANSFORMERS.first}."
        )
    widths = {min(4 * spec.channels[-1], 960): variant for variant, spec in VARIANTS.items()}
    width = next(iter(shapes.get(naming.last, ())), None)
    if width not in widths:
        raise UserError(
            f"{source} is none of {', '.join(VARIANTS)}: its {naming.last} has the shape "
            f"{shapes.get(naming.last)}, first number expected: {', '.join(map(str, widths))}."
        )
    classes = next(iter(shapes.get(f"{naming.layers[CLASSIFIER]}.bias", ())), IMAGENET_CLASSES)
    return ReleasedWeights(path, source, naming, widths[width], classes, shapes=shapes, types=types)


def _download(address: hub.Address) -> Path:
    """The `model.safetensors` of a Hub repository, from the local cache where it is there already.

    Raises:
        UserError: no network and not in the cache, or the Hub has no such repository, revision or file.
    """
    from huggingface_hub import errors, hf_hub_download

    repository, revision = address.repository, address.revision
    way_out = (
        f"Try again with a network, or download it elsewhere from https://huggingface.co/{repository} and "
        "give the file's path instead."
    )
    with hub.downloading(address, FILE, way_out):
        try:
            return Path(hf_hub_download(repository, FILE, revision=revision, local_files_only=True))
        except errors.LocalEntryNotFoundError:
            return Path(hf_hub_download(repository, FILE, revision=revision))


def _open_file(path: Path) -> Any:
    """The file as safetensors opens it: its header is checked, no tensor is read."""
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a complete safetensors file: {reason(error)}") from error


def _tensor(layer: str, names: tuple[str, ...], ours: tuple[int, ...]) -> Tensor:
    """The file's shape and the transposition for one of our weights."""
    if len(ours) == 4:  # ours height, width, in, out; theirs out, in, height, width
        depthwise = layer.endswith("_depthwise_conv")  # ours height, width, channels, 1
        axes = (2, 3, 0, 1) if depthwise else (2, 3, 1, 0)
    else:
        axes = tuple(reversed(range(len(ours))))
    theirs = [0] * len(ours)
    for place, axis in enumerate(axes):
        theirs[axis] = ours[place]
    theirs[0] //= len(names)
    return Tensor(layer, names, tuple(theirs), axes)


def _is_broken(name: str, values: np.ndarray) -> bool:
    if not np.isfinite(values).all():
        return True
    return name.endswith(".running_var") and bool((values < 0).any())


def _listed(names: Sequence[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
