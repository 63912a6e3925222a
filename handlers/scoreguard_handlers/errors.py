"""Errors while serving, each with the gRPC code that a caller gets.

ServingError
├── InvalidRequestError     INVALID_ARGUMENT     the request is wrong; the field is named
├── UnknownNameError        NOT_FOUND            a metric or defence that is not deployed; similar names listed
├── NotDeployedError        FAILED_PRECONDITION  the request needs something that this server does not offer
├── ResourceLimitError      RESOURCE_EXHAUSTED   too big, queue full, out of memory; sizes in the metadata
├── PoisonError             RESOURCE_EXHAUSTED   it took a worker down before and is not tried again
├── TooLateError            DEADLINE_EXCEEDED    the deadline passed before the work was done
├── CallerGoneError         CANCELLED            the caller left before the work was done
├── BackendUnavailableError UNAVAILABLE          a worker is down or restarting; retry
│   └── WorkerDiedError                          the worker that had the work died
└── ChainFailedError        INTERNAL             a stage failed for a reason that the caller cannot fix
    └── NotFiniteError                           a stage gave a value that is not a finite number
StartupError                                     the server cannot start (port taken, bad archive, no Java)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import ClassVar, Final

from google.rpc import code_pb2

from scoreguard.support.near import near_names
from scoreguard.support.picklable import PicklableError
from scoreguard.support.shown import shown
from scoreguard.v1.errors import DeviceMemoryError, EngineError, NoGradientError
from scoreguard_handlers.rate_limit import RateLimit

logger = logging.getLogger(__name__)
DOMAIN = "scoreguard"
"""`google.rpc.ErrorInfo.domain` of every error."""
_LIST_LIMIT: Final = 300
"""Most characters of a list of deployed names: details are sent in gRPC's metadata, which holds 8 KB."""
_BUGS: Final = RateLimit()


class ServingError(PicklableError):
    """Base of every error that is sent to a caller; the message is one line that says what to do."""

    code: ClassVar[int] = code_pb2.UNKNOWN
    reason: ClassVar[str] = "UNKNOWN"

    def __init__(self, message: str, *, field: str = "", metadata: Mapping[str, str] | None = None) -> None:
        self.field = field
        """Path of the invalid field of the request; empty if no field is to blame."""
        self.metadata = dict(metadata or {})
        """Facts for programs: stage, sizes, similar names."""
        super().__init__(message)

    @property
    def retry_after_seconds(self) -> float | None:
        """Delay after which a retry is worthwhile (`google.rpc.RetryInfo`); None if a retry cannot help."""
        return None


class InvalidRequestError(ServingError):
    """The request is wrong."""

    code = code_pb2.INVALID_ARGUMENT
    reason = "INVALID_REQUEST"


class UnknownNameError(ServingError):
    """A metric or defence that is not deployed."""

    code = code_pb2.NOT_FOUND
    reason = "UNKNOWN_NAME"

    def __init__(self, kind: str, name: str, known: Iterable[str], *, field: str = "") -> None:
        names = sorted(known)
        near = near_names(name, names)
        hint = f"did you mean {', '.join(near)}?" if near else f"deployed: {shown(', '.join(names), _LIST_LIMIT)}"
        super().__init__(
            f"unknown {kind} '{shown(name)}': {hint}",
            field=field,
            metadata={
                "kind": kind,
                "name": shown(name),
                "near": ",".join(near),
                "known": shown(",".join(names), _LIST_LIMIT),
            },
        )


class NotDeployedError(ServingError):
    """The request needs something that this server does not offer."""

    code = code_pb2.FAILED_PRECONDITION
    reason = "NOT_DEPLOYED"


class ResourceLimitError(ServingError):
    """The request is too big, the queue is full, or memory has run out."""

    code = code_pb2.RESOURCE_EXHAUSTED
    reason = "RESOURCE_LIMIT"

    @property
    def retry_after_seconds(self) -> float | None:
        """Delay before a retry, from the metadata; None if a retry cannot help: an overload passes, a size does not."""
        seconds = self.metadata.get("retry_after_seconds")
        return None if seconds is None else float(seconds)


class PoisonError(ServingError):
    """A piece of work that took a worker down, and is not given to another."""

    code = code_pb2.RESOURCE_EXHAUSTED
    reason = "POISON"


class TooLateError(ServingError):
    """The deadline passed before the work was done."""

    code = code_pb2.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"


class CallerGoneError(ServingError):
    """The caller left before the work was done, so nothing reads this error."""

    code = code_pb2.CANCELLED
    reason = "CALLER_GONE"


class BackendUnavailableError(ServingError):
    """A worker is down or restarting."""

    code = code_pb2.UNAVAILABLE
    reason = "BACKEND_UNAVAILABLE"

    @property
    def retry_after_seconds(self) -> float | None:
        """Delay before a retry: workers need a moment to restart."""
        return 1.0


class WorkerDiedError(BackendUnavailableError):
    """The worker that had the work died."""

    def __init__(self, message: str, *, items: Iterable[int] = (), was_overdue: bool = False) -> None:
        self.items = frozenset(items)
        """Ids of the pieces of work that it was working on; empty if that is not known."""
        self.was_overdue = was_overdue
        """Whether it was ended because its callers had gone."""
        super().__init__(message)


class ChainFailedError(ServingError):
    """A stage failed for a reason that the caller cannot fix."""

    code = code_pb2.INTERNAL
    reason = "CHAIN_FAILED"


class NotFiniteError(ChainFailedError):
    """A stage gave a value that is not a finite number: there is no score."""

    reason = "NOT_FINITE"


class StartupError(PicklableError):
    """The server cannot start; the message is one line that says what to do."""


def as_serving_error(error: BaseException, *, stage: str = "") -> ServingError:
    """Convert any exception to the class that the caller should see.

    Unexpected ones are logged in full, at most one of a kind per second.
    """
    where = f" in {stage}" if stage else ""
    if isinstance(error, ServingError):
        failure = error
    elif isinstance(error, NoGradientError):
        failure = NotDeployedError(str(error))
    elif isinstance(error, DeviceMemoryError):
        failure = ResourceLimitError(str(error))
    elif isinstance(error, EngineError):
        failure = ChainFailedError(str(error))
    elif isinstance(error, MemoryError):
        failure = ResourceLimitError(f"out of memory{where}; send a smaller image or try again later")
    else:
        if _BUGS.take((type(error), stage)) is not None:
            logger.error("a stage raised", exc_info=error)
        what = type(error).__name__
        failure = ChainFailedError(f"the chain failed{where} with {what}; the server's log has the details")
    if stage:
        failure.metadata.setdefault("stage", stage)
    return failure
