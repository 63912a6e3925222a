"""The asyncio client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import TypeAlias

from scoreguard.chain.rounding import Rounding
from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1.scoring_pb2 import ListMetricsRequest, ScoreDefendedRequest, ScoreDefendedStreamRequest
from scoreguard_client._base import DEFAULT_TARGET, READY_TIMEOUT_SECONDS, BaseClient, ReadyWait
from scoreguard_client._batches import Layout, items_of
from scoreguard_client._calls import AsyncCalls
from scoreguard_client._clip_models import ClipDraw, ClipScore
from scoreguard_client._clips import ClipLike, ClipOptions, ClipSender
from scoreguard_client._config import DEFAULT_CONFIG, ConnectionConfig
from scoreguard_client._exceptions import ServerError
from scoreguard_client._images import ImageLike
from scoreguard_client._models import Catalogue, Gradient, Purified, Score
from scoreguard_client._ordering import Batch, BatchPlan, StreamOrder, sent_again
from scoreguard_client._requests import (
    DefencesLike,
    PreparedScore,
    PurifiedFormat,
    ScoreRequest,
    SharedOptions,
    gradient_request,
    purify_request,
)
from scoreguard_client._responses import Outcome, to_catalogue, to_gradient, to_purified, to_score
from scoreguard_client._retries import Retries
from scoreguard_client._transports import async_transport_to
from scoreguard_client.transport import (
    GRADIENT,
    HEALTH,
    HEALTH_REQUEST,
    LIST_METRICS,
    PURIFY,
    SCORE,
    SCORE_BATCH,
    SCORE_CLIP,
    SCORE_STREAM,
    SERVING,
    AsyncTransport,
)

__all__ = ["AsyncScoringClient"]


class AsyncScoringClient(BaseClient):
    """Scores images behind defences without blocking; bound to the event loop of its first call.

    Example:
        async with AsyncScoringClient("localhost:50051") as client:
            answer = await client.score("photo.png", metric="lite", defences="jpeg:quality=50")

    The methods, their arguments and their errors are those of `ScoringClient`.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        config: ConnectionConfig = DEFAULT_CONFIG,
        *,
        transport: AsyncTransport | None = None,
    ) -> None:
        """Set up the client; the connection opens on the first call.

        Args:
            target: `host:port` of the server, or `local:PATH` to run a model store in this process.
            config: time limits, retries, sizes, and how to connect.
            transport: carries the calls instead; `target` is then the transport's.

        Raises:
            ConfigurationError: the target is neither, or does not fit the options.
        """
        super().__init__(target if transport is None else transport.target, config, transport)
        self._calls = AsyncCalls(transport or async_transport_to(self._target, config), config.retry)

    async def __aenter__(self) -> AsyncScoringClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection; calls in progress are cancelled."""
        await self._calls.close()

    async def score(
        self,
        image: ImageLike,
        *,
        metric: str,
        defences: DefencesLike = "",
        seed: int | None = None,
        return_undefended: bool = False,
        return_purified: bool = False,
        purified_format: PurifiedFormat = "float32",
        smoothing: Smoothing | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> Score:
        """Purify one image and score the result; see `ScoringClient.score`."""
        request = ScoreRequest(
            image=image,
            metric=metric,
            defences=defences,
            seed=seed,
            return_undefended=return_undefended,
            return_purified=return_purified,
            purified_format=purified_format,
            smoothing=smoothing,
            request_id=request_id,
        )
        return to_score(await self._calls.unary(SCORE, request.to_message(), self._deadline(timeout)))

    async def score_prepared(self, prepared: PreparedScore, *, timeout: float | None = None) -> Score:
        """Send a request that is already encoded, including its seed."""
        return to_score(await self._calls.unary(SCORE, prepared.payload, self._deadline(timeout)))

    async def score_batch(
        self,
        items: Iterable[ImageLike | ScoreRequest],
        *,
        metric: str = "",
        defences: DefencesLike = "",
        seed: int | None = None,
        return_undefended: bool = False,
        return_purified: bool = False,
        smoothing: Smoothing | None = None,
        layout: Layout | None = None,
        timeout: float | None = None,
    ) -> list[Outcome]:
        """Score many images in few calls; see `ScoringClient.score_batch`."""
        options = SharedOptions(
            metric=metric,
            defences=defences,
            seed=seed,
            return_undefended=return_undefended,
            return_purified=return_purified,
            smoothing=smoothing,
        )
        images = items_of(items, layout)
        plan = BatchPlan(map(options.request_of, images), self._config.max_message_bytes)
        for batch in plan.batches():
            await self._score_all_of(batch, plan, self._deadline(timeout))
        return plan.outcomes()

    async def score_stream(
        self,
        items: Iterable[ImageLike | ScoreRequest] | AsyncIterable[ImageLike | ScoreRequest],
        *,
        metric: str = "",
        defences: DefencesLike = "",
        seed: int | None = None,
        return_undefended: bool = False,
        return_purified: bool = False,
        smoothing: Smoothing | None = None,
        layout: Layout | None = None,
        timeout: float | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """Score a sequence of any length over one stream; see `ScoringClient.score_stream`.

        The items may come from an ordinary or an asynchronous iterable; an ordinary one is read on the event loop.
        """
        options = SharedOptions(
            metric=metric,
            defences=defences,
            seed=seed,
            return_undefended=return_undefended,
            return_purified=return_purified,
            smoothing=smoothing,
        )
        images = items_of(items, layout)
        order = StreamOrder()
        messages = _encode(images, options, order)
        async for response in self._calls.stream(SCORE_STREAM, messages, self._stream_deadline(timeout)):
            for outcome, again in order.take(response):
                yield outcome if again is None else await self._score_again(outcome, again)
        for outcome in order.finish():
            yield outcome

    async def score_clip(
        self,
        clip: ClipLike | AsyncIterable[ImageLike],
        *,
        metric: str,
        defences: DefencesLike = "",
        seed: int | None = None,
        draw: ClipDraw = "clip",
        every: int = 1,
        limit: int = 0,
        return_undefended: bool = False,
        layout: Layout | None = None,
        request_id: str = "",
        timeout: float | None = None,
    ) -> ClipScore:
        """Score a clip; see `ScoringClient.score_clip`. Frames may come from an asynchronous iterable too."""
        options = ClipOptions(
            metric=metric,
            defences=defences,
            seed=seed,
            draw=draw,
            every=every,
            limit=limit,
            return_undefended=return_undefended,
            request_id=request_id,
        )
        sender = ClipSender(clip, options, layout)
        responses = self._calls.stream(SCORE_CLIP, sender.async_messages(), self._stream_deadline(timeout))
        return sender.score([response async for response in responses])

    async def purify(
        self,
        image: ImageLike,
        defences: DefencesLike,
        *,
        metric: str = "",
        seed: int | None = None,
        purified_format: PurifiedFormat = "float32",
        request_id: str = "",
        timeout: float | None = None,
    ) -> Purified:
        """Purify one image, unscored; see `ScoringClient.purify`."""
        request = purify_request(
            image, defences, metric=metric, seed=seed, purified_format=purified_format, request_id=request_id
        )
        return to_purified(await self._calls.unary(PURIFY, request, self._deadline(timeout)))

    async def gradient(
        self,
        image: ImageLike,
        *,
        metric: str,
        defences: DefencesLike = "",
        seed: int | None = None,
        rounding: Rounding = Rounding.STRAIGHT_THROUGH,
        request_id: str = "",
        timeout: float | None = None,
    ) -> Gradient:
        """The score and its derivative; see `ScoringClient.gradient`."""
        request = gradient_request(
            image, metric, defences=defences, seed=seed, request_id=request_id, rounding=rounding
        )
        return to_gradient(await self._calls.unary(GRADIENT, request, self._deadline(timeout)))

    async def list_metrics(self, *, timeout: float | None = None) -> Catalogue:
        """List what is deployed: metrics, ranges, defences, parameters, digests."""
        return to_catalogue(await self._calls.unary(LIST_METRICS, ListMetricsRequest(), self._deadline(timeout)))

    async def wait_ready(self, timeout: float = READY_TIMEOUT_SECONDS) -> None:
        """Return as soon as the server can score.

        Raises:
            UnavailableError: it still cannot after `timeout` seconds.
        """
        wait = ReadyWait(self._target, timeout)
        while not await self._is_serving(wait.left()):
            await asyncio.sleep(wait.PAUSE_SECONDS)

    async def _score_all_of(self, batch: Batch, plan: BatchPlan, seconds: float) -> None:
        """Send a batch, then resend the items that were temporarily refused."""
        retries = Retries(self._config.retry, seconds)
        pause: float | None = 0.0
        while batch.indices and pause is not None:
            await self._calls.pause(pause)
            batch = plan.fill(batch, await self._calls.unary(SCORE_BATCH, batch.message, retries.left))
            pause = retries.pause_after(plan.first_error(batch)) if batch.indices else None

    async def _score_again(self, outcome: Outcome, request: ScoreDefendedRequest) -> Outcome:
        """Resend one temporarily refused item of a stream as a separate call."""
        retries = Retries(self._config.retry, self._config.timeout_seconds)
        if (pause := retries.pause_after(outcome)) is None:
            return outcome
        await self._calls.pause(pause)
        try:
            return sent_again(to_score(await self._calls.unary(SCORE, request, retries.left)), 1)
        except ServerError as error:
            return error

    async def _is_serving(self, timeout: float) -> bool:
        try:
            return (await self._calls.unary(HEALTH, HEALTH_REQUEST, timeout)).value == SERVING
        except ServerError as error:
            if ReadyWait.is_transient(error):
                return False
            raise


Item: TypeAlias = ImageLike | ScoreRequest


async def _encode(
    items: Iterable[Item] | AsyncIterable[Item], options: SharedOptions, order: StreamOrder
) -> AsyncIterator[ScoreDefendedStreamRequest]:
    try:
        async for item in _as_async(items):
            message = order.encode(options.request_of(item))
            if message is not None:
                yield message
    except Exception as error:  # Any error of the caller's own iterator goes back to the caller.
        order.failure = error


async def _as_async(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
