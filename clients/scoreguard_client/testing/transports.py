"""Transports that connect a client to a fake service by calling it directly."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import Any, ClassVar, Protocol, TypeVar, cast

from google.protobuf.message import Message
from google.protobuf.wrappers_pb2 import Int32Value

from scoreguard.v1 import scoring_pb2 as pb
from scoreguard_client.transport import (
    GRADIENT,
    HEALTH,
    LIST_METRICS,
    PURIFY,
    SCORE,
    SCORE_BATCH,
    SCORE_CLIP,
    SERVING,
    Deadline,
    Method,
    Request,
)

R = TypeVar("R")


class Answering(Protocol):
    """The answering side: a `FakeService`."""

    def score(self, request: pb.ScoreDefendedRequest) -> pb.ScoreDefendedResponse:
        """Answer `ScoreDefended`."""
        ...

    def score_item(self, request: pb.ScoreDefendedRequest) -> pb.ScoreDefendedResult:
        """Answer one item of a batch or stream."""
        ...

    def purify(self, request: pb.PurifyRequest) -> pb.PurifyResponse:
        """Answer `Purify`."""
        ...

    def gradient(self, request: pb.ScoreGradientRequest) -> pb.ScoreGradientResponse:
        """Answer `ScoreGradient`."""
        ...

    def catalogue(self, request: pb.ListMetricsRequest) -> pb.ListMetricsResponse:
        """Answer `ListMetrics`."""
        ...


class _FakeBase:
    TARGET: ClassVar = "fake"

    def __init__(self, service: Answering) -> None:
        self._service = service

    @property
    def target(self) -> str:
        """`fake`."""
        return self.TARGET

    def _answer(self, method: Method[R], request: Request) -> R:
        service, message = self._service, method.message_of(request)
        answers: dict[str, Any] = {
            SCORE.path: service.score,
            SCORE_BATCH.path: self._batch,
            PURIFY.path: service.purify,
            GRADIENT.path: service.gradient,
            LIST_METRICS.path: service.catalogue,
            HEALTH.path: lambda _: Int32Value(value=SERVING),
        }
        return cast("R", answers[method.path](message))

    def _batch(self, request: pb.ScoreDefendedBatchRequest) -> pb.ScoreDefendedBatchResponse:
        return pb.ScoreDefendedBatchResponse(results=[self._service.score_item(item) for item in request.requests])

    def _clip(self, messages: list[Any]) -> pb.ScoreClipResponse:
        """Answer a clip of frames by their mean; sampling is left out."""
        head = messages[0].header
        kept = {"metric": head.metric, "defences": head.defences, "seed": head.seed}
        answers = [self._service.score(pb.ScoreDefendedRequest(image=part.frame, **kept)) for part in messages[1:]]
        scores = [answer.score for answer in answers]
        return pb.ScoreClipResponse(
            score=sum(scores) / len(scores),
            frame_scores=scores,
            frames=range(len(scores)),
            pooling=pb.POOLING_MEAN,
            provenance=answers[0].provenance,
            draw=head.draw,
            request_id=head.request_id,
            higher_is_better=answers[0].higher_is_better,
        )

    def _item(self, message: Message) -> Any:
        request = cast("pb.ScoreDefendedStreamRequest", message).request
        return pb.ScoreDefendedStreamResponse(result=self._service.score_item(request))


class FakeTransport(_FakeBase):
    """Blocking calls to a fake service. It takes no time, so no deadline passes."""

    def unary(self, method: Method[R], request: Request, deadline: Deadline) -> R:
        """Answer one call; raises `ServerError`."""
        return self._answer(method, request)

    def stream(self, method: Method[R], requests: Iterator[Message], deadline: Deadline) -> Generator[R, None, None]:
        """Answer one request after the other, or a clip once."""
        if method is SCORE_CLIP:
            yield cast("R", self._clip(list(requests)))
            return
        for request in requests:
            yield self._item(request)

    def close(self) -> None:
        """Do nothing: nothing is open."""


class AsyncFakeTransport(_FakeBase):
    """asyncio calls to a fake service."""

    async def unary(self, method: Method[R], request: Request, deadline: Deadline) -> R:
        """Answer one call; raises `ServerError`."""
        return self._answer(method, request)

    async def stream(
        self, method: Method[R], requests: AsyncIterator[Message], deadline: Deadline
    ) -> AsyncGenerator[R, None]:
        """Answer one request after the other, or a clip once."""
        if method is SCORE_CLIP:
            yield cast("R", self._clip([request async for request in requests]))
            return
        async for request in requests:
            yield self._item(request)

    async def close(self) -> None:
        """Do nothing: nothing is open."""
