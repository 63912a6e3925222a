"""The size of a message apart from its image bytes, read off the wire form before any object is made of it.

Of two bytes on the wire protobuf makes an object of a hundred, so a message of the largest size that holds empty items
would take gigabytes and seconds. Image bytes stay bytes; everything else is what this counts, and it stops counting
where the limit is passed.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from scoreguard.v1.limits import LIMITS
from scoreguard_handlers.errors import InvalidRequestError
from scoreguard_handlers.worker.wire import BYTES, SIZES, VARINT, plan_of, read_varint


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
    plan, position, total = plan_of(descriptor), 0, 0
    while position < len(data) and total <= limit:
        start = position
        tag, position = read_varint(data, position)
        wire_type = tag & 7
        total += LIMITS.field_bytes
        if wire_type == BYTES:
            length, position = read_varint(data, position)
            content, position = position, position + length
            inner = plan.get(tag >> 3, descriptor)
            if inner is descriptor:  # nothing in it is looked at
                total += position - start
            elif inner is not None:
                total += content - start + _count(data[content:position], inner, limit - total)
        else:
            position = read_varint(data, position)[1] if wire_type == VARINT else position + _size(wire_type)
            total += position - start
        if position > len(data):
            raise IndexError
    return total


def _size(wire_type: int) -> int:
    if wire_type not in SIZES:
        raise IndexError
    return SIZES[wire_type]


def _holds_requests(descriptor: Descriptor) -> bool:
    plan = plan_of(descriptor)
    return any(field.number in plan and field.is_repeated for field in descriptor.fields)
