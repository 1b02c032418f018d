"""What a network makes of photographs before its classifier: features, computed once and kept."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.files import write_bytes
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.inference.runtimes import load_keras
from mobilevit_core.models.create import create_mobilevit
from mobilevit_core.models.released_weights import HEAD, is_released, open_weights
from mobilevit_core.training.transfer import ReleasedStart, StartingWeights, packaged

BATCH = 32  # photographs in memory at once

Progress = Callable[[int, int], None]
Read = Callable[[PhotoSource, ResizeRule, str | None], np.ndarray]


@dataclass(frozen=True)
class Example:
    """One labelled photograph, wherever it is."""

    source: PhotoSource
    label: int
    digest: str
    name: str


@dataclass(frozen=True)
class Network:
    """What looks at the photographs: a network up to its classifier.

    Attributes:
        model: from image to probabilities; its classifier is not used.
        rule: how a photograph becomes its input.
        architecture: "paper" or "keras_example".
        variant: "xxs", "xs" or "s".
        origin: where its weights come from, as the manifest records it.
        provenance: the photographs that went into its weights, where known.
        read: how a photograph is read by the rule; a server reads those of strangers in another way.
    """

    model: keras.Model
    rule: ResizeRule
    architecture: str
    variant: str
    origin: dict[str, Any]
    provenance: tuple[Provenance, ...] = ()
    read: Read = preprocess

    @cached_property  # compiled once, by the first photographs
    def features(self) -> keras.Model:
        """From image to what the classifier gets: float32 (batch, features)."""
        return keras.Model(self.model.input, self.model.get_layer(HEAD).input)

    @cached_property
    def digest(self) -> str:
        """Of weights and resize rule: what decides a photograph's features."""
        text = json.dumps([self.origin["weights_sha256"], self.rule.to_json()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def open_network(weights: Bundle | str | os.PathLike[str], variant: str = "xxs") -> Network:
    """Opens the weights that the features come from.

    Args:
        weights: a bundle or its folder, "general", or released weights: "imagenet", "hf://OWNER/NAME" or a
            safetensors file.
        variant: what "imagenet" means.

    Raises:
        UserError: there are no such weights.
    """
    if not isinstance(weights, Bundle):
        weights = packaged(os.fspath(weights))
    if isinstance(weights, str) and is_released(weights):
        released = open_weights(weights, variant)
        model = create_mobilevit(released.variant, None, released.rule.image_size, weights=weights)
        origin = ReleasedStart(released).describe()
        return Network(model, released.rule, "paper", released.variant, origin)
    bundle = weights if isinstance(weights, Bundle) else open_bundle(weights)
    start, manifest = StartingWeights(bundle), bundle.manifest
    model = load_keras(bundle.weights("keras"))
    return Network(
        model,
        manifest.rule,
        manifest.architecture,
        manifest.variant,
        start.describe(),
        tuple(start.provenance),
    )


class FeatureCache:
    """Features of photographs by network, resize rule and photograph, so that each is looked at once.

    Args:
        folder: where they are kept for the next process; made if it is missing. None for memory alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, dict[str, np.ndarray]] = {}

    def features(
        self, network: Network, examples: Sequence[Example], progress: Progress | None = None
    ) -> np.ndarray:
        """Features of the photographs, computed where they are not known: float32 (photos, features).

        Args:
            network: what looks at them.
            examples: the photographs.
            progress: called with how many of how many are done.

        Raises:
            UserError: a photograph can't be read; the message names it.
        """
        known = self._known.setdefault(network.digest, self._load(network.digest))
        missing = list({e.digest: e for e in examples if e.digest not in known}.values())
        done = len(examples) - len(missing)
        for batch, values in _compute(network, missing):
            known |= {example.digest: row for example, row in zip(batch, values, strict=True)}
            done += len(batch)
            if progress:
                progress(done, len(examples))
        if missing and self._folder:
            self._save(network.digest, known)
        return np.stack([known[example.digest] for example in examples])

    def _path(self, digest: str) -> Path:
        return self._folder / f"features_{digest[:32]}.npz"

    def _load(self, digest: str) -> dict[str, np.ndarray]:
        if not self._folder or not self._path(digest).is_file():
            return {}
        try:
            content = io.BytesIO(self._path(digest).read_bytes())  # NumPy leaves a damaged file open
            with np.load(content, allow_pickle=False) as stored:
                return dict(zip(stored["digests"].tolist(), stored["features"], strict=True))
        except Exception:  # a damaged cache is computed anew; NumPy meets it with many kinds of errors
            return {}

    def _save(self, digest: str, known: Mapping[str, np.ndarray]) -> None:
        content = io.BytesIO()
        np.savez(content, digests=np.array(list(known)), features=np.stack(list(known.values())))
        self._folder.mkdir(parents=True, exist_ok=True)
        write_bytes(self._path(digest), content.getvalue())


def _compute(network: Network, examples: Sequence[Example]) -> Iterator[tuple[Sequence[Example], np.ndarray]]:
    """Batch after batch of photographs with their features."""
    if not examples:
        return
    model, size = network.features, network.rule.image_size
    remaining = iter(examples)
    with ThreadPoolExecutor() as pool:
        while batch := list(islice(remaining, BATCH)):
            images = list(pool.map(lambda e: network.read(e.source, network.rule, e.name), batch))
            # Always a full batch: another size would be compiled anew.
            padded = np.zeros((BATCH, size, size, 3), np.float32)
            padded[: len(images)] = np.stack(images)
            yield batch, model.predict_on_batch(padded)[: len(batch)]
