"""What a .tflite file says about itself, so that one file is enough for other people's runtimes.

TFLite Metadata (names, normalization, labels; MediaPipe Tasks and Android's tools read them) inside the
file, and behind it a zip with `labels.txt` and the bundle's `bundle.json`: `unzip -p FILE bundle.json`.
"""

import io
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mobilevit_core.files import write_bytes

INPUT, OUTPUT = "image", "probabilities"
LABELS, CONTRACT = "labels.txt", "bundle.json"
METADATA, MODEL_IDENTIFIER, METADATA_IDENTIFIER = b"TFLITE_METADATA", b"TFL3", b"M001"
MIN_PARSER_VERSION = "1.0.0"


def describe(content: bytes, class_names: Sequence[str], image_size: int) -> bytes:
    """Names the tensors and adds TFLite Metadata.

    Args:
        content: a .tflite file with one input and one output.
        class_names: in the order of the output.
        image_size: side of the input in pixels.

    Returns:
        The file with input `image`, output `probabilities` and metadata.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    _bring_inside(model, content)
    graph = model.subgraphs[0]
    graph.tensors[graph.inputs[0]].name = INPUT
    graph.tensors[graph.outputs[0]].name = OUTPUT
    entry, buffer = schema.MetadataT(), schema.BufferT()
    buffer.data = list(_metadata(class_names, image_size))
    entry.name, entry.buffer = METADATA, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [entry for entry in model.metadata or [] if entry.name != METADATA] + [entry]
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), MODEL_IDENTIFIER)
    return bytes(builder.Output())


def _bring_inside(model: schema.ModelT, content: bytes) -> None:
    """Weights that a converter put behind the structure come back into it: older runtimes want them there."""
    for buffer in model.buffers:
        if buffer.offset > 1 and buffer.size:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0


def attach(path: Path, contract: dict[str, Any]) -> None:
    """Puts labels and contract behind a .tflite file, in the place of older ones.

    Args:
        path: the file, replaced at once when it is done.
        contract: content of `bundle.json`.
    """
    content = io.BytesIO(_without_zip(path.read_bytes()))
    text = json.dumps(contract, indent=1, ensure_ascii=False)
    with zipfile.ZipFile(content, "a") as archive:
        for name, member in ((LABELS, "\n".join(contract["class_names"])), (CONTRACT, text)):
            # A fixed date, so that the same weights make the same file; stored, as MediaPipe reads them.
            archive.writestr(zipfile.ZipInfo(name), member.encode(errors="backslashreplace"))
    write_bytes(path, content.getvalue())


def _without_zip(content: bytes) -> bytes:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return content[: min(member.header_offset for member in archive.infolist())]


# Kinds of the schema's unions and enumerations that are used.
NORMALIZATION_OPTIONS, FEATURE_PROPERTIES, IMAGE_PROPERTIES, RGB, AXIS_LABELS = 1, 1, 2, 1, 2


class _Writer(flatbuffers.Builder):
    """Writes the few shapes of tables that TFLite Metadata consists of; each method returns an offset."""

    def table(self, fields: int, **places: int) -> int:
        """A table of so many fields, all of them offsets: _3=offset is the field at place 3."""
        self.StartObject(fields)
        for place, offset in places.items():
            self.PrependUOffsetTRelativeSlot(int(place[1:]), offset, 0)
        return self.EndObject()

    def union(self, fields: int, kind: int, offset: int) -> int:
        """A table whose first two fields are the kind of a union and the union."""
        self.StartObject(fields)
        self.PrependUint8Slot(0, kind, 0)
        self.PrependUOffsetTRelativeSlot(1, offset, 0)
        return self.EndObject()

    def tables(self, *offsets: int) -> int:
        """A vector of tables."""
        self.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.PrependUOffsetTRelative(offset)
        return self.EndVector()

    def floats(self, *values: float) -> int:
        """A vector of float32."""
        self.StartVector(4, len(values), 4)
        for value in reversed(values):
            self.PrependFloat32(value)
        return self.EndVector()

    def stats(self, highest: float) -> int:
        """Stats of a tensor that begins at 0: its largest and its smallest value."""
        return self.table(2, _0=self.floats(highest), _1=self.floats(0.0))


def _metadata(class_names: Sequence[str], image_size: int) -> bytes:
    """The flatbuffer `ModelMetadata` of TFLite's metadata_schema.fbs; numbers are its fields' places.

    https://github.com/google-ai-edge/mediapipe, mediapipe/tasks/metadata/metadata_schema.fbs
    """
    writer = _Writer(1024)
    image, probabilities = _image(writer, image_size), _probabilities(writer)
    graph = writer.table(10, _2=writer.tables(image), _3=writer.tables(probabilities))
    model = writer.table(
        8,
        _0=writer.CreateString("MobileViT"),
        _1=writer.CreateString(f"Tells apart: {', '.join(class_names)}."),
        _3=writer.tables(graph),
        _7=writer.CreateString(MIN_PARSER_VERSION),
    )
    writer.Finish(model, METADATA_IDENTIFIER)
    return bytes(writer.Output())


def _image(writer: _Writer, size: int) -> int:
    """TensorMetadata of the input."""
    writer.StartObject(2)  # ImageSize
    for place in (0, 1):
        writer.PrependUint32Slot(place, size, 0)
    image_size = writer.EndObject()
    writer.StartObject(2)  # ImageProperties
    writer.PrependInt8Slot(0, RGB, 0)
    writer.PrependUOffsetTRelativeSlot(1, image_size, 0)
    properties = writer.EndObject()
    # Mean 0 and deviation 1: the network takes 0..255 as they are.
    normalization = writer.table(2, _0=writer.floats(0.0), _1=writer.floats(1.0))
    return writer.table(
        7,
        _0=writer.CreateString(INPUT),
        _1=writer.CreateString(f"RGB photograph, {size} x {size} pixels, 0 to 255."),
        _3=writer.union(3, IMAGE_PROPERTIES, properties),  # Content
        _4=writer.tables(writer.union(2, NORMALIZATION_OPTIONS, normalization)),  # ProcessUnit
        _5=writer.stats(255.0),
    )


def _probabilities(writer: _Writer) -> int:
    """TensorMetadata of the output, with the labels' file."""
    writer.StartObject(0)  # FeatureProperties
    feature = writer.EndObject()
    name = writer.CreateString(LABELS)
    what = writer.CreateString("Class names, one a line, in the order of the probabilities.")
    writer.StartObject(5)  # AssociatedFile
    writer.PrependUOffsetTRelativeSlot(0, name, 0)
    writer.PrependUOffsetTRelativeSlot(1, what, 0)
    writer.PrependInt8Slot(2, AXIS_LABELS, 0)
    labels = writer.EndObject()
    return writer.table(
        7,
        _0=writer.CreateString(OUTPUT),
        _1=writer.CreateString("Probability of each class; they add up to 1."),
        _3=writer.union(3, FEATURE_PROPERTIES, feature),  # Content
        _5=writer.stats(1.0),
        _6=writer.tables(labels),
    )
