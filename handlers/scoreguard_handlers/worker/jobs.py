"""A piece of work, checked and decoded: ready for the chain."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial

from scoreguard.chain.randomness import SEED_BITS
from scoreguard.chain.resolve import ResolvedStep
from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1.scoring_pb2 import Precision, ScoreDefendedRequest
from scoreguard.v1.spec import format_chain
from scoreguard.v1.worker_pb2 import PoolRequest
from scoreguard_handlers.errors import InvalidRequestError
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.images import decode
from scoreguard_handlers.worker.pieces import Piece
from scoreguard_handlers.worker.request_check import Request, RequestChecker, smoothing_of

DECODE_STAGE = "decode"


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """One image on its way through the chain."""

    index: int
    """Index of the item in the call."""
    request: Request
    """The request, without the image's bytes."""
    steps: tuple[ResolvedStep, ...]
    seed: int
    """The caller's seed, or one drawn here."""
    smoothing: Smoothing | None
    """The smoothing; None = the chain runs once."""
    precision: Precision.ValueType
    """Whether the image's values were 8-bit integers or floats."""
    decoder: str
    """Library that decoded it; empty for a raw tensor."""
    shape: tuple[int, ...]
    """(3, H, W)."""
    frame: bool
    """Whether its features are wanted beside its score."""
    deadline: Deadline
    decode_milliseconds: float
    _planes: list[Array]

    def take_planes(self) -> Array:
        """Return (3, H, W) in [0, 1], once: the job keeps no reference, so the values can be freed early."""
        return self._planes.pop()

    @property
    def has_planes(self) -> bool:
        """Whether the values have not been taken yet."""
        return bool(self._planes)

    @property
    def group(self) -> Hashable:
        """Return the group: jobs with equal groups may run as one batch."""
        if self.smoothing is not None:
            return self  # its noisy copies already form a batch
        wants = self.request.return_undefended_score if isinstance(self.request, ScoreDefendedRequest) else False
        return (type(self.request).__name__, self.shape, format_chain(s.step for s in self.steps), wants, self.frame)


def prepare(piece: Piece, index: int, checker: RequestChecker, *, max_pixels: int, gone: Callable[[int], bool]) -> Job:
    """Check, resolve and decode one piece of work; `gone` tells from its id whether its caller has left.

    Raises:
        ServingError: the piece is wrong, too large, or too late.
    """
    deadline = deadline_of(piece, gone)
    deadline.check(DECODE_STAGE)
    if piece.request is None or isinstance(piece.request.head, PoolRequest):
        raise InvalidRequestError("the piece of work is empty: set score, purify or gradient")
    request = piece.request.head
    steps = checker.check(request)
    started = time.perf_counter()
    image = decode(request.image, piece.request.image, max_pixels=max_pixels, deadline=deadline)
    planes = image.planes()
    return Job(
        index=index,
        request=request,
        steps=steps,
        seed=request.seed if request.HasField("seed") else secrets.randbits(SEED_BITS),
        smoothing=smoothing_of(request),
        precision=image.precision,
        decoder=image.decoder,
        shape=planes.shape,
        frame=piece.request.frame,
        deadline=deadline,
        decode_milliseconds=(time.perf_counter() - started) * 1000,
        _planes=[planes],
    )


def deadline_of(piece: Piece, gone: Callable[[int], bool]) -> Deadline:
    """Return when a piece of work is no longer needed; `gone` tells from its id whether its caller has left."""
    return Deadline(piece.deadline_unix_seconds, partial(gone, piece.id) if piece.id else None)


def latest_deadline(jobs: Sequence[Job]) -> Deadline:
    """Return the deadline after which none of the jobs is needed."""
    moments = [job.deadline.unix_seconds for job in jobs]
    left = [job.deadline.gone for job in jobs]
    gone = None if None in left else lambda: all(each() for each in left if each is not None)
    return Deadline(0.0 if 0 in moments else max(moments), gone)
