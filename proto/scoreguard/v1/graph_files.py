"""Check from a file's outermost layer whether it can be a graph, without any library that runs graphs.

An engine reads a graph on first use, which may be long after the start. This check finds a file of a completely
different kind earlier.
"""

from __future__ import annotations

from collections.abc import Iterator
from mmap import mmap
from typing import Final

Data = bytes | mmap
"""The content of a file, read or mapped."""

_VARINT, _FIXED_64, _BYTES, _FIXED_32 = 0, 1, 2, 5
_IR_VERSION: Final = (1, _VARINT)
_GRAPH: Final = (7, _BYTES)
_OPSET: Final = (8, _BYTES)
"""Fields of ONNX's ModelProto, with their wire types: every model has these three."""
_ZIP: Final = b"PK\x03\x04"
_SAVED: Final = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"
"""The number that a file of torch.save began with before version 1.6, pickled."""


def can_be_onnx(data: Data) -> bool:
    """Whether bytes are a protobuf message with the fields that every ONNX model has."""
    try:
        return {_IR_VERSION, _GRAPH, _OPSET} <= set(_fields(data))
    except (ValueError, IndexError):
        return False


def can_be_torchscript(data: Data) -> bool:
    """Whether bytes begin like a zip file, the container of TorchScript, and not one of a pickled module."""
    return data[: len(_ZIP)] == _ZIP and not is_pickled(data)


def is_pickled(data: Data) -> bool:
    """Whether torch.save wrote a file: a module or tensors, in the form of today or in that before version 1.6."""
    if data[: len(_ZIP)] == _ZIP:
        # The directory of the zip file is at its end: TorchScript is told by its constants there without a search.
        return data.rfind(b"/constants.pkl") < 0 <= data.rfind(b"/data.pkl")
    return data[: len(_SAVED)] == _SAVED


def _fields(data: Data) -> Iterator[tuple[int, int]]:
    """Yield number and wire type of each field of a message, which must end where the data end."""
    offset = 0
    while offset < len(data):
        tag, offset = _varint(data, offset)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, offset = _varint(data, offset)
        elif kind == _BYTES:
            length, offset = _varint(data, offset)
            offset += length
        elif kind in (_FIXED_64, _FIXED_32):
            offset += 8 if kind == _FIXED_64 else 4
        else:
            raise ValueError("no kind of field")
        yield number, kind
    if offset != len(data):
        raise ValueError("the last field is cut off")


def _varint(data: Data, offset: int) -> tuple[int, int]:
    """Return a number encoded in seven bits per byte, and the position after it."""
    value = 0
    for count in range(10):
        byte = data[offset + count]
        value |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return value, offset + count + 1
    raise ValueError("no number")
