"""The interface between a client and what answers it: anything that carries messages.

`ScoringClient` and `AsyncScoringClient` build requests, retry transient errors, put answers in order and read them; a
transport makes single attempts. Three exist: gRPC (the default), a model store in this process
(`scoreguard_client.local`), and a fake for tests (`scoreguard_client.testing`). Your own, over another protocol or
behind a cache, is any object with these methods: `ScoringClient(transport=mine)`. The messages are those of
`scoring.proto`. A client is pickled and copied with its transport, so a transport that must follow it into other
processes keeps plain values and opens its connection on first use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value, StringValue

from scoreguard.v1 import scoring_pb2 as pb

__all__ = [
    "GRADIENT",
    "HEALTH",
    "LIST_METRICS",
    "METHODS",
    "PURIFY",
    "SCORE",
    "SCORE_BATCH",
    "SCORE_CLIP",
    "SCORE_STREAM",
    "AsyncTransport",
    "Deadline",
    "Method",
    "Request",
    "Transport",
]

R = TypeVar("R")
Request: TypeAlias = Message | bytes
"""A request, or the bytes of one already encoded."""


@dataclass(frozen=True)
class Method(Generic[R]):
    """A call that a server can answer."""

    path: str
    """Full name on the wire."""
    parse: Callable[[bytes], R]
    """Reads a response."""
    parse_request: Callable[[bytes], Message]
    """Reads a request."""
    purpose: str
    """What it does, for the error message if a server does not support it."""

    def message_of(self, request: Request) -> Any:
        """Return the request as a message."""
        return self.parse_request(request) if isinstance(request, bytes) else request


@dataclass(frozen=True, kw_only=True)
class Deadline:
    """How long an attempt may take."""

    seconds: float
    """Time that the caller allowed for the whole call, for error messages."""
    left: float
    """Time left of it for this attempt, at least 0."""


class Transport(Protocol):
    """Blocking calls, each one attempt. Safe to use from several threads."""

    @property
    def target(self) -> str:
        """Name of the answering side, for error messages: `localhost:50051`, `local:model_store`."""
        ...

    def unary(self, method: Method[R], request: Request, deadline: Deadline) -> R:
        """Make one call.

        Args:
            method: one of `METHODS`.
            request: its request, which the transport does not change.
            deadline: how long it may take.

        Returns:
            The response, which belongs to the caller.

        Raises:
            ServerError: it failed; `code` says whether a retry may help.
        """
        ...

    def stream(self, method: Method[R], requests: Iterator[Message], deadline: Deadline) -> Generator[R, None, None]:
        """Open a stream, with one response for each request, in order; closing the generator cancels it.

        `SCORE_CLIP` has one response for all its requests, which may come before the last request is read.

        `requests` may block, and may be read in another thread.

        Raises:
            ServerError: it failed.
        """
        ...

    def close(self) -> None:
        """Release everything; calls in progress end with `CancelledError`. A second call does nothing."""
        ...


class AsyncTransport(Protocol):
    """The asyncio counterpart: all calls from one event loop. Cancelling the waiting task cancels the call."""

    @property
    def target(self) -> str:
        """As in `Transport`."""
        ...

    async def unary(self, method: Method[R], request: Request, deadline: Deadline) -> R:
        """As in `Transport`."""
        ...

    def stream(
        self, method: Method[R], requests: AsyncIterator[Message], deadline: Deadline
    ) -> AsyncGenerator[R, None]:
        """As in `Transport`."""
        ...

    async def close(self) -> None:
        """As in `Transport`."""
        ...


_SCORING: Final = "/scoreguard.v1.ScoringService"
SCORE: Final = Method(
    f"{_SCORING}/ScoreDefended", pb.ScoreDefendedResponse.FromString, pb.ScoreDefendedRequest.FromString,
    "score images",
)  # fmt: skip
SCORE_BATCH: Final = Method(
    f"{_SCORING}/ScoreDefendedBatch", pb.ScoreDefendedBatchResponse.FromString,
    pb.ScoreDefendedBatchRequest.FromString, "score batches",
)  # fmt: skip
SCORE_STREAM: Final = Method(
    f"{_SCORING}/ScoreDefendedStream", pb.ScoreDefendedStreamResponse.FromString,
    pb.ScoreDefendedStreamRequest.FromString, "score streams",
)  # fmt: skip
SCORE_CLIP: Final = Method(
    f"{_SCORING}/ScoreClip", pb.ScoreClipResponse.FromString, pb.ScoreClipRequest.FromString, "score clips"
)
PURIFY: Final = Method(f"{_SCORING}/Purify", pb.PurifyResponse.FromString, pb.PurifyRequest.FromString, "purify images")
LIST_METRICS: Final = Method(
    f"{_SCORING}/ListMetrics", pb.ListMetricsResponse.FromString, pb.ListMetricsRequest.FromString, "list its metrics"
)
GRADIENT: Final = Method(
    "/scoreguard.v1.GradientService/ScoreGradient", pb.ScoreGradientResponse.FromString,
    pb.ScoreGradientRequest.FromString, "give gradients (its operator has not turned them on)",
)  # fmt: skip
# The health messages have one field each, number 1: a string in, an enum out. The wrappers have the same wire form and
# spare the client a dependency.
HEALTH: Final = Method(
    "/grpc.health.v1.Health/Check", Int32Value.FromString, StringValue.FromString, "report its health"
)
# The empty name would only check that the process is alive; a service is serving once it can score.
HEALTH_REQUEST: Final = StringValue(value=_SCORING.removeprefix("/"))
SERVING: Final = 1
METHODS: Final[tuple[Method[Any], ...]] = (
    SCORE,
    SCORE_BATCH,
    SCORE_STREAM,
    SCORE_CLIP,
    PURIFY,
    LIST_METRICS,
    GRADIENT,
    HEALTH,
)
"""Every call."""
