"""What can go wrong for a caller.

ScoreguardError
├── ImageError            a local image that cannot be sent: no such file, not an image, wrong shape, NaN
├── ConfigurationError      connection options that do not fit together
├── MissingExtraError       a command that needs an optional part of the installation
└── ServerError             the server, or the way to it, refused
    ├── InvalidRequestError     INVALID_ARGUMENT, OUT_OF_RANGE: the request is wrong; `field` says where
    ├── NotFoundError           NOT_FOUND: a metric or defence that is not deployed; `near` lists likely names
    ├── NotDeployedError        FAILED_PRECONDITION, ALREADY_EXISTS: this server does not offer it
    ├── UnsupportedError        UNIMPLEMENTED: the server does not know the call
    ├── ResourceExhaustedError  RESOURCE_EXHAUSTED: too big, queue full, out of memory
    ├── DeadlineExceededError   DEADLINE_EXCEEDED: no answer in time
    ├── UnavailableError        UNAVAILABLE: not running, or restarting; `retry_after` says when to come back
    ├── UnauthenticatedError    UNAUTHENTICATED: no token, or a wrong one
    ├── PermissionDeniedError   PERMISSION_DENIED: the token does not allow it
    ├── CancelledError          CANCELLED: the call was cancelled
    └── InternalError           INTERNAL, UNKNOWN, ABORTED, DATA_LOSS: the server failed
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from google.rpc import code_pb2

from scoreguard.support.picklable import PicklableError

__all__ = [
    "CancelledError",
    "ConfigurationError",
    "DeadlineExceededError",
    "ImageError",
    "InternalError",
    "InvalidRequestError",
    "MissingExtraError",
    "NotDeployedError",
    "NotFoundError",
    "PermissionDeniedError",
    "ResourceExhaustedError",
    "ScoreguardError",
    "ServerError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnsupportedError",
]


class ScoreguardError(PicklableError):
    """Base of every error of this package; its message is one line that says what to do."""


class ImageError(ScoreguardError):
    """A local image that cannot be sent."""


class ConfigurationError(ScoreguardError):
    """Connection options that do not fit together."""


class MissingExtraError(ScoreguardError):
    """A command that needs an optional part of the installation."""

    def __init__(self, what: str, extra: str, module: str) -> None:
        self.extra, self.module = extra, module
        super().__init__(f"{what} needs pip install 'scoreguard[{extra}]' (no module named {module})")


class ServerError(ScoreguardError):
    """The server, or the way to it, refused."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "",
        reason: str = "",
        field: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after: float | None = None,
        unreachable: bool = False,
    ) -> None:
        self.code = code
        """Name of the gRPC status, for example `NOT_FOUND`; empty if the client refused before any call."""
        self.reason = reason
        """The server's own name for the cause, for example `UNKNOWN_NAME`; empty if it gave none."""
        self.field = field
        """Path of the request's field that is wrong; empty if no field is."""
        self.metadata = dict(metadata or {})
        """Facts for programs: stage, sizes, near names."""
        self.retry_after = retry_after
        """Seconds after which the server expects to be able to answer; None if it did not say."""
        self.unreachable = unreachable
        """Whether no server answered: the connection failed or broke."""
        super().__init__(message)


class InvalidRequestError(ServerError):
    """The request is wrong."""


class NotFoundError(ServerError):
    """A metric or defence that is not deployed."""

    @property
    def near(self) -> tuple[str, ...]:
        """Deployed names similar to the requested one, best first."""
        return _names(self.metadata.get("near", ""))

    @property
    def known(self) -> tuple[str, ...]:
        """Every deployed name of that kind."""
        return _names(self.metadata.get("known", ""))


class NotDeployedError(ServerError):
    """The server does not offer what was requested."""


class UnsupportedError(ServerError):
    """The server does not know the call."""


class ResourceExhaustedError(ServerError):
    """Too big, queue full, or out of memory."""


class DeadlineExceededError(ServerError):
    """No answer in time."""


class UnavailableError(ServerError):
    """The server is not running, or restarting."""


class UnauthenticatedError(ServerError):
    """No token, or a wrong one."""


class PermissionDeniedError(ServerError):
    """The token does not allow the call."""


class CancelledError(ServerError):
    """The call was cancelled."""


class InternalError(ServerError):
    """The server failed for a reason that the caller cannot fix."""


BY_CODE: Final[dict[int, type[ServerError]]] = {
    code_pb2.CANCELLED: CancelledError,
    code_pb2.UNKNOWN: InternalError,
    code_pb2.INVALID_ARGUMENT: InvalidRequestError,
    code_pb2.DEADLINE_EXCEEDED: DeadlineExceededError,
    code_pb2.NOT_FOUND: NotFoundError,
    code_pb2.ALREADY_EXISTS: NotDeployedError,
    code_pb2.PERMISSION_DENIED: PermissionDeniedError,
    code_pb2.RESOURCE_EXHAUSTED: ResourceExhaustedError,
    code_pb2.FAILED_PRECONDITION: NotDeployedError,
    code_pb2.ABORTED: InternalError,
    code_pb2.OUT_OF_RANGE: InvalidRequestError,
    code_pb2.UNIMPLEMENTED: UnsupportedError,
    code_pb2.INTERNAL: InternalError,
    code_pb2.UNAVAILABLE: UnavailableError,
    code_pb2.DATA_LOSS: InternalError,
    code_pb2.UNAUTHENTICATED: UnauthenticatedError,
}
"""The class for each gRPC status except OK."""


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
