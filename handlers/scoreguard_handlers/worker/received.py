"""A request as it arrived: its parameters, a view of the image's bytes, and the message to forward unchanged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final, Generic, Self, TypeVar

from scoreguard.v1.scoring_pb2 import (
    Image,
    PurifyRequest,
    ScoreDefendedBatchRequest,
    ScoreDefendedRequest,
    ScoreDefendedStreamRequest,
    ScoreGradientRequest,
)
from scoreguard.v1.worker_pb2 import PoolRequest
from scoreguard_handlers.worker.request_check import Work
from scoreguard_handlers.worker.wire import Buffer, nested_messages, parse_without_image

R = TypeVar("R", ScoreDefendedRequest, PurifyRequest, ScoreGradientRequest)
R_co = TypeVar("R_co", bound=Work, covariant=True)
_REQUESTS: Final = ScoreDefendedBatchRequest.REQUESTS_FIELD_NUMBER
_REQUEST: Final = ScoreDefendedStreamRequest.REQUEST_FIELD_NUMBER


@dataclass(frozen=True, kw_only=True, eq=False)
class Received(Generic[R_co]):
    """One request. A large image is held once, in the bytes that arrived."""

    head: R_co
    """The request. For a large image it has only form, shape and type; `image` has the bytes."""
    cut: memoryview | None = None
    """The image's bytes, if they are not in the head."""
    came_as: Buffer | None = None
    """The message on the wire; None = it was created here."""
    frame: bool = False
    """Whether the image is a frame of a clip, whose features are wanted beside its score."""

    @classmethod
    def of(cls, message: R_co) -> Self:  # type: ignore[misc]  # what is frozen may be read as any wider type
        """Make a request from a message created here."""
        return cls(head=message)

    @cached_property
    def wire(self) -> Buffer:
        """Return the serialised message, including the image."""
        return self.head.SerializeToString() if self.came_as is None else self.came_as

    @property
    def size(self) -> int:
        """Return the size of the message in bytes."""
        return len(self.wire)

    @property
    def image(self) -> Buffer:
        """Return the bytes of `image.encoded` or `image.tensor.data`; empty if there are none."""
        if isinstance(self.head, PoolRequest):
            return b""
        return image_bytes(self.head.image) if self.cut is None else self.cut


@dataclass(frozen=True, kw_only=True, eq=False)
class ReceivedBatch:
    """The requests of one call of ScoreDefendedBatch."""

    requests: list[Received[ScoreDefendedRequest]]
    """The requests in order; their images are views of the call's message."""
    size: int
    """Size of that message in bytes."""


def read_request(data: Buffer, kind: type[R]) -> Received[R]:
    """Parse a request.

    Raises:
        DecodeError: the bytes are not such a message.
    """
    head, image = parse_without_image(data, kind)
    return Received(head=head, cut=image, came_as=data)


def read_batch(data: bytes) -> ReceivedBatch:
    """Parse the requests of a batch.

    Raises:
        DecodeError: the bytes are not such a message.
    """
    parts = nested_messages(data, ScoreDefendedBatchRequest, _REQUESTS)
    if parts is None:
        requests = [Received.of(request) for request in ScoreDefendedBatchRequest.FromString(data).requests]
    else:
        requests = [read_request(part, ScoreDefendedRequest) for part in parts]
    return ReceivedBatch(requests=requests, size=len(data))


def read_stream_message(data: bytes) -> Received[ScoreDefendedRequest]:
    """Parse one message of a stream.

    Raises:
        DecodeError: the bytes are not such a message.
    """
    parts = nested_messages(data, ScoreDefendedStreamRequest, _REQUEST)
    if parts is None or len(parts) > 1:  # protobuf merges repeated occurrences
        return Received.of(ScoreDefendedStreamRequest.FromString(data).request)
    return read_request(parts[0] if parts else b"", ScoreDefendedRequest)


def image_bytes(image: Image) -> bytes:
    """Return a copy of the bytes of an image message; empty if there are none."""
    form = image.WhichOneof("payload")
    return b"" if form is None else image.encoded if form == "encoded" else image.tensor.data
