"""Score a clip: its frames as ordinary pieces of work, a few at a time, then one piece that pools them."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import aclosing
from typing import Final

from google.rpc import status_pb2

from scoreguard.chain.clips import Sampling
from scoreguard.chain.randomness import SEED_BITS
from scoreguard.service import StatusError
from scoreguard.v1.scoring_pb2 import (
    CLIP_DRAW_EACH_FRAME,
    CLIP_DRAW_ONCE,
    POOLING_MEAN,
    POOLING_TEMPORAL,
    ClipDraw,
    ClipHeader,
    ScoreClipResponse,
    ScoreDefendedRequest,
)
from scoreguard.v1.worker_pb2 import PoolRequest, WorkResult
from scoreguard_handlers.config import ServeConfig
from scoreguard_handlers.errors import InvalidRequestError, ServingError
from scoreguard_handlers.gateway.calls import Caller, in_order, status_of
from scoreguard_handlers.gateway.clip_frames import ClipFrame, Parts, clip_frames
from scoreguard_handlers.gateway.clip_parts import ClipPart, frame_request
from scoreguard_handlers.gateway.clip_tally import ClipTally, Track
from scoreguard_handlers.gateway.messages import Unreadable
from scoreguard_handlers.gateway.outcomes import succeeded
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.worker.catalogue import Deployment
from scoreguard_handlers.worker.request_check import check_counts

_ATTEMPTS: Final = 5
"""How often a frame is queued that is refused for a moment: a full queue must not end a clip of an hour."""


class ClipScorer:
    """Scores the clips of one service."""

    def __init__(self, router: RequestRouter, config: ServeConfig) -> None:
        self._router, self._config = router, config

    async def score(self, first: ClipPart | Unreadable | None, parts: Parts, caller: Caller) -> ScoreClipResponse:
        """Score a clip; `first` is its first message, `parts` are the others.

        Raises:
            ServingError: the clip is none, is too large, or cannot be decoded.
            StatusError: a frame was not scored; the message names it.
        """
        head = header_of(first)
        deployment = self._checked(head)
        seed = head.seed if head.HasField("seed") else secrets.randbits(SEED_BITS)
        tally = await self._tally(head, seed, parts, caller)
        if not tally.frames:
            raise InvalidRequestError("the clip has no frame: send frames, or the bytes of a video", field="frame")
        pool = _Pool(self._router, deployment, tally, caller)
        score = await pool.score(tally.purified)
        undefended = await pool.score(tally.undefended) if head.return_undefended_score else None
        response = tally.response(seed)
        response.score, response.pool_sha256 = score, pool.sha256
        if undefended is not None:
            response.undefended_score = undefended
        response.pooling = POOLING_TEMPORAL if pool.is_temporal else POOLING_MEAN
        response.draw = head.draw or CLIP_DRAW_ONCE
        return response

    def _checked(self, head: ClipHeader) -> Deployment:
        """Find the metric, and refuse a header that no frame could be scored with."""
        check_counts(ScoreDefendedRequest(metric=head.metric, defences=head.defences, request_id=head.request_id))
        if head.draw not in {0, CLIP_DRAW_ONCE, CLIP_DRAW_EACH_FRAME}:
            known = ", ".join(ClipDraw.keys()[1:])
            raise InvalidRequestError(f"draw is {head.draw}, and none of {known}", field="header.draw")
        deployment = self._router.catalogue.find(head.metric)
        deployment.checker.resolve(head.defences)
        return deployment

    async def _tally(self, head: ClipHeader, seed: int, parts: Parts, caller: Caller) -> ClipTally:
        tally = ClipTally()
        window = min(self._config.clips.frames_at_once, self._router.window)

        async def one(frame: ClipFrame) -> tuple[int, WorkResult]:
            try:
                return frame.index, await self._frame(head, seed, frame, caller)
            except Exception as error:
                raise StatusError(_named(status_of(error), frame.index)) from error

        frames = clip_frames(parts, Sampling.of(head.sampling), self._config.clips, self._config.max_pixels)
        async with aclosing(frames), aclosing(in_order(frames, one, window)) as results:
            async for index, result in results:
                tally.add(index, result)
        return tally

    async def _frame(self, head: ClipHeader, seed: int, frame: ClipFrame, caller: Caller) -> WorkResult:
        request, attempts = frame_request(head, frame.image, frame.index, seed), 1
        while True:
            try:
                return succeeded(await self._router.route(request, caller.seconds_left, caller=caller.name))
            except ServingError as error:
                pause, left = error.retry_after_seconds, caller.seconds_left
                if pause is None or attempts == _ATTEMPTS or (left is not None and left <= pause):
                    raise
            attempts += 1
            await asyncio.sleep(pause)


class _Pool:
    """Makes the score of a clip from its frames."""

    def __init__(self, router: RequestRouter, deployment: Deployment, tally: ClipTally, caller: Caller) -> None:
        self._router, self._tally, self._caller = router, tally, caller
        self._metric = deployment.archive.name
        self.is_temporal = deployment.manifest.metric.HasField("pool")
        self.sha256 = ""
        """Digest of the graph that pooled; empty for a mean."""

    async def score(self, track: Track) -> float:
        """Return the score of the clip, behind the defences or without them."""
        if not self.is_temporal:
            return track.mean
        request = PoolRequest(features=bytes(track.features), frames=len(track.scores))
        result = await self._router.pool(self._metric, request, self._caller.seconds_left, caller=self._caller.name)
        pooled = succeeded(result).pool
        self.sha256 = pooled.sha256
        self._tally.count(pooled.timings)
        return pooled.score


def header_of(part: ClipPart | Unreadable | None) -> ClipHeader:
    """Return the header of a clip, which is its first message.

    Raises:
        ServingError: it is not.
    """
    if isinstance(part, Unreadable):
        raise part.error
    if part is None or part.header is None:
        came = "nothing" if part is None else part.kind
        raise InvalidRequestError(f"a clip begins with its header, and {came} came first", field="header")
    return part.header


def _named(status: status_pb2.Status, index: int) -> status_pb2.Status:
    """Say in a status which frame it is about."""
    named = status_pb2.Status()
    named.CopyFrom(status)
    named.message = f"frame {index}: {status.message}"
    return named
