"""Errors to `google.rpc.Status` with details, for whole calls and for the items of a batch."""

from __future__ import annotations

from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from scoreguard_handlers.errors import DOMAIN, ServingError


def to_status(error: ServingError) -> status_pb2.Status:
    """The wire form of an error: code, message, and ErrorInfo / BadRequest / RetryInfo details."""
    return status_pb2.Status(code=error.code, message=str(error), details=[_pack(d) for d in _details(error)])


def _details(error: ServingError) -> list[Message]:
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=str(error))
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if (seconds := error.retry_after_seconds) is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(int(seconds * 1e9))
        details.append(retry)
    return details


def _pack(detail: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(detail)
    return packed
