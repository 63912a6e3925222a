"""Many images, one answer each, in order: the logic that batches and streams share, independent of the transport."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from scoreguard.v1.limits import LIMITS
from scoreguard.v1.scoring_pb2 import (
    ScoreDefendedBatchRequest,
    ScoreDefendedBatchResponse,
    ScoreDefendedRequest,
    ScoreDefendedStreamRequest,
    ScoreDefendedStreamResponse,
)
from scoreguard_client._exceptions import InternalError, ResourceExhaustedError, ScoreguardError
from scoreguard_client._models import Score
from scoreguard_client._requests import ScoreRequest
from scoreguard_client._responses import Outcome, to_outcome
from scoreguard_client._retries import is_transient


@dataclass
class Batch:
    """One call's worth of a larger batch."""

    indices: list[int] = field(default_factory=list)
    """Positions of the items in the caller's order."""
    message: ScoreDefendedBatchRequest = field(default_factory=ScoreDefendedBatchRequest)
    """The items."""
    size_bytes: int = 0
    """Upper bound of the encoded length."""
    attempts: int = 0
    """How often these items have been sent before."""

    def add(self, index: int, request: ScoreDefendedRequest, size_bytes: int) -> None:
        """Append an item."""
        self.indices.append(index)
        self.message.requests.append(request)
        self.size_bytes += size_bytes


_BESIDE_IMAGES = LIMITS.batch_bytes // 9
"""Bytes other than images; the server counts at most nine times as many: 16 more for each field of two."""


def _image_bytes(request: ScoreDefendedRequest) -> int:
    return len(request.image.encoded) + len(request.image.tensor.data)


class BatchPlan:
    """Splits a batch into calls under the size limit and puts the answers back in order."""

    _FRAMING_BYTES = 16

    def __init__(self, requests: Iterable[ScoreRequest], limit_bytes: int) -> None:
        self._requests, self._limit = requests, limit_bytes
        self._outcomes: list[Outcome] = []

    def batches(self) -> Iterator[Batch]:
        """Yield the calls to make; an item that cannot be sent gets its error and is skipped."""
        batch, beside_images = Batch(), 0
        for index, request in enumerate(self._requests):
            self._outcomes.append(InternalError("the server sent no answer for this item"))
            try:
                message = request.to_message()
                size = self._size_of(message)
            except ScoreguardError as error:
                self._outcomes[index] = error
                continue
            beside = message.ByteSize() - _image_bytes(message)
            is_full = len(batch.indices) == LIMITS.batch_items or beside_images + beside > _BESIDE_IMAGES
            if batch.indices and (is_full or batch.size_bytes + size > self._limit):
                yield batch
                batch, beside_images = Batch(), 0
            beside_images += beside
            batch.add(index, message, size)
        if batch.indices:
            yield batch

    def fill(self, batch: Batch, response: ScoreDefendedBatchResponse) -> Batch:
        """Take the answer of one call, and return the items to resend: those that were temporarily refused.

        Raises:
            InternalError: it does not have one result for each item.
        """
        if len(response.results) != len(batch.indices):
            raise InternalError(f"the server sent {len(response.results)} results for {len(batch.indices)} images")
        again = Batch(attempts=batch.attempts + 1)
        for index, request, result in zip(batch.indices, batch.message.requests, response.results, strict=True):
            outcome = sent_again(to_outcome(result), batch.attempts)
            self._outcomes[index] = outcome
            if is_transient(outcome):
                again.add(index, request, request.ByteSize() + self._FRAMING_BYTES)
        return again

    def first_error(self, batch: Batch) -> Outcome:
        """The error that decides the pause before a batch is resent: the one that asks for the longest."""
        errors = [self._outcomes[index] for index in batch.indices]
        return max(errors, key=lambda error: getattr(error, "retry_after", None) or 0.0)

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

    `encode` may run in gRPC's own thread: an item's mark is written before the item is sent, so it exists when the
    answer arrives.
    """

    def __init__(self) -> None:
        self._marks: deque[ScoreguardError | ScoreDefendedRequest] = deque()
        self.failure: Exception | None = None
        """What the caller's own iterator raised; re-raised after the answers of the items before it."""

    def encode(self, request: ScoreRequest) -> ScoreDefendedStreamRequest | None:
        """The message of an item, or None if it cannot be sent."""
        try:
            message = ScoreDefendedStreamRequest(request=request.to_message())
        except ScoreguardError as error:
            self._marks.append(error)
            return None
        self._marks.append(message.request)
        return message

    def take(self, response: ScoreDefendedStreamResponse) -> Iterator[tuple[Outcome, ScoreDefendedRequest | None]]:
        """Yield the outcomes that this answer settles, each with the request if it was temporarily refused.

        Raises:
            InternalError: the server answered an item that was not sent.
        """
        yield from ((error, None) for error in self._local_errors())
        if not self._marks:
            raise InternalError("the server sent more answers than images")
        request, outcome = self._marks.popleft(), to_outcome(response.result)
        yield outcome, request if isinstance(request, ScoreDefendedRequest) and is_transient(outcome) else None

    def finish(self) -> Iterator[Outcome]:
        """Yield the outcomes left when the stream has ended.

        Raises:
            InternalError: the server ended the stream too early.
            Exception: any error that the caller's iterator raised.
        """
        yield from self._local_errors()
        if self._marks:
            raise InternalError(f"the server ended the stream with {len(self._marks)} images unanswered")
        if self.failure is not None:
            raise self.failure

    def _local_errors(self) -> Iterator[ScoreguardError]:
        while self._marks and isinstance(error := self._marks[0], ScoreguardError):
            self._marks.popleft()
            yield error


def sent_again(outcome: Outcome, earlier: int) -> Outcome:
    """Add the attempts made before the one that gave an outcome."""
    return replace(outcome, attempts=outcome.attempts + earlier) if earlier and isinstance(outcome, Score) else outcome
