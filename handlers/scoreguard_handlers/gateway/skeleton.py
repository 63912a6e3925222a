"""The size of a message without its image bytes, read from the wire form before any object is created.

Protobuf turns two bytes on the wire into an object of a hundred, so a message of the largest size full of empty items
would take gigabytes and seconds. Image bytes stay bytes; this counts everything else, and stops once the limit is
exceeded.
"""

from __future__ import annotations

from google.protobuf.descriptor import Descriptor

from scoreguard.v1.limits import LIMITS
from scoreguard_handlers.errors import InvalidRequestError
from scoreguard_handlers.worker.wire import BYTES, SIZES, VARINT, plan_of, read_varint


def check_skeleton(data: bytes, descriptor: Descriptor) -> None:
    """Refuse a message that holds too much in addition to its images.

    Raises:
        InvalidRequestError: it holds too much (the message has the limit), or the bytes are not a message at all.
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
    """Return the error for bytes that the method cannot read."""
    return InvalidRequestError(f"the {size} bytes are not a {name}: build the client from this server's .proto files")


def _count(data: memoryview, descriptor: Descriptor, limit: int) -> int:
    """Count the bytes apart from images, plus `field_bytes` per field; may stop at any number above the limit.

    Raises:
        IndexError: the bytes are truncated or are not valid wire format.
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
            if inner is descriptor:  # its content is not examined
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
