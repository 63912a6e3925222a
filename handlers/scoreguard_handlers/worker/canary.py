"""The canary: images in the archive with the scores that a correct server gives them."""

from __future__ import annotations

from typing import Final

from scoreguard.chain.devices import CPU, DEVICE_FACTOR
from scoreguard.chain.numerics import FP16
from scoreguard.v1.archive import Archive
from scoreguard.v1.errors import IntegrityError
from scoreguard.v1.manifest_pb2 import GoldenVector
from scoreguard.v1.scoring_pb2 import Computation, Image, ScoreDefendedRequest
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkerResponse
from scoreguard_handlers.worker.pieces import Piece
from scoreguard_handlers.worker.received import Received

_HALF_SLACK: Final = 2.0
"""The declared error is the largest of some images; another one may be off by this many times as much."""


def golden_piece(archive: Archive, golden: GoldenVector, deadline_unix_seconds: float = 0.0) -> Piece:
    """Return the piece of work that scores a golden vector."""
    request = ScoreDefendedRequest(
        image=Image(encoded=archive.read(golden.image)),
        metric=archive.name,
        defences=[step.to_message() for step in parse_chain(golden.defences)],
        seed=golden.seed,
    )
    return Piece(request=Received.of(request), deadline_unix_seconds=deadline_unix_seconds)


def _slack(archive: Archive, golden: GoldenVector, computation: Computation) -> float:
    """Return how much further than on the CPU in single precision a score may be off."""
    slack = 0.0
    if computation.device not in ("", CPU):
        slack += (DEVICE_FACTOR - 1.0) * golden.tolerance
    if computation.precision == FP16:
        slack += _HALF_SLACK * archive.manifest.metric.graphs.half.max_abs_error
    return slack


def check_golden(archive: Archive, golden: GoldenVector, response: WorkerResponse) -> None:
    """Compare an answer with the score recorded at export.

    Raises:
        IntegrityError: the score differs, or there is none.
    """
    chain = golden.defences or "no defence"
    result = response.results[0] if response.results else None
    if result is None or result.WhichOneof("result") != "score":
        why = "no answer" if result is None else result.status.message
        raise IntegrityError(f"{archive.name}: the canary behind {chain} was not scored: {why}")
    score = result.score.score
    allowed = golden.tolerance + _slack(archive, golden, result.score.provenance.computation)
    if not abs(score - golden.score) <= allowed:
        raise IntegrityError(f"{archive.name}: the canary behind {chain} scored {score:.6g}, not {golden.score:.6g}")
