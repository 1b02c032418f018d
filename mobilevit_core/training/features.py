"""A converted network without its classifier, and the features that it makes of photos: in LiteRT alone.

What a trunk is, and how a head is grafted onto it, is in `conversion/graft.py`.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from mobilevit_core.bundle.bundle import Bundle, open_bundle
from mobilevit_core.bundle.weight_formats import tflite_formats
from mobilevit_core.conversion.graft import cut
from mobilevit_core.conversion.packing import CALIBRATION_PHOTOS
from mobilevit_core.data.provenance import Provenance
from mobilevit_core.files import cache_folder
from mobilevit_core.images.preprocessing import ResizeRule, preprocess
from mobilevit_core.images.reading import PhotoSource
from mobilevit_core.inference.runtimes import LiteRTRuntime
from mobilevit_core.messages import say
from mobilevit_core.models.released_weights import ReleasedWeights, is_released, open_weights
from mobilevit_core.training.transfer import ReleasedStart, StartingWeights, packaged


@dataclass(frozen=True)
class Trunk:
    """A network up to its classifier, in every weight format.

    Attributes:
        files: weight format -> content of its .tflite file, from image to features.
        keras: model.keras of the whole network.
        rule: how a photo becomes its input.
        architecture: a key of `models.create.ARCHITECTURES`.
        variant: "xxs", "xs" or "s".
        origin: where its weights come from, as the manifest records it.
        versions: of the libraries that converted it.
        provenance: the photos that went into its weights, where known.
    """

    files: Mapping[str, bytes] = field(repr=False)
    keras: bytes = field(repr=False)
    rule: ResizeRule
    architecture: str
    variant: str
    origin: dict[str, Any]
    versions: Mapping[str, str]
    provenance: tuple[Provenance, ...] = ()

    def features(self, image: np.ndarray) -> np.ndarray:
        """What the classifier gets, of the float32 trunk.

        Args:
            image: (size, size, 3), RGB 0..255.

        Returns:
            float32 (features,).
        """
        return self._runtime.probabilities(np.asarray(image, np.float32))

    @cached_property
    def _runtime(self) -> LiteRTRuntime:
        return LiteRTRuntime.load(self.files["float32"], threads=1)  # others read photos meanwhile


def open_trunk(
    weights: Bundle | str | os.PathLike[str], variant: str = "xxs", photos: Sequence[PhotoSource] = ()
) -> Trunk:
    """Opens the weights that the features come from.

    Where they are in Keras's form alone, they are converted once, which needs TensorFlow, and kept in the
    user's cache.

    Args:
        weights: a bundle or its folder, "general", or released weights: "imagenet", "hf://OWNER/NAME" or a
            safetensors file.
        variant: what "imagenet" means.
        photos: what int8 finds its scales on, where they are converted now.

    Raises:
        UserError: there are no such weights.
    """
    if not isinstance(weights, Bundle):
        weights = packaged(os.fspath(weights))
    if isinstance(weights, str) and is_released(weights):
        released = open_weights(weights, variant)
        origin, provenance = ReleasedStart(released).describe(), []
        bundle = _converted_once(released, origin, released.rule, photos)
    else:
        bundle = weights if isinstance(weights, Bundle) else open_bundle(weights)
        start = StartingWeights(bundle)
        origin, provenance = start.describe(), start.provenance
        if not bundle.manifest.trunk and "float32" not in bundle.present:
            bundle = _converted_once(bundle, origin, bundle.manifest.rule, photos)
    manifest = bundle.manifest
    if manifest.trunk:
        files = {name: bundle.trunk(name) for name in manifest.trunk}
    else:
        present = [name for name in tflite_formats() if name in bundle.present]
        files = {name: cut(bundle.weights(name).read_bytes()) for name in present}
    return Trunk(
        files,
        bundle.weights("keras").read_bytes(),
        manifest.rule,
        manifest.architecture,
        manifest.variant,
        origin,
        manifest.versions,
        tuple(provenance),
    )


def _converted_once(
    weights: Bundle | ReleasedWeights,
    origin: Mapping[str, Any],
    rule: ResizeRule,
    photos: Sequence[PhotoSource],
) -> Bundle:
    """The bundle that weights of Keras's form alone become, from the cache if it is there.

    The scales inside an int8 trunk are those of the first photos that it was made with.
    """
    key = json.dumps([origin["weights_sha256"], rule.to_json(), bool(photos)], sort_keys=True)
    folder = cache_folder() / "trunks" / hashlib.sha256(key.encode()).hexdigest()[:32]
    if not folder.is_dir():
        say(f"These weights are converted once, which takes about a minute, and kept in {folder} ...")
        from mobilevit_core.conversion.export import Images, export_released, export_trunk

        folder.parent.mkdir(parents=True, exist_ok=True)
        images = [preprocess(photo, rule) for photo in photos[:CALIBRATION_PHOTOS]]
        given = Images(np.stack(images), np.stack(images)) if images else None
        if isinstance(weights, Bundle):
            export_trunk(weights, folder, given)
        else:
            export_released(weights, folder, given)
    return open_bundle(folder)
