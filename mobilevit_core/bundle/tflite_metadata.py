"""What a .tflite file says about itself, so that one file is enough for other runtimes.

TFLite Metadata (names, normalization, labels; MediaPipe Tasks and Android's tools read them) inside the
file, and behind it a zip with `labels.txt` and `manifest.json`: `unzip -p FILE manifest.json`.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from pydantic import BaseModel, ConfigDict, Field, model_validator

from mobilevit_core.bundle import metadata_schema
from mobilevit_core.bundle.files import EMBEDDED_MANIFEST, LABELS
from mobilevit_core.bundle.golden import Golden
from mobilevit_core.bundle.manifest import MANIFEST_VERSION, VERSION, Manifest
from mobilevit_core.bundle.manifest_fields import ClassNames, InputRule, Label
from mobilevit_core.bundle.metadata_schema import (
    AssociatedFile,
    Content,
    FeatureProperties,
    ImageProperties,
    ImageSize,
    ModelMetadata,
    NormalizationOptions,
    ProcessUnit,
    Stats,
    SubGraphMetadata,
    TensorMetadata,
)
from mobilevit_core.bundle.tflite_file import pack, unpack
from mobilevit_core.bundle.weight_formats import tflite_formats
from mobilevit_core.errors import UserError
from mobilevit_core.files import parse_json

INPUT, OUTPUT = "image", "probabilities"
METADATA = b"TFLITE_METADATA"
MIN_PARSER_VERSION = "1.0.0"
MOST_EMBEDDED_BYTES = 16 * 2**20  # of a file's own manifest; one of 100,000 classes stays under it


def describe(content: bytes, class_names: Sequence[str], image_size: int) -> bytes:
    """Names the tensors and adds TFLite Metadata.

    Args:
        content: a .tflite file with one input and one output.
        class_names: in the order of the output.
        image_size: side of the input in pixels.

    Returns:
        The file with input `image`, output `probabilities` and metadata.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = INPUT
    graph.tensors[graph.outputs[0]].name = OUTPUT
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = list(metadata(f"Tells apart: {', '.join(class_names)}.", image_size))
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [entry for entry in model.metadata or [] if entry.name != METADATA] + [entry]
    return pack(model)


def metadata(description: str, image_size: int) -> bytes:
    """TFLite Metadata of a network of this program; the names of its classes are in `labels.txt`.

    Args:
        description: of the network, for people.
        image_size: side of the input in pixels.
    """
    graph = SubGraphMetadata(
        input_tensor_metadata=[_image(image_size)], output_tensor_metadata=[_probabilities()]
    )
    root = ModelMetadata(
        name="MobileViT",
        description=description,
        subgraph_metadata=[graph],
        min_parser_version=MIN_PARSER_VERSION,
    )
    return metadata_schema.pack(root)


def _image(size: int) -> TensorMetadata:
    image_size = ImageSize(np.uint32(size), np.uint32(size))
    # Mean 0 and deviation 1: the network takes 0..255 as they are.
    normalization = NormalizationOptions(mean=[0.0], std=[1.0])
    return TensorMetadata(
        name=INPUT,
        description=f"RGB photo, {size} x {size} pixels, 0 to 255.",
        content=Content(metadata_schema.IMAGE_PROPERTIES, ImageProperties(metadata_schema.RGB, image_size)),
        process_units=[ProcessUnit(metadata_schema.NORMALIZATION_OPTIONS, normalization)],
        stats=Stats(max=[255.0], min=[0.0]),
    )


def _probabilities() -> TensorMetadata:
    labels = AssociatedFile(
        LABELS,
        "Class names, one per line, in the order of the probabilities.",
        metadata_schema.TENSOR_AXIS_LABELS,
    )
    # The rejection threshold is not among the process units: MediaPipe drops every row under such a
    # threshold, and with it what the image looks most like. The README's snippet applies it in one line.
    return TensorMetadata(
        name=OUTPUT,
        description="Probability of each class; they add up to 1.",
        content=Content(metadata_schema.FEATURE_PROPERTIES, FeatureProperties()),
        stats=Stats(max=[1.0], min=[0.0]),
        associated_files=[labels],
    )


def embedded_manifest(manifest: Manifest, name: str) -> dict[str, Any]:
    """What one .tflite file needs to be used alone; nothing that a later measurement changes.

    Args:
        manifest: of the bundle; what was measured is left out.
        name: of the file's weight format.
    """
    whole = manifest.to_json()
    keys = ("class_names", "input", "rejection", "architecture", "variant", "versions")
    # Without its notes, which may name the files of whoever trained it.
    data = {key: item for key, item in whole["data"].items() if key != "notes"}
    has_golden = manifest.golden is not None and name in manifest.golden.scores
    return {
        VERSION: MANIFEST_VERSION,
        "format": name,
        **{key: whole[key] for key in keys},
        "data": data,
        **({"golden": manifest.golden.only(name).to_json()} if has_golden else {}),
    }


def attached(file: bytes, manifest: Manifest, name: str) -> bytes:
    """A .tflite file's content with labels and a manifest behind it, in the place of older ones.

    Args:
        file: the content.
        manifest: of the bundle.
        name: of the file's weight format.
    """
    content = io.BytesIO()
    content.write(without_zip(file))
    text = json.dumps(embedded_manifest(manifest, name), indent=1, ensure_ascii=False)
    with zipfile.ZipFile(content, "a") as archive:
        for member, lines in ((LABELS, "\n".join(manifest.class_names)), (EMBEDDED_MANIFEST, text)):
            # A fixed date, so that the same weights make the same file; stored, as MediaPipe reads them.
            archive.writestr(zipfile.ZipInfo(member), lines.encode(errors="backslashreplace"))
    return content.getvalue()


class Embedded(BaseModel):
    """What is read back of a .tflite file's own manifest.

    Attributes:
        format: weight format of the file.
        class_names: in the order of the probabilities.
        rule: how a photo becomes the input; `input` in the file.
        golden: drawn inputs with this file's answers, None in older files.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    format: Label
    class_names: ClassNames
    rule: InputRule = Field(alias="input")
    golden: Golden | None = None

    @model_validator(mode="after")
    def _golden_is_of_this_file(self) -> "Embedded":
        if self.format not in tflite_formats():
            raise ValueError(f"format is {self.format!r}, which this program does not know")
        if self.golden and (
            self.golden.classes() - set(self.class_names) or self.format not in self.golden.scores
        ):
            raise ValueError("golden is not of this file")
        return self


def read_embedded(path: Path) -> Embedded:
    """Reads the manifest behind a .tflite file.

    Raises:
        UserError: the file has none, or a damaged one.
    """
    try:
        with zipfile.ZipFile(path) as archive, archive.open(EMBEDDED_MANIFEST) as member:
            content = member.read(MOST_EMBEDDED_BYTES + 1)
        if len(content) > MOST_EMBEDDED_BYTES:
            raise ValueError("too large")
        return Embedded.model_validate(parse_json(content))
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, KeyError):
        raise UserError(f"{path} is not a .tflite file of this program: it holds no manifest.") from None
    except Exception:  # of zipfile, JSON and the schema: whatever a damaged or hostile file gives
        raise UserError(f"{path} is damaged: the manifest in it can't be read. Copy it again.") from None


def without_zip(content: bytes) -> bytes:
    """The network alone: a .tflite file's content without what `attached` put behind it."""
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return content[: min(member.header_offset for member in archive.infolist())]
