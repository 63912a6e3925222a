"""ScoringService: the public methods on top of the request router."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.metadata import PackageNotFoundError, version

from scoreguard.v1.scoring_pb2 import (
    ListMetricsRequest,
    ListMetricsResponse,
    PurifyRequest,
    PurifyResponse,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
)
from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.gateway.call_log import CallFacts
from scoreguard_handlers.gateway.calls import (
    Caller,
    Context,
    StatusError,
    answer,
    each,
    in_order,
    status_code,
    status_of,
)
from scoreguard_handlers.gateway.messages import Unreadable
from scoreguard_handlers.gateway.methods import Outcome
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.received import Received, ReceivedBatch
from scoreguard_handlers.worker.request_check import check_batch


class ScoringServicer:
    """Answers the calls of one server; `methods.add_service` says what it is given and returns on the wire."""

    def __init__(self, router: RequestRouter, telemetry: Telemetry, config: ServeConfig) -> None:
        self._router, self._telemetry, self._config = router, telemetry, config

    async def ScoreDefended(  # noqa: N802
        self, request: Received[ScoreDefendedRequest], context: Context
    ) -> ScoreDefendedResponse:
        """Purify one picture and score the result."""
        caller = Caller.of(context)
        work = self._score(request, caller)
        return await answer(self._telemetry, "ScoreDefended", context, caller, request.head, work)

    async def Purify(self, request: Received[PurifyRequest], context: Context) -> PurifyResponse:  # noqa: N802
        """Purify one picture."""
        caller = Caller.of(context)
        work = self._purify(request, caller)
        return await answer(self._telemetry, "Purify", context, caller, request.head, work)

    async def ScoreDefendedBatch(  # noqa: N802
        self, request: ReceivedBatch, context: Context
    ) -> list[Outcome]:
        """Score N pictures, each with its own status."""
        caller = Caller.of(context)
        work = self._score_all(request, caller)
        return await answer(self._telemetry, "ScoreDefendedBatch", context, caller, request, work)

    async def ScoreDefendedStream(  # noqa: N802
        self, request_iterator: AsyncIterator[Received[ScoreDefendedRequest] | Unreadable], context: Context
    ) -> AsyncIterator[Outcome]:
        """Score a stream of pictures in order, each with its own status."""
        caller = Caller.of(context)
        call = CallFacts(method="ScoreDefendedStream", peer=caller.peer, extra={"items": 0})

        async def one(message: Received[ScoreDefendedRequest] | Unreadable) -> Outcome:
            call.extra["items"] += 1
            if isinstance(message, Unreadable):
                return self._refused(ScoreDefendedRequest(), caller, message.error)
            return await self._outcome(message, caller)

        with self._telemetry.call(call):
            async for response in in_order(request_iterator, one, self._router.window):
                yield response

    async def ListMetrics(self, request: ListMetricsRequest, context: Context) -> ListMetricsResponse:  # noqa: N802
        """Say what is deployed."""
        return await answer(self._telemetry, "ListMetrics", context, Caller.of(context), request, self._list())

    async def _score(self, request: Received[ScoreDefendedRequest], caller: Caller) -> ScoreDefendedResponse:
        return succeeded(await self._routed(request, caller)).score

    async def _purify(self, request: Received[PurifyRequest], caller: Caller) -> PurifyResponse:
        return succeeded(await self._routed(request, caller)).purify

    async def _routed(
        self, request: Received[ScoreDefendedRequest] | Received[PurifyRequest], caller: Caller
    ) -> WorkResult:
        seconds, name, attempts = caller.seconds_left, caller.name, caller.attempts
        return await self._router.route(request, seconds, caller=name, attempts=attempts)

    async def _score_all(self, request: ReceivedBatch, caller: Caller) -> list[Outcome]:
        check_batch(len(request.requests))

        async def one(item: Received[ScoreDefendedRequest]) -> Outcome:
            return await self._outcome(item, caller)

        return [outcome async for outcome in in_order(each(request.requests), one, self._router.window)]

    async def _outcome(self, request: Received[ScoreDefendedRequest], caller: Caller) -> Outcome:
        try:
            return await self._score(request, caller)
        except Exception as error:  # whatever it was, the other items go on
            return self._refused(request.head, caller, error)

    def _refused(self, request: ScoreDefendedRequest, caller: Caller, error: Exception) -> Outcome:
        """An item's error, which is logged like a call's."""
        status = status_of(error)
        item = CallFacts(method="item", peer=caller.peer, request=request, message=status.message)
        item.code = status_code(status.code)
        self._telemetry.log.ended(item)
        return status

    async def _list(self) -> ListMetricsResponse:
        metrics = [deployment.describe() for deployment in self._router.catalogue.values()]
        return ListMetricsResponse(
            metrics=metrics,
            server_version=server_version(),
            gradients=self._config.gradients,
            max_message_bytes=self._config.max_message_bytes,
            max_pixels=self._config.max_pixels,
        )


def succeeded(result: WorkResult) -> WorkResult:
    """The same result, if it is not a status.

    Raises:
        StatusError: it is.
    """
    if result.WhichOneof("result") in {None, "status"}:
        raise StatusError(result.status)
    return result


def server_version() -> str:
    """Version of the installed distribution; 0 where the sources run uninstalled."""
    try:
        return version("scoreguard")
    except PackageNotFoundError:
        return "0"
