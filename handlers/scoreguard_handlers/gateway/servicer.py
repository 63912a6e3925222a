"""ScoringService: the public methods on top of the request router."""

from __future__ import annotations

from collections.abc import AsyncIterator

from google.rpc import status_pb2

from scoreguard.v1.scoring_pb2 import (
    ClipHeader,
    ListMetricsRequest,
    ListMetricsResponse,
    PurifyRequest,
    PurifyResponse,
    ScoreClipResponse,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
)
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.gateway.answers import Answers
from scoreguard_handlers.gateway.call_log import CallFacts
from scoreguard_handlers.gateway.calls import Caller, Context, answer, status_code
from scoreguard_handlers.gateway.clip_parts import ClipPart
from scoreguard_handlers.gateway.messages import Unreadable
from scoreguard_handlers.gateway.methods import Outcome
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.received import Received, ReceivedBatch


class ScoringServicer:
    """Answers the calls of one server; `methods.add_service` defines its wire input and output."""

    def __init__(self, router: RequestRouter, telemetry: Telemetry, config: ServeConfig) -> None:
        self._telemetry = telemetry
        self._answers = Answers(router, config, self._refused)

    async def ScoreDefended(  # noqa: N802
        self, request: Received[ScoreDefendedRequest], context: Context
    ) -> ScoreDefendedResponse:
        """Purify one image and score the result."""
        caller = Caller.of(context)
        work = self._answers.score(request, caller)
        return await answer(self._telemetry, "ScoreDefended", context, caller, request.head, work)

    async def Purify(self, request: Received[PurifyRequest], context: Context) -> PurifyResponse:  # noqa: N802
        """Purify one image."""
        caller = Caller.of(context)
        work = self._answers.purify(request, caller)
        return await answer(self._telemetry, "Purify", context, caller, request.head, work)

    async def ScoreDefendedBatch(  # noqa: N802
        self, request: ReceivedBatch, context: Context
    ) -> list[Outcome]:
        """Score N images, each with its own status."""
        caller = Caller.of(context)
        work = self._answers.score_all(request, caller)
        return await answer(self._telemetry, "ScoreDefendedBatch", context, caller, request, work)

    async def ScoreDefendedStream(  # noqa: N802
        self, request_iterator: AsyncIterator[Received[ScoreDefendedRequest] | Unreadable], context: Context
    ) -> AsyncIterator[Outcome]:
        """Score a stream of images in order, each with its own status."""
        caller = Caller.of(context)
        call = CallFacts(method="ScoreDefendedStream", peer=caller.peer, extra={"items": 0})

        async def counted() -> AsyncIterator[Received[ScoreDefendedRequest] | Unreadable]:
            async for message in request_iterator:
                call.extra["items"] += 1
                yield message

        with self._telemetry.call(call):
            async for response in self._answers.stream(counted(), caller):
                yield response

    async def ScoreClip(  # noqa: N802
        self, request_iterator: AsyncIterator[ClipPart | Unreadable], context: Context
    ) -> ScoreClipResponse:
        """Score a clip, whose first message says how."""
        caller = Caller.of(context)
        first = await anext(request_iterator, None)
        head = first.header if isinstance(first, ClipPart) and first.header is not None else ClipHeader()
        work = self._answers.clip(first, request_iterator, caller)
        return await answer(self._telemetry, "ScoreClip", context, caller, head, work)

    async def ListMetrics(self, request: ListMetricsRequest, context: Context) -> ListMetricsResponse:  # noqa: N802
        """Return what is deployed."""
        work = self._answers.catalogue()
        return await answer(self._telemetry, "ListMetrics", context, Caller.of(context), request, work)

    def _refused(self, request: ScoreDefendedRequest, caller: Caller, status: status_pb2.Status) -> None:
        """Log an item's error like a call's."""
        item = CallFacts(method="item", peer=caller.peer, request=request, message=status.message)
        item.code = status_code(status.code)
        self._telemetry.log.ended(item)
