"""The parts of protobuf's wire form that are read and written by hand here, to avoid copies of image bytes.

Serialising a message with a large image takes nine times as long as copying its bytes, and each read of a bytes field
copies it. So image bytes are located in the message that arrived, and the message is forwarded unchanged inside another
one: on the wire, a nested message is a tag, a length, and its bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar, cast

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError, Message

from scoreguard.v1.limits import LIMITS

Buffer = bytes | bytearray | memoryview
M = TypeVar("M", bound=Message)
VARINT, FIXED64, BYTES, GROUP, GROUP_END, FIXED32 = range(6)
SIZES: Final = {FIXED64: 8, FIXED32: 4, GROUP: 0, GROUP_END: 0}
"""Length in bytes of what follows a tag, for wire types of fixed size."""
_IMAGE_BYTES: Final = {
    "scoreguard.v1.Image.encoded",
    "scoreguard.v1.Tensor.data",
    "scoreguard.v1.ScoreClipRequest.video",
}
_LAST_BYTE: Final = 0x80
_LONGEST_VARINT: Final = 10
_WORTH_CUTTING_BYTES: Final = LIMITS.request_bytes
"""Size below which copying a message is faster than examining its fields."""
_MOST_FIELDS: Final = 4096
"""Most fields of one message to examine one by one: no request has a hundred, a large batch has 1024."""
Plan = Mapping[int, Descriptor | None]


class _UnusualError(Exception):
    """A valid message that only protobuf itself reads correctly: it merges repeated occurrences and supports groups."""


@dataclass(frozen=True, slots=True)
class _Field:
    number: int
    wire_type: int
    start: int
    length_at: int
    """Position after the tag."""
    content: int
    end: int


def parse_without_image(data: Buffer, kind: type[M]) -> tuple[M, memoryview | None]:
    """Parse a message that holds one image, and return the image's bytes as a view of `data`.

    Returns:
        The message, and a view of `Image.encoded` or `Tensor.data`, which are then empty in the message; None if
        the message holds everything, because it is small, has no image, or has an unusual form.

    Raises:
        DecodeError: the bytes are not such a message.
    """
    if len(data) > _WORTH_CUTTING_BYTES:
        try:
            kept, image = _cut(memoryview(data), cast(Descriptor, kind.DESCRIPTOR))
            return kind.FromString(kept), image
        except _UnusualError:
            pass
        except IndexError:
            raise DecodeError(f"the bytes are not a {kind.DESCRIPTOR.name}") from None
    return kind.FromString(bytes(data)), None


def nested_messages(data: Buffer, kind: type[Message], number: int) -> list[memoryview] | None:
    """Return the bytes of every message in one field of another; None if only protobuf itself can find them.

    Raises:
        DecodeError: the bytes are not a `kind`.
    """
    view, rest, found = memoryview(data), bytearray(), list[memoryview]()
    try:
        for field in _fields(view):
            if field.number == number and field.wire_type == BYTES:
                found.append(view[field.content : field.end])
            else:
                rest += view[field.start : field.end]
    except _UnusualError:
        return None
    except IndexError:
        raise DecodeError(f"the bytes are not a {kind.DESCRIPTOR.name}") from None
    kind.FromString(bytes(rest))  # as strict as a full parse
    return found


def header(number: int, length: int) -> bytes:
    """Return what precedes the `length` bytes of a field: its tag and the length."""
    return varint(number << 3 | BYTES) + varint(length)


def varint(value: int) -> bytes:
    """Encode a non-negative number, seven bits per byte, lowest first."""
    written = bytearray()
    while value >= _LAST_BYTE:
        written.append(value & (_LAST_BYTE - 1) | _LAST_BYTE)
        value >>= 7
    written.append(value)
    return bytes(written)


def read_varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return a number and the position after it.

    Raises:
        IndexError: it does not end, or is too long.
    """
    if (value := data[position]) < _LAST_BYTE:  # nearly all are this short
        return value, position + 1
    value = 0
    for index in range(_LONGEST_VARINT):
        byte = data[position + index]
        value |= (byte & ~_LAST_BYTE) << (7 * index)
        if byte < _LAST_BYTE:
            return value, position + index + 1
    raise IndexError


@cache
def plan_of(descriptor: Descriptor) -> Plan:
    """Where the image bytes are: absent = not in this field, a descriptor = inside it, None = the field itself."""
    plan: dict[int, Descriptor | None] = {}
    for field in descriptor.fields:
        if field.full_name in _IMAGE_BYTES:
            plan[field.number] = None
        elif field.type == FieldDescriptor.TYPE_MESSAGE and plan_of(field.message_type):
            plan[field.number] = field.message_type
    return plan


def _cut(data: memoryview, descriptor: Descriptor) -> tuple[bytes, memoryview | None]:
    """Return the message with empty image bytes, and the image bytes."""
    plan, kept, image, seen = plan_of(descriptor), bytearray(), None, False
    for field in _fields(data):
        if field.wire_type != BYTES or field.number not in plan:
            kept += data[field.start : field.end]
            continue
        if seen:
            raise _UnusualError
        seen, content, inside = True, data[field.content : field.end], plan[field.number]
        left, image = (b"", content) if inside is None else _cut(content, inside)
        kept += data[field.start : field.length_at]
        kept += varint(len(left)) + left
    return bytes(kept), image


def _fields(data: memoryview) -> Iterator[_Field]:
    """Yield the fields of a message, in order.

    Raises:
        IndexError: the bytes are truncated or are not valid wire format.
        _UnusualError: there is a group, or there are too many fields to examine.
    """
    position = count = 0
    while position < len(data):
        start, count = position, count + 1
        tag, length_at = read_varint(data, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type in {GROUP, GROUP_END} or count > _MOST_FIELDS:
            raise _UnusualError
        if wire_type == BYTES:
            length, content = read_varint(data, length_at)
            position = content + length
        elif wire_type == VARINT:
            content, (_, position) = length_at, read_varint(data, length_at)
        elif wire_type in SIZES:
            content, position = length_at, length_at + SIZES[wire_type]
        else:
            raise IndexError
        if position > len(data):
            raise IndexError
        yield _Field(number, wire_type, start, length_at, content, position)
