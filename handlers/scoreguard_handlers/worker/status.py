"""Convert errors to `google.rpc.Status` with details, for whole calls and for the items of a batch.

A status is sent in gRPC's metadata, of which a caller accepts 8 KB; a larger one would arrive as a transport error. So
every part is cut to a maximum size.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from scoreguard_handlers.errors import DOMAIN, ServingError

_MESSAGE_BYTES: Final = 700
_VALUE_BYTES: Final = 300
_METADATA_BYTES: Final = 1200
_MORE: Final = "…"


def to_status(error: ServingError) -> status_pb2.Status:
    """Return the wire form of an error: code, message, and ErrorInfo / BadRequest / RetryInfo details; below 4 KB."""
    message = cut(str(error), _MESSAGE_BYTES)
    details = [_pack(detail) for detail in _details(error, message)]
    return status_pb2.Status(code=error.code, message=message, details=details)


def cut(text: str, size: int) -> str:
    """Return the text in at most `size` bytes of UTF-8, on one line; `…` marks what was left out."""
    line = " ".join(text.split()) if "\n" in text or "\r" in text else text
    data = line.encode("utf-8", "replace")
    if len(data) <= size:
        return data.decode()
    return data[: size - len(_MORE.encode())].decode("utf-8", "ignore") + _MORE


def _details(error: ServingError, message: str) -> list[Message]:
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_short(error.metadata))
    details: list[Message] = [info]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=cut(error.field, _VALUE_BYTES), description=message
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if (seconds := error.retry_after_seconds) is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(seconds * 1e9))
        details.append(retry)
    return details


def _short(metadata: Mapping[str, str]) -> dict[str, str]:
    """Return the entries that fit, short ones first: numbers are worth more than lists."""
    kept, total = dict[str, str](), 0
    for name, value in sorted(metadata.items(), key=lambda entry: len(entry[1])):
        text = cut(value, _VALUE_BYTES)
        total += len(name) + len(text.encode())
        if total <= _METADATA_BYTES:
            kept[name] = text
    return kept


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
