"""A .tflite file as Python objects and back, by the schema that comes with LiteRT."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

IDENTIFIER = b"TFL3"


def unpack(content: bytes) -> schema.ModelT:
    """Reads a .tflite file; what stands behind it is not looked at.

    Weights that a converter put behind the structure come back into it: older runtimes want them there.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1 and buffer.size:
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def pack(model: schema.ModelT) -> bytes:
    """The content of its file."""
    builder = flatbuffers.Builder(
        sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    )
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def builtin(code: schema.OperatorCodeT) -> int:
    """Which `schema.BuiltinOperator` it is; older files have it in another field."""
    return max(code.builtinCode, code.deprecatedBuiltinCode)


def kind_of(model: schema.ModelT, operator: schema.OperatorT) -> int:
    """The operator's `schema.BuiltinOperator`."""
    return builtin(model.operatorCodes[operator.opcodeIndex])
