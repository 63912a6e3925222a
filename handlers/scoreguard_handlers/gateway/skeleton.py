"""The size of a message apart from its image bytes, read off the wire form before any object is made of it.

Of two bytes on the wire protobuf makes an object of a hundred, so a message of the largest size that holds empty items
would take gigabytes and seconds. Image bytes stay bytes; everything else is what this counts, and it stops counting
where the limit is passed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from scoreguard.v1.limits import LIMITS
from scoreguard_handlers.errors import InvalidRequestError

_IMAGE_BYTES: Final = {"scoreguard.v1.Image.encoded", "scoreguard.v1.Tensor.data"}
_VARINT, _FIXED64, _LENGTH, _GROUP, _GROUP_END, _FIXED32 = range(6)
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4, _GROUP: 0, _GROUP_END: 0}
_LAST_BYTE: Final = 0x80
_LONGEST_VARINT: Final = 10
Plan = Mapping[int, Descriptor | None]


def check_skeleton(data: bytes, descriptor: Descriptor) -> None:
    """Refuse a message that holds more than images and what belongs to them.

    Raises:
        InvalidRequestError: too much, with the limit; or the bytes are not a message at all.
    """
    limit = LIMITS.batch_bytes if _holds_requests(descriptor) else LIMITS.request_bytes
    if len(data) <= limit:
        return
    try:
        size = _count(memoryview(data), descriptor, limit)
    except IndexError:
        raise not_a_message(descriptor.name, len(data)) from None
    if size > limit:
        raise InvalidRequestError(
            f"the {descriptor.name} holds more than {limit} bytes apart from image bytes: that is the limit; of its "
            f"{len(data)} bytes, {size} were read; send fewer items, steps or parameters",
            metadata={"limit_bytes": str(limit), "size_bytes": str(len(data))},
        )


def not_a_message(name: str, size: int) -> InvalidRequestError:
    """The error of bytes that are not what the method reads."""
    return InvalidRequestError(f"the {size} bytes are not a {name}: build the client from this server's .proto files")


def _count(data: memoryview, descriptor: Descriptor, limit: int) -> int:
    """Bytes apart from images, `field_bytes` more for each field, or some number above the limit.

    Raises:
        IndexError: the bytes end in the middle of something, or hold what no message holds.
    """
    plan, position, total = _plan(descriptor), 0, 0
    while position < len(data) and total <= limit:
        start = position
        tag, position = _varint(data, position)
        wire_type = tag & 7
        total += LIMITS.field_bytes
        if wire_type == _LENGTH:
            length, position = _varint(data, position)
            content, position = position, position + length
            inner = plan.get(tag >> 3, descriptor)
            if inner is descriptor:  # nothing in it is looked at
                total += position - start
            elif inner is not None:
                total += content - start + _count(data[content:position], inner, limit - total)
        else:
            position = _varint(data, position)[1] if wire_type == _VARINT else position + _size(wire_type)
            total += position - start
        if position > len(data):
            raise IndexError
    return total


def _size(wire_type: int) -> int:
    if wire_type not in _SIZES:
        raise IndexError
    return _SIZES[wire_type]


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    if (value := data[position]) < _LAST_BYTE:  # nearly all are this short
        return value, position + 1
    value = 0
    for place in range(_LONGEST_VARINT):
        byte = data[position + place]
        value |= (byte & ~_LAST_BYTE) << (7 * place)
        if byte < _LAST_BYTE:
            return value, position + place + 1
    raise IndexError


@cache
def _plan(descriptor: Descriptor) -> Plan:
    """What to do with a field: absent = count it, a descriptor = look inside, None = image bytes."""
    plan: dict[int, Descriptor | None] = {}
    for field in descriptor.fields:
        if field.full_name in _IMAGE_BYTES:
            plan[field.number] = None
        elif field.type == FieldDescriptor.TYPE_MESSAGE and _plan(field.message_type):
            plan[field.number] = field.message_type
    return plan


def _holds_requests(descriptor: Descriptor) -> bool:
    plan = _plan(descriptor)
    return any(field.number in plan and field.is_repeated for field in descriptor.fields)
