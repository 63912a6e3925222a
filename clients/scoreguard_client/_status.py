"""Convert gRPC statuses, with their `google.rpc` details, to this package's exceptions."""

from __future__ import annotations

import re
from typing import Any, Final

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status

from scoreguard_client._exceptions import BY_CODE, InternalError, ServerError
from scoreguard_client._targets import listens, proxy_of

_TLS_MARKS: Final = ("ssl", "tls", "handshake", "certificate")
_UNRESOLVED_MARKS: Final = ("errors resolving", "dns resolution failed", "domain name not found", "lookup failed")
_FOREIGN_MARKS: Final = ("failed parsing http/2", "http1.x server", "settings frame")
"""gRPC's messages about a peer that is not an HTTP/2 server."""
_REFUSED_MARK: Final = "connection refused"
_TOO_LARGE: Final = re.compile(
    r"(?P<verb>Sent|Received) message larger than max \((?P<size>\d+) vs\. (?P<limit>\d+)\)", re.IGNORECASE
)


def from_status(status: status_pb2.Status) -> ServerError:
    """Return the exception for a status that is not OK."""
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


def code_of(error: ServerError) -> str:
    """Return the name of an exception's status; if it does not say, the first status of its class."""
    number = next((code for code, kind in BY_CODE.items() if type(error) is kind), code_pb2.INTERNAL)
    return str(code_pb2.Code.Name(number))


def to_status(error: ServerError) -> status_pb2.Status:
    """Return the status from which `from_status` makes this exception."""
    status = status_pb2.Status(code=code_pb2.Code.Value(error.code or code_of(error)), message=str(error))
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, metadata=error.metadata)]
    if error.field:
        details.append(error_details_pb2.BadRequest(field_violations=[{"field": error.field}]))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after * 1e9))
        details.append(retry)
    for detail in details:
        status.details.add().Pack(detail)
    return status


def from_rpc_error(
    error: grpc.RpcError, *, target: str, timeout: float, purpose: str, has_token: bool = False, has_tls: bool = False
) -> ServerError:
    """Return the exception for a failed call; if the server itself did not answer, the message says what to do."""
    call: Any = error
    code, detail = call.code().value[0], call.details() or ""
    rich = _rich_status(call)
    if code == code_pb2.UNAUTHENTICATED:
        message = _unauthenticated(target, has_token)
    elif rich is not None:
        return from_status(rich)
    elif code == code_pb2.UNIMPLEMENTED:
        message = unsupported(target, purpose)
    elif code == code_pb2.DEADLINE_EXCEEDED:
        message = f"no answer from {target} within {timeout:g} s"
    elif code == code_pb2.UNAVAILABLE:
        message = _unreachable(target, detail, has_tls)
    else:
        message = _too_large(detail) or detail
    translated = from_status(status_pb2.Status(code=code, message=message))
    translated.metadata["detail"] = detail
    translated.unreachable = code == code_pb2.UNAVAILABLE
    return translated


def unsupported(target: str, purpose: str) -> str:
    """Word the message for a call that the target does not implement."""
    return f"{target} does not {purpose}" + ("" if "gradient" in purpose else "; is it a scoreguard server?")


def _rich_status(call: Any) -> status_pb2.Status | None:
    try:
        return rpc_status.from_call(call)
    except ValueError:
        return None  # The details contradict the status, so a proxy wrote one of them: the status is what counts.


def _unauthenticated(target: str, has_token: bool) -> str:
    if has_token:
        return f"{target} does not accept this token: ask its operator for a valid one"
    return f"{target} asks for a token: give --token-file, SCOREGUARD_TOKEN, or ConnectionConfig(token=...)"


def _unreachable(target: str, detail: str, has_tls: bool) -> str:
    text = detail.lower()
    proxy = proxy_of(target)
    host = target.rpartition(":")[0]
    through = f" (through the proxy of {proxy}; no_grpc_proxy={host} avoids it)" if proxy else ""
    if any(mark in text for mark in _UNRESOLVED_MARKS):
        return f"cannot find the host of {target}: check its name{through}"
    # For a name with two addresses gRPC reports the one that failed last, which may not be the one in use.
    is_taken = _REFUSED_MARK in text and listens(target)
    if any(mark in text for mark in _FOREIGN_MARKS) or (is_taken and not has_tls):
        what = "another program, or a server that wants --tls"
        return f"what listens on {target} does not speak plain gRPC: {what}{through}"
    if any(mark in text for mark in _TLS_MARKS) or is_taken:
        return f"no TLS connection to {target}: check the certificates and that both sides use TLS ({detail}){through}"
    return f"cannot reach {target}: is scoreguard-serve running?{through}"


def _too_large(detail: str) -> str:
    """Say what to do about a message above a limit; empty if the detail is about something else."""
    match = _TOO_LARGE.search(detail)
    if match is None:
        return ""
    size, limit = match["size"], match["limit"]
    if detail.startswith("SERVER"):
        return (
            f"the request of {size} bytes is above the server's limit of {limit}: send a file's bytes instead of an "
            "array, or have its operator raise --max-message-mib"
        )
    what = "answer" if match["verb"].lower() == "received" else "request"
    return (
        f"the {what} of {size} bytes is above this client's limit of {limit}: raise --max-message-mib "
        "(ConnectionConfig.max_message_bytes), or ask for the purified image as 8-bit PNG"
    )


def _details(status: status_pb2.Status) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for packed in status.details:
        for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest, error_details_pb2.RetryInfo):
            message = kind()
            if packed.Is(kind.DESCRIPTOR) and packed.Unpack(message):  # pyright: ignore[reportArgumentType]
                found.setdefault(kind.DESCRIPTOR.name, message)
    return found
