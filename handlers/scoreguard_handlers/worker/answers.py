"""Build the response to one item from the chain's output, in the message that will be sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from scoreguard.chain.resolve import ResolvedStep
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import GraphFiles
from scoreguard.v1.scoring_pb2 import (
    DATA_TYPE_FLOAT32,
    PURIFIED_FORMAT_PNG,
    Certificate,
    Computation,
    Image,
    Provenance,
    PurifiedFormat,
    PurifyRequest,
    ScoreDefendedRequest,
    StageTiming,
    StepProvenance,
    Tensor,
)
from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.call import ChainResult
from scoreguard_handlers.worker.images import encode_png
from scoreguard_handlers.worker.jobs import DECODE_STAGE, Job


@dataclass(frozen=True, kw_only=True)
class ProvenanceContext:
    """The part of the provenance that all items of one call share."""

    archive: Archive
    engine: str
    threads: int
    computation: Computation
    torchscript: bool = False
    """Whether the TorchScript graphs ran instead of the ONNX ones."""

    def of_batch(self, images: int) -> ProvenanceContext:
        """Return the same for a batch of so many images."""
        return replace(self, computation=_of_batch(self.computation, images))

    def provenance(self, job: Job) -> Provenance:
        """Return the provenance of one job: enough to reproduce its answer."""
        height, width = job.shape[1:]
        return Provenance(
            metric_sha256=self.digest(self._metric(job)),
            steps=[self._step(step) for step in job.steps],
            engine=self.engine,
            threads=self.threads,
            seed=job.seed,
            precision=job.precision,
            decoder=job.decoder,
            height=height,
            width=width,
            computation=self.computation,
        )

    def _metric(self, job: Job) -> GraphFiles:
        artifact = self.archive.manifest.metric
        return artifact.frame if job.frame and artifact.HasField("frame") else artifact.graphs

    def _step(self, step: ResolvedStep) -> StepProvenance:
        return StepProvenance(step=step.step.to_message(), sha256=self.digest(step.variant.graphs))

    def digest(self, graphs: GraphFiles) -> str:
        """Return the digest of the form of a graph that runs."""
        return self.archive.digest_of(graphs.torchscript if self.torchscript else graphs.onnx)


def _of_batch(computation: Computation, images: int) -> Computation:
    made = Computation(batch=images)
    made.MergeFrom(computation)
    return made


def write_score(answer: WorkResult, job: Job, result: ChainResult, index: int, context: ProvenanceContext) -> None:
    """Write the response to a score request; `index` is the job's index in the batch."""
    request = cast(ScoreDefendedRequest, job.request)
    response = answer.score
    response.score = float(result.scores[index])
    response.timings.extend(stage_timings(job, result.timings.milliseconds, len(result.scores)))
    response.provenance.CopyFrom(context.provenance(job))
    response.request_id = request.request_id
    response.higher_is_better = context.archive.manifest.metric.facts.higher_is_better
    if result.undefended is not None:
        response.undefended_score = float(result.undefended[index])
    for name, features in (("purified", result.features), ("undefended", result.undefended_features)):
        if features is not None:
            setattr(answer.features, name, features[index].astype("<f4", copy=False).tobytes())
    if request.return_purified_image:
        write_image(response.purified_image, result.purified[index], request.purified_format)


def write_smoothed(
    answer: WorkResult, job: Job, result: ChainResult, certificate: Certificate, context: ProvenanceContext
) -> None:
    """Write the response to a score request with smoothing."""
    write_score(answer, job, result, 0, context)
    answer.score.certificate.CopyFrom(certificate)


def write_purified(answer: WorkResult, job: Job, result: ChainResult, index: int, context: ProvenanceContext) -> None:
    """Write the response to a purify request; `index` is the job's index in the batch."""
    request = cast(PurifyRequest, job.request)
    response = answer.purify
    response.timings.extend(stage_timings(job, result.timings.milliseconds, len(result.purified)))
    response.provenance.CopyFrom(context.provenance(job))
    response.request_id = request.request_id
    write_image(response.purified_image, result.purified[index], request.purified_format)


def write_gradient(
    answer: WorkResult, job: Job, score: float, gradient: Array, milliseconds: float, context: ProvenanceContext
) -> None:
    """Write the response to a gradient request; `gradient` is (3, H, W)."""
    response = answer.gradient
    response.score = score
    response.timings.extend(stage_timings(job, {"gradient": milliseconds}, 1))
    response.provenance.CopyFrom(context.provenance(job))
    response.request_id = job.request.request_id
    write_tensor(response.gradient, gradient)


def stage_timings(job: Job, stages: Mapping[str, float], batch: int) -> list[StageTiming]:
    """Return the time of each stage; for a stage that ran on a batch, the item's share."""
    shares = {stage: milliseconds / batch for stage, milliseconds in stages.items()}
    return [
        StageTiming(stage=stage, milliseconds=spent)
        for stage, spent in {DECODE_STAGE: job.decode_milliseconds, **shares}.items()
    ]


def write_image(image: Image, planes: Array, form: PurifiedFormat.ValueType) -> None:
    """Write (3, H, W) in the form that the caller requested."""
    if form == PURIFIED_FORMAT_PNG:
        image.encoded = encode_png(planes.transpose(1, 2, 0))
    else:
        write_tensor(image.tensor, planes)


def write_tensor(tensor: Tensor, planes: Array) -> None:
    """Write (3, H, W) as (H, W, 3), in place: a separately built message would be copied into its parent."""
    pixels = planes.transpose(1, 2, 0)
    tensor.data_type = DATA_TYPE_FLOAT32
    tensor.shape.extend(pixels.shape)
    tensor.data = pixels.astype("<f4", copy=False).tobytes()
