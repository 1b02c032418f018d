"""Crops of photos with a teacher's answers, stored in the run folder and learned from for many epochs.

Teacher and student see the same crop (Beyer et al. 2022, "a good teacher is patient and consistent"). A
teacher at 224 px costs about as much as a training step at 128, so each crop is asked for once.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import keras
import numpy as np

from mobilevit_core.data.bulk import in_order
from mobilevit_core.data.dataset import LabelledPhoto
from mobilevit_core.errors import UserError
from mobilevit_core.evaluation.calibration import softmax
from mobilevit_core.files import replacing
from mobilevit_core.images.preprocessing import resize
from mobilevit_core.images.reading import read_photo
from mobilevit_core.training.teacher_networks import TeacherNetwork

CHUNK = 1024  # crops per file
ASKED = 32  # crops per question to the teacher
ASPECT_RATIOS = (3 / 4, 4 / 3)
SPARE_BYTES = 2**30
GREY = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
UNSHARP_SIDES = (0.25, 0.7)  # of the image's side


@dataclass(frozen=True)
class CropPlan:
    """Which crops are asked for; the same numbers give the same crops.

    Attributes:
        image_size: side that crops are stored with, pixels.
        crops: how many; 0 for one of each photo.
        crop_scale: smallest share of a photo's area.
        seed: of the boxes and of the order.
        whole_share: of the crops that are the whole photo, squashed.
    """

    image_size: int
    crops: int
    crop_scale: float
    seed: int
    whole_share: float = 0

    def order(self, photos: int) -> np.ndarray:
        """The photos' numbers in the order in which they are asked for: (crops,)."""
        random = np.random.default_rng((self.seed, 0))
        crops = self.crops or photos
        rounds = -(-crops // photos)
        return np.concatenate([random.permutation(photos) for _ in range(rounds)])[:crops]

    def box(self, crop: int, width: int, height: int) -> tuple[float, float, float, float]:
        """RandomResizedCrop: (left, top, right, bottom) in pixels."""
        random = np.random.default_rng((self.seed, 1, crop))
        if self.whole_share and random.random() < self.whole_share:
            return 0, 0, width, height
        for _ in range(10):
            area = width * height * random.uniform(self.crop_scale, 1)
            aspect = np.exp(random.uniform(*np.log(ASPECT_RATIOS)))
            w, h = np.sqrt(area * aspect), np.sqrt(area / aspect)
            if w <= width and h <= height:
                left, top = random.uniform(0, width - w), random.uniform(0, height - h)
                return left, top, left + w, top + h
        return 0, 0, width, height


class CropStore:
    """The files of a run's crops: pixels, features and logits in chunks of `CHUNK`.

    Args:
        folder: where; each image size has a folder of its own in it.
        plan: which crops.
        photos: what they are crops of.
    """

    def __init__(self, folder: Path, plan: CropPlan, photos: Sequence[LabelledPhoto]) -> None:
        self.folder, self._plan, self._photos = folder / f"{plan.image_size}px", plan, photos
        self._order = plan.order(len(photos))
        self.crops = len(self._order)
        self._pixels: list[np.ndarray] = []
        self._answers: list[tuple[np.ndarray, np.ndarray]] = []

    def _file(self, kind: str, chunk: int) -> Path:
        return self.folder / f"{kind}-{chunk:05}.npy"

    def _chunks(self) -> list[np.ndarray]:
        numbers = np.arange(self.crops)
        return [numbers[start : start + CHUNK] for start in range(0, self.crops, CHUNK)]

    def ask(self, teachers: Sequence[TeacherNetwork]) -> None:
        """Fills what is missing; a killed run goes on with the chunk that it was at.

        Args:
            teachers: whose features are laid side by side, and whose logits are averaged.

        Raises:
            UserError: the disk is too small.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        missing = [chunk for chunk in range(len(self._chunks())) if not self._is_there(chunk)]
        if not missing:
            return
        self._check_space(len(missing))
        sides = sorted({self._plan.image_size, *(teacher.input.image_size for teacher in teachers)})

        def cut(crop: int) -> dict[int, np.ndarray]:
            photo = self._photos[self._order[crop]]
            pixels = read_photo(photo.source, photo.name)
            height, width = pixels.shape[:2]
            box = self._plan.box(crop, width, height)
            return {side: resize(pixels, side, side, box) for side in sides}

        chunk_crops = self._chunks()
        crops = np.concatenate([chunk_crops[chunk] for chunk in missing])
        cuts = in_order(cut, crops, "Asking the teacher", ahead=1)
        for chunk in missing:
            parts = []
            for start in range(0, len(chunk_crops[chunk]), ASKED):
                batch = list(islice(cuts, min(ASKED, len(chunk_crops[chunk]) - start)))
                parts.append(self._asked(batch, teachers))
            self._write(chunk, *(np.concatenate(part) for part in zip(*parts, strict=True)))

    def _asked(
        self, cuts: list[dict[int, np.ndarray]], teachers: Sequence[TeacherNetwork]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        answers = [
            teacher.answer(np.stack([cut[teacher.input.image_size] for cut in cuts])) for teacher in teachers
        ]
        features = np.concatenate([features for features, _ in answers], axis=1)
        logits = [logits for _, logits in answers if logits is not None]
        mean = np.mean(logits, axis=0) if logits else np.zeros((len(cuts), 0), np.float32)
        return np.stack([cut[self._plan.image_size] for cut in cuts]), features, mean

    def _write(self, chunk: int, pixels: np.ndarray, features: np.ndarray, logits: np.ndarray) -> None:
        """The pixels first: a chunk is there when its answers are."""
        for kind, array in (
            ("pixels", pixels),
            ("features", features.astype(np.float16)),
            ("logits", logits.astype(np.float16)),
        ):
            with replacing(self._file(kind, chunk)) as beside, beside.open("wb") as file:
                np.save(file, array)

    def _is_there(self, chunk: int) -> bool:
        return self._file("logits", chunk).is_file()

    def _check_space(self, missing: int) -> None:
        needed = missing * CHUNK * (3 * self._plan.image_size**2 + 4600) + SPARE_BYTES
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise UserError(
                f"{self.folder} has {free / 1e9:.1f} GB of free space; {missing * CHUNK:,} crops need about "
                f"{needed / 1e9:.1f} GB. Free some, name a folder on another disk with --run, or take fewer "
                "crops with --set crops=NUMBER."
            )

    def open(self) -> None:
        """Maps what was stored into memory, without reading it."""
        for chunk in range(len(self._chunks())):
            self._pixels.append(np.load(self._file("pixels", chunk), mmap_mode="r"))
            self._answers.append(
                (np.load(self._file("features", chunk)), np.load(self._file("logits", chunk)))
            )

    @property
    def features(self) -> int:
        """Numbers per crop in `take`'s features."""
        return self._answers[0][0].shape[1]

    @property
    def classes(self) -> int:
        """Logits per crop."""
        return self._answers[0][1].shape[1]

    def all_features(self) -> np.ndarray:
        """Of every crop, float16 (crops, features); no pixels are read."""
        return np.concatenate([features for features, _ in self._answers])

    def photos(self) -> np.ndarray:
        """The number of each crop's photo: (crops,)."""
        return self._order

    def take(self, crops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Some crops: uint8 (n, size, size, 3); float16 features (n, features) and logits (n, classes)."""
        places = [divmod(int(crop), CHUNK) for crop in crops]
        return (
            np.stack([self._pixels[chunk][row] for chunk, row in places]),
            np.stack([self._answers[chunk][0][row] for chunk, row in places]),
            np.stack([self._answers[chunk][1][row] for chunk, row in places]),
        )


class CropBatches(keras.utils.PyDataset):
    """Batches of stored crops: each once per epoch, in an order of the epoch's own, flipped and jittered.

    Args:
        store: opened.
        crops: the numbers of those that are drawn.
        targets: from features and logits to what the network is to answer.
        batch_size: crops per batch; a smaller last batch is left out.
        image_size: side of the images, pixels.
        steps: per epoch; 0 for all crops.
        seed: and epoch: all that order and jitter depend on; None for neither.
        flip: chance that a crop is mirrored.
        color: strength of the jitter of brightness, contrast and tint, 0 for none.
        degrade: chance of each of: grey, unsharp.
    """

    def __init__(
        self,
        store: CropStore,
        crops: np.ndarray,
        targets: "Targets",
        batch_size: int,
        image_size: int,
        steps: int = 0,
        seed: tuple[int, int] | None = None,
        flip: float = 0.5,
        color: float = 0.2,
        degrade: float = 0,
    ) -> None:
        super().__init__(workers=1)
        self._store, self._targets, self._batch, self._size = store, targets, batch_size, image_size
        self._seed, self._flip, self._color, self._degrade = seed, flip, color, degrade
        steps = steps or max(len(crops) // batch_size, 1)
        if seed is not None:
            random = np.random.default_rng(seed)
            rounds = -(-steps * batch_size // len(crops))
            crops = np.concatenate([random.permutation(crops) for _ in range(rounds)])
        self._crops, self._steps = crops, steps

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Images float32 (batch, size, size, 3), RGB 0..255, and the targets."""
        crops = self._crops[index * self._batch : (index + 1) * self._batch]
        pixels, features, logits = self._store.take(crops)
        images = np.stack([at_size(image, self._size) for image in pixels]).astype(np.float32)
        if self._seed is not None:
            random = np.random.default_rng((*self._seed, index))
            flipped = random.random(len(images)) < self._flip
            images[flipped] = images[flipped, :, ::-1]
            images = _jittered(images, random, self._color)
            if self._degrade:
                images = _degraded(images, random, self._degrade)
        return images, self._targets.of(features, logits, crops)


def at_size(image: np.ndarray, size: int) -> np.ndarray:
    """A stored crop at another size: uint8 (size, size, 3)."""
    side = image.shape[0]
    return image if side == size else resize(image, size, size, (0, 0, side, side))


def _jittered(images: np.ndarray, random: np.random.Generator, color: float) -> np.ndarray:
    """Brightness and contrast of each image, and tint, changed a little; float32 (n, size, size, 3)."""
    count = len(images)

    def factors(strength: float, channels: int = 1) -> np.ndarray:
        return random.uniform(1 - strength, 1 + strength, (count, 1, 1, channels)).astype(np.float32)

    gain, tint, contrast = factors(color), factors(color / 4, 3), factors(min(color, 0.9))
    images *= gain * tint * contrast
    images += images.mean((1, 2, 3), keepdims=True) * (1 / contrast - 1)
    return np.clip(images, 0, 255, out=images)


def _degraded(images: np.ndarray, random: np.random.Generator, share: float) -> np.ndarray:
    """Some images grey, some unsharp as if enlarged from a smaller one; float32 (n, size, size, 3)."""
    grey, unsharp = (np.flatnonzero(random.random(len(images)) < share) for _ in range(2))
    images[grey] = (images[grey] @ GREY)[..., None]
    size = images.shape[1]
    for number in unsharp:
        side = round(size * random.uniform(*UNSHARP_SIDES))
        small = resize(images[number].astype(np.uint8), side, side, (0, 0, size, size))
        images[number] = resize(small, size, size, (0, 0, side, side))
    return images


@dataclass(frozen=True)
class Targets:
    """What the network is to answer: the teacher's probabilities, and its features made comparable.

    Attributes:
        mean: of each feature, (features,).
        deviation: of each feature, (features,).
        answers: in place of the teacher's probabilities those of each crop, (crops, classes).
    """

    mean: np.ndarray
    deviation: np.ndarray
    answers: np.ndarray | None = None

    @classmethod
    def fitted(cls, features: np.ndarray) -> "Targets":
        """Mean and deviation of some crops' features, (crops, features)."""
        features = features.astype(np.float32)
        return cls(features.mean(0), features.std(0) + 1e-3)

    def of(self, features: np.ndarray, logits: np.ndarray, crops: np.ndarray) -> np.ndarray:
        """Probabilities and normalized features side by side: float32 (n, classes + features).

        Args:
            features: of the crops, (n, features).
            logits: of the crops, (n, classes).
            crops: their numbers, (n,).
        """
        normal = (features.astype(np.float32) - self.mean) / self.deviation
        if self.answers is not None:
            return np.concatenate([self.answers[crops], normal], axis=1)
        if not logits.shape[1]:
            return normal
        return np.concatenate([softmax(logits.astype(np.float32)), normal], axis=1)
