"""What the .tflite files say about themselves, read back with other tools."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mobilevit_core.bundle.bundle import Bundle
from mobilevit_core.bundle.tflite_metadata import attached, describe, without_zip
from mobilevit_core.bundle.weight_formats import FORMATS, tflite_formats
from tests.drawing import read_manifest


def metadata_of(content: bytes) -> bytes:
    """The FlatBuffer that readers of TFLite Metadata look for."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    entry = next(entry for entry in model.metadata if entry.name == b"TFLITE_METADATA")
    return bytes(np.array(model.buffers[entry.buffer].data, np.uint8))


class Reader:
    """A table of a FlatBuffer, by the numbers of its fields as the schema's public text gives them."""

    def __init__(self, table: flatbuffers.table.Table) -> None:
        self._table = table

    @classmethod
    def root(cls, content: bytes) -> "Reader":
        start = flatbuffers.encode.Get(flatbuffers.packer.uoffset, content, 0)
        return cls(flatbuffers.table.Table(content, start))

    def _place(self, field: int) -> int:
        offset = self._table.Offset(4 + 2 * field)
        assert offset, f"field {field} is not there"
        return offset

    def has(self, field: int) -> bool:
        return bool(self._table.Offset(4 + 2 * field))

    def text(self, field: int) -> str:
        return self._table.String(self._place(field) + self._table.Pos).decode()

    def number(self, field: int, kind: Any) -> Any:
        return self._table.Get(kind, self._place(field) + self._table.Pos)

    def table(self, field: int) -> "Reader":
        place = self._table.Indirect(self._place(field) + self._table.Pos)
        return Reader(flatbuffers.table.Table(self._table.Bytes, place))

    def tables(self, field: int) -> list["Reader"]:
        start, count = self._table.Vector(self._place(field)), self._table.VectorLen(self._place(field))
        places = [self._table.Indirect(start + 4 * index) for index in range(count)]
        return [Reader(flatbuffers.table.Table(self._table.Bytes, place)) for place in places]

    def floats(self, field: int) -> list[float]:
        return self._table.GetVectorAsNumpy(
            flatbuffers.number_types.Float32Flags, self._place(field)
        ).tolist()


def check_metadata(content: bytes, class_names: tuple[str, ...], size: int) -> None:
    """metadata_schema.fbs: ModelMetadata 0 name, 1 description, 3 subgraph_metadata, 7 min_parser_version."""
    kinds = flatbuffers.number_types
    assert content[4:8] == b"M001"
    model = Reader.root(content)
    assert model.text(0) == "MobileViT" and model.text(7) == "1.0.0"
    assert model.text(1) == f"Tells apart: {', '.join(class_names)}."
    (graph,) = model.tables(3)
    (image,), (probabilities,) = graph.tables(2), graph.tables(3)  # input and output tensor_metadata
    # TensorMetadata: 0 name, 1 description, 3 content, 4 process_units, 5 stats, 6 associated_files
    assert image.text(0) == "image" and probabilities.text(0) == "probabilities"
    assert f"{size} x {size} pixels" in image.text(1)
    # Content: 0 type of the union (1 FeatureProperties, 2 ImageProperties), 1 the union
    assert image.table(3).number(0, kinds.Uint8Flags) == 2
    properties = image.table(3).table(1)  # ImageProperties: 0 color_space (1 RGB), 1 default_size
    assert properties.number(0, kinds.Int8Flags) == 1
    assert [properties.table(1).number(side, kinds.Uint32Flags) for side in (0, 1)] == [size, size]
    (unit,) = image.tables(4)  # ProcessUnit: 0 type (1 NormalizationOptions), 1 options
    assert unit.number(0, kinds.Uint8Flags) == 1
    assert (unit.table(1).floats(0), unit.table(1).floats(1)) == ([0.0], [1.0])  # mean, std
    assert (image.table(5).floats(0), image.table(5).floats(1)) == ([255.0], [0.0])  # Stats: max, min
    assert probabilities.table(3).number(0, kinds.Uint8Flags) == 1 and not probabilities.has(4)
    assert (probabilities.table(5).floats(0), probabilities.table(5).floats(1)) == ([1.0], [0.0])
    (labels,) = probabilities.tables(6)  # AssociatedFile: 0 name, 2 type (2 TENSOR_AXIS_LABELS)
    assert labels.text(0) == "labels.txt" and labels.number(2, kinds.Int8Flags) == 2


@pytest.mark.parametrize("name", tflite_formats())
def test_every_file_carries_metadata_labels_and_a_manifest(name: str, shipped: Bundle) -> None:
    path, manifest = shipped.weights(name), shipped.manifest
    if shutil.which("unzip"):
        done = subprocess.run(
            ["unzip", "-p", path, "labels.txt"], capture_output=True, text=True, check=False
        )
        assert tuple(done.stdout.split("\n")) == manifest.class_names
    check_metadata(metadata_of(path.read_bytes()), manifest.class_names, manifest.rule.image_size)
    whole, embedded = json.loads((shipped.folder / "bundle.json").read_text()), read_manifest(path)
    assert embedded.pop("format") == name
    assert embedded["data"].pop("digest") == whole["data"]["digest"] and "notes" not in embedded["data"]
    del embedded["data"]
    if manifest.golden:  # files made before there were golden inputs have none
        assert embedded.pop("golden") == manifest.golden.only(name).to_json()
    assert set(embedded) == {
        "manifest_version",
        "class_names",
        "input",
        "rejection",
        "architecture",
        "variant",
        "versions",
    }
    assert all(whole[key] == value for key, value in embedded.items())


def test_describing_again_writes_the_same_fields(shipped: Bundle) -> None:
    """What the metadata is written with today, not only what the shipped files were written with."""
    names = ("a", "b", "with, comma", "é", "向日葵")
    network = without_zip(shipped.weights("int8_weights").read_bytes())
    check_metadata(metadata_of(describe(network, names, 64)), names, 64)


def test_attaching_again_replaces_and_leaves_the_network(shipped: Bundle, tmp_path: Path) -> None:
    path = shutil.copy(shipped.weights("float32"), tmp_path / FORMATS["float32"].file)
    before = path.read_bytes()
    other = shipped.manifest.model_copy(update={"versions": {"keras": "of another day"}})
    path.write_bytes(attached(path.read_bytes(), other, "float32"))
    assert read_manifest(path)["versions"] == {"keras": "of another day"}
    assert without_zip(path.read_bytes()) == without_zip(before)
    path.write_bytes(attached(path.read_bytes(), shipped.manifest, "float32"))
    assert path.read_bytes() == before
