"""What a .tflite file says about itself, so that one file is enough for other people's runtimes.

TFLite Metadata (names, normalization, labels; MediaPipe Tasks and Android's tools read them) inside the
file, and behind it a zip with `labels.txt` and the bundle's `bundle.json`: `unzip -p FILE bundle.json`.
"""

import io
import json
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

from mobilevit_core.errors import UserError
from mobilevit_core.files import write_bytes

INPUT, OUTPUT = "image", "probabilities"
LABELS, CONTRACT = "labels.txt", "bundle.json"
METADATA, MODEL_IDENTIFIER, METADATA_IDENTIFIER = b"TFLITE_METADATA", b"TFL3", b"M001"
MIN_PARSER_VERSION = "1.0.0"

Field = Callable[[flatbuffers.Builder], None]


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
    import numpy as np

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


def read_contract(path: Path) -> dict[str, Any]:
    """The contract that a .tflite file carries.

    Raises:
        UserError: it carries none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read(CONTRACT))
    except (KeyError, ValueError, zipfile.BadZipFile):
        raise UserError(f"{path} carries no {CONTRACT}; it was not exported by this project.") from None


def _without_zip(content: bytes) -> bytes:
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return content[: min(member.header_offset for member in archive.infolist())]


def _metadata(class_names: Sequence[str], image_size: int) -> bytes:
    """The flatbuffer `ModelMetadata` of TFLite's metadata_schema.fbs; numbers are its fields' places.

    https://github.com/google-ai-edge/mediapipe, mediapipe/tasks/metadata/metadata_schema.fbs
    """
    builder = flatbuffers.Builder(1024)

    def text(value: str) -> int:
        return builder.CreateString(value)

    def table(fields: int, **places: int) -> int:
        """Writes a table of offsets: _3=offset puts it into the field at place 3."""
        builder.StartObject(fields)
        for place, offset in places.items():
            builder.PrependUOffsetTRelativeSlot(int(place[1:]), offset, 0)
        return builder.EndObject()

    def union(fields: int, kind: int, offset: int) -> int:
        """A table whose first two fields are the kind of a union and the union."""
        builder.StartObject(fields)
        builder.PrependUint8Slot(0, kind, 0)
        builder.PrependUOffsetTRelativeSlot(1, offset, 0)
        return builder.EndObject()

    def tables(*offsets: int) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    def floats(*values: float) -> int:
        builder.StartVector(4, len(values), 4)
        for value in reversed(values):
            builder.PrependFloat32(value)
        return builder.EndVector()

    builder.StartObject(2)  # ImageSize
    builder.PrependUint32Slot(0, image_size, 0)
    builder.PrependUint32Slot(1, image_size, 0)
    size = builder.EndObject()
    builder.StartObject(2)  # ImageProperties
    builder.PrependInt8Slot(0, 1, 0)  # RGB
    builder.PrependUOffsetTRelativeSlot(1, size, 0)
    properties = builder.EndObject()
    normalization = table(2, _0=floats(0.0), _1=floats(1.0))  # the network takes 0..255 as they are
    image = table(
        7,
        _0=text(INPUT),
        _1=text(f"RGB photograph, {image_size} x {image_size} pixels, 0 to 255."),
        _3=union(3, 2, properties),  # Content, ImageProperties
        _4=tables(union(2, 1, normalization)),  # ProcessUnit, NormalizationOptions
        _5=table(2, _0=floats(255.0), _1=floats(0.0)),  # Stats: max, min
    )
    builder.StartObject(0)  # FeatureProperties
    feature = builder.EndObject()
    name, what = text(LABELS), text("Class names, one a line, in the order of the probabilities.")
    builder.StartObject(5)  # AssociatedFile
    builder.PrependUOffsetTRelativeSlot(0, name, 0)
    builder.PrependUOffsetTRelativeSlot(1, what, 0)
    builder.PrependInt8Slot(2, 2, 0)  # TENSOR_AXIS_LABELS
    labels = builder.EndObject()
    probabilities = table(
        7,
        _0=text(OUTPUT),
        _1=text("Probability of each class; they add up to 1."),
        _3=union(3, 1, feature),
        _5=table(2, _0=floats(1.0), _1=floats(0.0)),
        _6=tables(labels),
    )
    graph = table(10, _2=tables(image), _3=tables(probabilities))
    model = table(
        8,
        _0=text("MobileViT"),
        _1=text(f"Tells apart: {', '.join(class_names)}."),
        _3=tables(graph),
        _7=text(MIN_PARSER_VERSION),
    )
    builder.Finish(model, METADATA_IDENTIFIER)
    return bytes(builder.Output())
