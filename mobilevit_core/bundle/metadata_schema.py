"""TFLite Metadata as plain classes: the tables of its schema that are used here, and their packing.

The fields of a class are the fields of the table in the schema's order, because a field's place is its number
in the file. Fields after the last one that is used are left out, which FlatBuffers allows.
Schema: https://github.com/google-ai-edge/mediapipe, mediapipe/tasks/metadata/metadata_schema.fbs
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import flatbuffers
import numpy as np

IDENTIFIER = b"M001"
RGB = np.int8(1)  # ColorSpaceType
TENSOR_AXIS_LABELS = np.int8(2)  # AssociatedFileType
NORMALIZATION_OPTIONS = np.uint8(1)  # of the union ProcessUnitOptions
FEATURE_PROPERTIES, IMAGE_PROPERTIES = np.uint8(1), np.uint8(2)  # of the union ContentProperties


class Table:
    """A table of the schema; a field that is None is not written."""


@dataclass
class AssociatedFile(Table):
    """A file in the zip behind the network."""

    name: str
    description: str
    type: np.int8


@dataclass
class FeatureProperties(Table):
    """The content is a vector of numbers."""


@dataclass
class ImageSize(Table):
    """Sides in pixels."""

    width: np.uint32
    height: np.uint32


@dataclass
class ImageProperties(Table):
    """The content is an image."""

    color_space: np.int8
    default_size: ImageSize


@dataclass
class Content(Table):
    """What a tensor holds."""

    content_properties_type: np.uint8
    content_properties: FeatureProperties | ImageProperties


@dataclass
class NormalizationOptions(Table):
    """What is subtracted from each value, and what it is divided by then."""

    mean: Sequence[float]
    std: Sequence[float]


@dataclass
class ProcessUnit(Table):
    """One step between the image and the tensor."""

    options_type: np.uint8
    options: NormalizationOptions


@dataclass
class Stats(Table):
    """Largest and smallest value of a tensor."""

    max: Sequence[float]
    min: Sequence[float]


@dataclass
class TensorMetadata(Table):
    """About one input or output."""

    name: str | None = None
    description: str | None = None
    dimension_names: None = None
    content: Content | None = None
    process_units: Sequence[ProcessUnit] | None = None
    stats: Stats | None = None
    associated_files: Sequence[AssociatedFile] | None = None


@dataclass
class SubGraphMetadata(Table):
    """About one graph."""

    name: str | None = None
    description: str | None = None
    input_tensor_metadata: Sequence[TensorMetadata] | None = None
    output_tensor_metadata: Sequence[TensorMetadata] | None = None


@dataclass
class ModelMetadata(Table):
    """About the whole file; the root."""

    name: str | None = None
    description: str | None = None
    version: str | None = None
    subgraph_metadata: Sequence[SubGraphMetadata] | None = None
    author: str | None = None
    license: str | None = None
    associated_files: None = None
    min_parser_version: str | None = None


def pack(root: ModelMetadata) -> bytes:
    """The FlatBuffer of metadata."""
    builder = flatbuffers.Builder(1024)
    builder.Finish(_offset(builder, root), IDENTIFIER)
    return bytes(builder.Output())


def _offset(builder: flatbuffers.Builder, value: Any) -> int:
    """Writes a string, a table, or a vector of float32 or of tables; where it is."""
    if isinstance(value, str):
        return builder.CreateString(value)
    if isinstance(value, Table):
        return _table(builder, value)
    if isinstance(value[0], float):
        return builder.CreateNumpyVector(np.array(value, np.float32))
    offsets = [_offset(builder, item) for item in value]
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _table(builder: flatbuffers.Builder, table: Table) -> int:
    values = [getattr(table, field.name) for field in fields(table)]
    # What a table refers to has to be written before the table itself.
    inline = (np.generic, type(None))
    values = [value if isinstance(value, inline) else _offset(builder, value) for value in values]
    builder.StartObject(len(values))
    for place, value in enumerate(values):
        match value:
            case np.int8():
                builder.PrependInt8Slot(place, int(value), 0)
            case np.uint8():
                builder.PrependUint8Slot(place, int(value), 0)
            case np.uint32():
                builder.PrependUint32Slot(place, int(value), 0)
            case int():
                builder.PrependUOffsetTRelativeSlot(place, value, 0)
    return builder.EndObject()
