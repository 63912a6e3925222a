"""The blocking client."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from types import TracebackType

from scoreguard.chain.rounding import Rounding
from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1.scoring_pb2 import ListMetricsRequest, ScoreDefendedRequest, ScoreDefendedStreamRequest
from scoreguard_client._base import DEFAULT_TARGET, READY_TIMEOUT_SECONDS, BaseClient, ReadyWait
from scoreguard_client._batches import Layout, items_of
from scoreguard_client._calls import Calls
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
from scoreguard_client._transports import transport_to
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
    Transport,
)

__all__ = ["ScoringClient"]


class ScoringClient(BaseClient):
    """Scores images behind defences, one blocking call at a time; safe to share between threads.

    Example:
        with ScoringClient("localhost:50051") as client:
            print(client.score("photo.png", metric="lite", defences="jpeg:quality=50").score)

    Every method has a deadline (`timeout` in seconds, or the config's) and raises `ServerError` or a subclass when
    the server or the connection refuses. A call that is temporarily refused (UNAVAILABLE, or a full queue that says
    when to come back) is resent with the same seed until its deadline, and so is such an item of a batch or stream.
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        config: ConnectionConfig = DEFAULT_CONFIG,
        *,
        transport: Transport | None = None,
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
        self._calls = Calls(transport or transport_to(self._target, config), config.retry)

    def __enter__(self) -> ScoringClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in progress are cancelled."""
        self._calls.close()

    def score(
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
        """Purify one image and score the result.

        Args:
            image: (height, width, 3) RGB array (uint8, or float in [0, 1]), torch tensor of that shape or
                (3, height, width), Pillow image, path, or a file's bytes.
            metric: name of a deployed metric.
            defences: the chain, for example `jpeg:quality=50+flip`; empty = undefended.
            seed: of random defences; None = drawn by the client and reported in the provenance.
            return_undefended: also score the image without the defences.
            return_purified: also return the purified image.
            purified_format: how it travels: `float32` is what the metric scored, 12 bytes a pixel; `png` is rounded to
                8 bits and several times smaller.
            smoothing: score noisy copies instead, and return the median with its certificate. This costs as much as
                scoring that many images: allow time for it.
            request_id: your name for the request; returned unchanged.
            timeout: seconds; None = the config's.

        Raises:
            ImageError: the image cannot be sent.
            ServerError: the request was refused, or the server cannot be reached.
        """
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
        return to_score(self._calls.unary(SCORE, request.to_message(), self._deadline(timeout)))

    def score_prepared(self, prepared: PreparedScore, *, timeout: float | None = None) -> Score:
        """Send a request that is already encoded, including its seed."""
        return to_score(self._calls.unary(SCORE, prepared.payload, self._deadline(timeout)))

    def score_batch(
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
        """Score many images in few calls; one bad item never fails the others.

        Args:
            items: images, which take the options below, or `ScoreRequest`s with their own options; or one array or
                torch tensor of the whole batch, (N, height, width, 3) or (N, 3, height, width).
            metric: as in `score`.
            defences: as in `score`.
            seed: the same for every image; None = a separate seed for each.
            return_undefended: as in `score`.
            return_purified: as in `score`.
            smoothing: as in `score`.
            layout: `NHWC` or `NCHW`, needed if the shape of one array of all images fits both.
            timeout: seconds for each call; requests above `max_message_bytes` are split over several calls.

        Returns:
            For each item, in order, its `Score` or its error (returned, not raised).

        Raises:
            ImageError: a single image is given instead of a list, or a batch of another shape.
            ServerError: a whole call failed.
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
        plan = BatchPlan(map(options.request_of, images), self._config.max_message_bytes)
        for batch in plan.batches():
            self._score_all_of(batch, plan, self._deadline(timeout))
        return plan.outcomes()

    def score_stream(
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
    ) -> Generator[Outcome, None, None]:
        """Score a sequence of any length over one stream; answers come in the order of the items.

        The items are read in a separate thread, as fast as the server takes them.

        Args:
            items: as in `score_batch`.
            metric: as in `score`.
            defences: as in `score`.
            seed: as in `score_batch`.
            return_undefended: as in `score`.
            return_purified: as in `score`.
            smoothing: as in `score`.
            layout: as in `score_batch`.
            timeout: seconds for the whole stream; None = the config's `stream_timeout_seconds`.

        Yields:
            For each item its `Score` or its error (yielded, not raised).

        Raises:
            ImageError: a single image is given instead of a sequence, or a batch of another shape.
            ServerError: the stream broke.
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
        for response in self._calls.stream(SCORE_STREAM, messages, self._stream_deadline(timeout)):
            for outcome, again in order.take(response):
                yield outcome if again is None else self._score_again(outcome, again)
        yield from order.finish()

    def score_clip(
        self,
        clip: ClipLike,
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
        """Score a clip of any length: the frames of a video file, which the server decodes, or images in order.

        Args:
            clip: path or bytes of a video; an image, which is a clip of one frame; or the frames.
            metric: name of a deployed metric; one of videos pools the frames itself, any other gives their mean.
            defences: as in `score`, applied to each frame.
            seed: as in `score`.
            draw: how often random defences draw: once a `clip`, or once a `frame`.
            every: score frames 0, every, 2 * every, and so on.
            limit: score at most this many frames; 0 = all.
            return_undefended: also score the clip without the defences.
            layout: as in `score_batch`.
            request_id: as in `score`.
            timeout: seconds for the whole clip; None = the config's `stream_timeout_seconds`.
        """
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
        responses = self._calls.stream(SCORE_CLIP, sender.messages(), self._stream_deadline(timeout))
        return sender.score(list(responses))

    def purify(
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
        """Purify one image, unscored.

        Args:
            image: as in `score`.
            defences: the chain; at least one.
            metric: whose archive holds the defences; empty = any that holds them all.
            seed: as in `score`.
            purified_format: as in `score`.
            request_id: as in `score`.
            timeout: seconds; None = the config's.
        """
        request = purify_request(
            image, defences, metric=metric, seed=seed, purified_format=purified_format, request_id=request_id
        )
        return to_purified(self._calls.unary(PURIFY, request, self._deadline(timeout)))

    def gradient(
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
        """Compute the score and its derivative with respect to the image, through the whole chain.

        Args:
            image: as in `score`.
            metric: name of a deployed metric.
            defences: the chain to differentiate through; empty = undefended.
            seed: as in `score`.
            rounding: the derivative to use for the rounding in `jpeg` and `quantise`.
            request_id: as in `score`.
            timeout: seconds; None = the config's.

        Raises:
            UnsupportedError: the server does not serve gradients.
        """
        request = gradient_request(
            image, metric, defences=defences, seed=seed, request_id=request_id, rounding=rounding
        )
        return to_gradient(self._calls.unary(GRADIENT, request, self._deadline(timeout)))

    def list_metrics(self, *, timeout: float | None = None) -> Catalogue:
        """List what is deployed: metrics, ranges, defences, parameters, digests."""
        return to_catalogue(self._calls.unary(LIST_METRICS, ListMetricsRequest(), self._deadline(timeout)))

    def wait_ready(self, timeout: float = READY_TIMEOUT_SECONDS) -> None:
        """Return as soon as the server can score.

        Raises:
            UnavailableError: it still cannot after `timeout` seconds.
        """
        wait = ReadyWait(self._target, timeout)
        while not self._is_serving(wait.left()):
            time.sleep(wait.PAUSE_SECONDS)

    def _score_all_of(self, batch: Batch, plan: BatchPlan, seconds: float) -> None:
        """Send a batch, then resend the items that were temporarily refused."""
        retries = Retries(self._config.retry, seconds)
        pause: float | None = 0.0
        while batch.indices and pause is not None:
            self._calls.pause(pause)
            batch = plan.fill(batch, self._calls.unary(SCORE_BATCH, batch.message, retries.left))
            pause = retries.pause_after(plan.first_error(batch)) if batch.indices else None

    def _score_again(self, outcome: Outcome, request: ScoreDefendedRequest) -> Outcome:
        """Resend one temporarily refused item of a stream as a separate call."""
        retries = Retries(self._config.retry, self._config.timeout_seconds)
        if (pause := retries.pause_after(outcome)) is None:
            return outcome
        self._calls.pause(pause)
        try:
            return sent_again(to_score(self._calls.unary(SCORE, request, retries.left)), 1)
        except ServerError as error:
            return error

    def _is_serving(self, timeout: float) -> bool:
        try:
            return self._calls.unary(HEALTH, HEALTH_REQUEST, timeout).value == SERVING
        except ServerError as error:
            if ReadyWait.is_transient(error):
                return False
            raise


def _encode(
    items: Iterable[ImageLike | ScoreRequest], options: SharedOptions, order: StreamOrder
) -> Iterator[ScoreDefendedStreamRequest]:
    try:
        for item in items:
            message = order.encode(options.request_of(item))
            if message is not None:
                yield message
    except Exception as error:  # Any error of the caller's own iterator goes back to the caller.
        order.failure = error
