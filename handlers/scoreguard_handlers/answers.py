"""From what the chain gave to the response of one item."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import numpy as np

from scoreguard.v1.archive import Archive
from scoreguard.v1.codec import to_tensor
from scoreguard.v1.manifest_pb2 import GraphFiles
from scoreguard.v1.resolve import ResolvedStep
from scoreguard.v1.scoring_pb2 import (
    PURIFIED_FORMAT_PNG,
    Certificate,
    Image,
    Provenance,
    PurifiedFormat,
    PurifyRequest,
    PurifyResponse,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
    ScoreGradientResponse,
    StageTiming,
    StepProvenance,
)
from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.arrays import Array
from scoreguard_handlers.chain import ChainResult
from scoreguard_handlers.jobs import DECODE_STAGE, Job
from scoreguard_handlers.pictures import encode_png


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What produced the numbers of one call: the part of the provenance that its items share."""

    archive: Archive
    engine: str
    threads: int
    torchscript: bool = False
    """Whether the TorchScript graphs ran, not the ONNX ones."""

    def provenance(self, job: Job) -> Provenance:
        """Enough to repeat the answer to one job."""
        height, width = job.planes.shape[1:]
        return Provenance(
            metric_sha256=self._digest(self.archive.manifest.metric.graphs),
            steps=[self._step(step) for step in job.steps],
            engine=self.engine,
            threads=self.threads,
            seed=job.seed,
            precision=job.picture.precision,
            decoder=job.picture.decoder,
            height=height,
            width=width,
        )

    def _step(self, step: ResolvedStep) -> StepProvenance:
        return StepProvenance(step=step.step.to_message(), sha256=self._digest(step.variant.graphs))

    def _digest(self, graphs: GraphFiles) -> str:
        return self.archive.digest_of(graphs.torchscript if self.torchscript else graphs.onnx)


def answer_score(job: Job, result: ChainResult, place: int, origin: Origin) -> WorkResult:
    """Response to a score request; `place` is the job's place in the batch."""
    request = cast(ScoreDefendedRequest, job.request)
    response = ScoreDefendedResponse(
        score=float(result.scores[place]),
        timings=stage_timings(job, result.timings.milliseconds, len(result.scores)),
        provenance=origin.provenance(job),
        request_id=request.request_id,
        higher_is_better=origin.archive.manifest.metric.facts.higher_is_better,
    )
    if result.undefended is not None:
        response.undefended_score = float(result.undefended[place])
    if request.return_purified_image:
        response.purified_image.CopyFrom(purified_image(result.purified[place], request.purified_format))
    return WorkResult(score=response)


def answer_smoothed(job: Job, result: ChainResult, certificate: Certificate, origin: Origin) -> WorkResult:
    """Response to a score request with smoothing."""
    answer = answer_score(job, result, 0, origin)
    answer.score.certificate.CopyFrom(certificate)
    return answer


def answer_purify(job: Job, result: ChainResult, place: int, origin: Origin) -> WorkResult:
    """Response to a purify request; `place` is the job's place in the batch."""
    request = cast(PurifyRequest, job.request)
    response = PurifyResponse(
        purified_image=purified_image(result.purified[place], request.purified_format),
        timings=stage_timings(job, result.timings.milliseconds, len(result.purified)),
        provenance=origin.provenance(job),
        request_id=request.request_id,
    )
    return WorkResult(purify=response)


def answer_gradient(job: Job, score: float, gradient: Array, milliseconds: float, origin: Origin) -> WorkResult:
    """Response to a gradient request; `gradient` is (3, H, W)."""
    response = ScoreGradientResponse(
        score=score,
        gradient=to_tensor(np.ascontiguousarray(gradient.transpose(1, 2, 0))),
        timings=stage_timings(job, {"gradient": milliseconds}, 1),
        provenance=origin.provenance(job),
        request_id=job.request.request_id,
    )
    return WorkResult(gradient=response)


def stage_timings(job: Job, stages: Mapping[str, float], batch: int) -> list[StageTiming]:
    """Time of each stage; one that ran for a batch counts its share."""
    shares = {stage: milliseconds / batch for stage, milliseconds in stages.items()}
    return [
        StageTiming(stage=stage, milliseconds=spent)
        for stage, spent in {DECODE_STAGE: job.decode_milliseconds, **shares}.items()
    ]


def purified_image(planes: Array, form: PurifiedFormat.ValueType) -> Image:
    """(3, H, W) in the form that the caller asked for."""
    values = np.ascontiguousarray(planes.transpose(1, 2, 0))
    if form == PURIFIED_FORMAT_PNG:
        return Image(encoded=encode_png(values))
    return Image(tensor=to_tensor(values))
