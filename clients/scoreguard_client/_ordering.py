"""Many pictures, one answer each, in order: what batches and streams share, free of any wire."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from scoreguard.v1.limits import LIMITS
from scoreguard.v1.scoring_pb2 import (
    ScoreDefendedBatchRequest,
    ScoreDefendedBatchResponse,
    ScoreDefendedRequest,
    ScoreDefendedStreamRequest,
    ScoreDefendedStreamResponse,
)
from scoreguard_client._exceptions import InternalError, ResourceExhaustedError, ScoreguardError
from scoreguard_client._requests import ScoreRequest
from scoreguard_client._responses import Outcome, to_outcome


@dataclass
class Batch:
    """One call's worth of a larger batch."""

    places: list[int] = field(default_factory=list)
    """Where the items stand in the caller's order."""
    message: ScoreDefendedBatchRequest = field(default_factory=ScoreDefendedBatchRequest)
    """The items."""
    size_bytes: int = 0
    """Upper bound of the encoded length."""

    def add(self, place: int, request: ScoreDefendedRequest, size_bytes: int) -> None:
        """Append an item."""
        self.places.append(place)
        self.message.requests.append(request)
        self.size_bytes += size_bytes


_BESIDE_IMAGES = LIMITS.batch_bytes // 9
"""Bytes apart from images, of which the server counts at most nine times as many: 16 more for each field of two."""


def _image_bytes(request: ScoreDefendedRequest) -> int:
    return len(request.image.encoded) + len(request.image.tensor.data)


class BatchPlan:
    """Splits a batch into calls under the size limit and puts the answers back in order."""

    _FRAMING_BYTES = 16

    def __init__(self, requests: Iterable[ScoreRequest], limit_bytes: int) -> None:
        self._requests, self._limit = requests, limit_bytes
        self._outcomes: list[Outcome] = []

    def batches(self) -> Iterator[Batch]:
        """The calls to make; an item that cannot be sent gets its error and is left out."""
        batch, beside_images = Batch(), 0
        for place, request in enumerate(self._requests):
            self._outcomes.append(InternalError("the server sent no answer for this item"))
            try:
                message = request.to_message()
                size = self._size_of(message)
            except ScoreguardError as error:
                self._outcomes[place] = error
                continue
            beside = message.ByteSize() - _image_bytes(message)
            is_full = len(batch.places) == LIMITS.batch_items or beside_images + beside > _BESIDE_IMAGES
            if batch.places and (is_full or batch.size_bytes + size > self._limit):
                yield batch
                batch, beside_images = Batch(), 0
            beside_images += beside
            batch.add(place, message, size)
        if batch.places:
            yield batch

    def fill(self, batch: Batch, response: ScoreDefendedBatchResponse) -> None:
        """Take the answer of one call.

        Raises:
            InternalError: it does not have one result for each item.
        """
        if len(response.results) != len(batch.places):
            raise InternalError(f"the server sent {len(response.results)} results for {len(batch.places)} pictures")
        for place, result in zip(batch.places, response.results, strict=True):
            self._outcomes[place] = to_outcome(result)

    def outcomes(self) -> list[Outcome]:
        """One outcome for each item, in order."""
        return self._outcomes

    def _size_of(self, message: ScoreDefendedRequest) -> int:
        size = message.ByteSize() + self._FRAMING_BYTES
        if size > self._limit:
            raise ResourceExhaustedError(
                f"a request of {size} bytes is above max_message_bytes = {self._limit}; raise it in ConnectionConfig",
                metadata={"size_bytes": str(size), "limit_bytes": str(self._limit)},
            )
        return size


class StreamOrder:
    """Merges the answers of a stream with the errors of items that were never sent.

    `encode` may run in gRPC's own thread: an item's mark is written before the item is sent, so it is there when the
    answer comes.
    """

    def __init__(self) -> None:
        self._marks: deque[ScoreguardError | None] = deque()
        self.failure: Exception | None = None
        """What the caller's own iterator raised; raised again after the answers of the items before it."""

    def encode(self, request: ScoreRequest) -> ScoreDefendedStreamRequest | None:
        """The message of an item, or None where it cannot be sent."""
        try:
            message = ScoreDefendedStreamRequest(request=request.to_message())
        except ScoreguardError as error:
            self._marks.append(error)
            return None
        self._marks.append(None)
        return message

    def take(self, response: ScoreDefendedStreamResponse) -> Iterator[Outcome]:
        """The outcomes that are known once this answer is there.

        Raises:
            InternalError: the server answers something that was not asked.
        """
        yield from self._local_errors()
        if not self._marks:
            raise InternalError("the server sent more answers than pictures")
        self._marks.popleft()
        yield to_outcome(response.result)

    def finish(self) -> Iterator[Outcome]:
        """The outcomes left when the stream has ended.

        Raises:
            InternalError: the server ended the stream too early.
            Exception: whatever the caller's iterator raised.
        """
        yield from self._local_errors()
        if self._marks:
            raise InternalError(f"the server ended the stream with {len(self._marks)} pictures unanswered")
        if self.failure is not None:
            raise self.failure

    def _local_errors(self) -> Iterator[ScoreguardError]:
        while self._marks and (error := self._marks[0]) is not None:
            self._marks.popleft()
            yield error
