"""Answer a request to pool the features of a clip's frames."""

from __future__ import annotations

import numpy as np

from scoreguard.v1.scoring_pb2 import StageTiming
from scoreguard.v1.worker_pb2 import PoolRequest, WorkResult
from scoreguard_handlers.errors import InvalidRequestError
from scoreguard_handlers.worker.answers import ProvenanceContext
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.chain import POOL_STAGE, Chain
from scoreguard_handlers.worker.deadline import Deadline


def pool(
    chain: Chain, request: PoolRequest, deadline: Deadline, answer: WorkResult, context: ProvenanceContext
) -> None:
    """Write the score of a clip.

    Raises:
        InvalidRequestError: the metric is none of videos, or the features are not those of so many frames.
        ServingError: the graph failed, or the deadline passed.
    """
    deadline.check(POOL_STAGE)
    artifact = context.archive.manifest.metric
    if not artifact.HasField("pool"):
        raise InvalidRequestError(f"metric {artifact.facts.name!r} pools no frames: it is one of images")
    score, timings = chain.pool(_features(request, artifact.frame_numbers), deadline)
    answer.pool.score = score
    answer.pool.sha256 = context.digest(artifact.pool)
    answer.pool.timings.extend(StageTiming(stage=name, milliseconds=ms) for name, ms in timings.milliseconds.items())


def _features(request: PoolRequest, numbers: int) -> Array:
    """Return (1, T, numbers)."""
    if request.frames < 1 or len(request.features) != 4 * request.frames * numbers:
        raise InvalidRequestError(
            f"{len(request.features)} bytes are not the features of {request.frames} frames of {numbers} float32 each"
        )
    values: Array = np.frombuffer(request.features, "<f4").astype(np.float32).reshape(1, request.frames, numbers)
    return values
