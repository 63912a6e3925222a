"""From gRPC statuses, with their `google.rpc` details, to this package's exceptions."""

from __future__ import annotations

from typing import Any, Final

import grpc
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from scoreguard_client._exceptions import BY_CODE, InternalError, ServerError

_TLS_MARKS: Final = ("ssl", "tls", "handshake", "certificate")


def from_status(status: status_pb2.Status) -> ServerError:
    """The exception for a status that is not OK."""
    details = _details(status)
    error_class = BY_CODE.get(status.code, InternalError)
    info, violations = details.get("ErrorInfo"), details.get("BadRequest")
    retry = details.get("RetryInfo")
    return error_class(
        " ".join(status.message.split()) or "the server gave no reason",
        code=code_pb2.Code.Name(status.code) if status.code in BY_CODE else str(status.code),
        reason=info.reason if info else "",
        field=violations.field_violations[0].field if violations and violations.field_violations else "",
        metadata=dict(info.metadata) if info else None,
        retry_after=retry.retry_delay.ToNanoseconds() / 1e9 if retry else None,
    )


def from_rpc_error(error: grpc.RpcError, *, target: str, timeout: float, purpose: str) -> ServerError:
    """The exception for a call that failed; where the server itself did not speak, the message says what to do."""
    call: Any = error
    rich = _rich_status(call)
    if rich is not None:
        return from_status(rich)
    code, detail = call.code().value[0], call.details() or ""
    if code == code_pb2.UNIMPLEMENTED:
        message = f"{target} does not {purpose}"
    elif code == code_pb2.DEADLINE_EXCEEDED:
        message = f"no answer from {target} within {timeout:g} s"
    else:
        message = _unreachable(target, detail) if code == code_pb2.UNAVAILABLE else detail
    translated = from_status(status_pb2.Status(code=code, message=message))
    translated.metadata["detail"] = detail
    return translated


def _rich_status(call: Any) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(call)
    except ValueError:
        return None  # The details contradict the status, so a proxy wrote one of them: the status is what counts.


def _unreachable(target: str, detail: str) -> str:
    if any(mark in detail.lower() for mark in _TLS_MARKS):
        return f"no TLS connection to {target}: check the certificates and that both sides use TLS ({detail})"
    return f"cannot reach {target}: is scoreguard-serve running?"


def _details(status: status_pb2.Status) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for packed in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            message = kind()
            if packed.Is(kind.DESCRIPTOR) and packed.Unpack(message):
                found.setdefault(kind.DESCRIPTOR.name, message)
    return found
