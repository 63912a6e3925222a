"""The answer to every call, over gRPC or within the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from importlib.metadata import PackageNotFoundError, version

from google.rpc import status_pb2

from scoreguard.v1.scoring_pb2 import (
    ListMetricsResponse,
    PurifyRequest,
    PurifyResponse,
    ScoreClipResponse,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
    ScoreGradientRequest,
    ScoreGradientResponse,
)
from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.gateway.calls import Caller, each, in_order, status_of
from scoreguard_handlers.gateway.clip_frames import Parts
from scoreguard_handlers.gateway.clip_parts import ClipPart
from scoreguard_handlers.gateway.clips import ClipScorer
from scoreguard_handlers.gateway.messages import Unreadable
from scoreguard_handlers.gateway.methods import Outcome
from scoreguard_handlers.gateway.outcomes import succeeded
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.worker.received import Received, ReceivedBatch
from scoreguard_handlers.worker.request_check import Request, check_batch

OnRefused = Callable[[ScoreDefendedRequest, Caller, status_pb2.Status], None]
"""Called for every item of a batch or stream that gets an error."""


class Answers:
    """Answers the calls of one service, from its queues."""

    def __init__(self, router: RequestRouter, config: ServeConfig, on_refused: OnRefused = lambda *_: None) -> None:
        self._router, self._config, self._on_refused = router, config, on_refused
        self._clips = ClipScorer(router, config)

    async def score(self, request: Received[ScoreDefendedRequest], caller: Caller) -> ScoreDefendedResponse:
        """Purify one image and score the result; an exception becomes the call's status."""
        return succeeded(await self._routed(request, caller)).score

    async def purify(self, request: Received[PurifyRequest], caller: Caller) -> PurifyResponse:
        """Purify one image; an exception becomes the call's status."""
        return succeeded(await self._routed(request, caller)).purify

    async def gradient(self, request: Received[ScoreGradientRequest], caller: Caller) -> ScoreGradientResponse:
        """Compute score and derivative of one image; an exception becomes the call's status."""
        return succeeded(await self._routed(request, caller)).gradient

    async def score_all(self, request: ReceivedBatch, caller: Caller) -> list[Outcome]:
        """Score N images, each with its own status.

        Raises:
            InvalidRequestError: there are too many images.
        """
        check_batch(len(request.requests))

        async def one(item: Received[ScoreDefendedRequest]) -> Outcome:
            return await self._outcome(item, caller)

        return [outcome async for outcome in in_order(each(request.requests), one, self._router.window)]

    def stream(
        self, messages: AsyncIterator[Received[ScoreDefendedRequest] | Unreadable], caller: Caller
    ) -> AsyncGenerator[Outcome, None]:
        """Score a stream of images in order, each with its own status."""

        async def one(message: Received[ScoreDefendedRequest] | Unreadable) -> Outcome:
            if isinstance(message, Unreadable):
                return self._refused(ScoreDefendedRequest(), caller, message.error)
            return await self._outcome(message, caller)

        return in_order(messages, one, self._router.window)

    async def clip(self, first: ClipPart | Unreadable | None, parts: Parts, caller: Caller) -> ScoreClipResponse:
        """Score a clip: its first message, and the others; an exception becomes the call's status."""
        return await self._clips.score(first, parts, caller)

    async def catalogue(self) -> ListMetricsResponse:
        """Return what is deployed."""
        return ListMetricsResponse(
            metrics=[deployment.describe() for deployment in self._router.catalogue.values()],
            server_version=server_version(),
            gradients=self._config.gradients,
            max_message_bytes=self._config.max_message_bytes,
            max_pixels=self._config.max_pixels,
        )

    async def _routed(self, request: Received[Request], caller: Caller) -> WorkResult:
        seconds, name, attempts = caller.seconds_left, caller.name, caller.attempts
        return await self._router.route(request, seconds, caller=name, attempts=attempts)

    async def _outcome(self, request: Received[ScoreDefendedRequest], caller: Caller) -> Outcome:
        try:
            return await self.score(request, caller)
        except Exception as error:  # after any error, the other items continue
            return self._refused(request.head, caller, error)

    def _refused(self, request: ScoreDefendedRequest, caller: Caller, error: Exception) -> Outcome:
        status = status_of(error)
        self._on_refused(request, caller, status)
        return status


def server_version() -> str:
    """Return the version of the installed distribution; 0 if the sources run uninstalled."""
    try:
        return version("scoreguard")
    except PackageNotFoundError:
        return "0"
