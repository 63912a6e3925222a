"""One loaded archive that answers pieces of work: the same code behind TorchServe and in process.

Bad input never raises here: every item has its own status. Pictures that agree in size and chain may run as one batch
(`graph_batch`); on a CPU each runs alone, since a batch is no faster there and an answer must not depend on its
neighbours, to the last bit.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import ArchiveManifest
from scoreguard.v1.scoring_pb2 import ScoreDefendedRequest, ScoreGradientRequest
from scoreguard.v1.smoothing import Smoothing
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkerResponse, WorkItem, WorkResult
from scoreguard_handlers.answers import Origin, answer_gradient, answer_purify, answer_score, answer_smoothed
from scoreguard_handlers.canary import check_golden, golden_item
from scoreguard_handlers.chain import Chain, ChainCall, ChainResult
from scoreguard_handlers.errors import NotDeployedError, as_serving_error
from scoreguard_handlers.jobs import Job, latest_deadline, prepare
from scoreguard_handlers.request_check import RequestChecker, rounding_of
from scoreguard_handlers.smoothing import score_smoothed
from scoreguard_handlers.status import to_status

if TYPE_CHECKING:
    from scoreguard_handlers.engines.torch_chain import TorchChain

Results = dict[int, WorkResult]


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """How one worker runs."""

    threads: int = 1
    """Threads of one graph run; several workers share the processor better than several threads do."""
    max_pixels: int = 50_000_000
    """Largest picture; refused before it is decoded."""
    graph_batch: int = 1
    """Pictures of one size that run as one batch; worth raising on a GPU only."""
    gradients: bool = False
    """Whether gradients are computed."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read SCOREGUARD_THREADS, _MAX_PIXELS, _GRAPH_BATCH and _GRADIENTS: how TorchServe's workers are told."""
        given = {name: environment.get(f"SCOREGUARD_{name.upper()}", "") for name in cls.__dataclass_fields__}
        values: dict[str, Any] = {name: int(text) for name, text in given.items() if text}
        return cls(**{**values, "gradients": bool(values.get("gradients"))})


class Worker:
    """An archive at work; safe to call from several threads."""

    def __init__(self, archive: Archive, config: WorkerConfig) -> None:
        self.archive, self.config = archive, config
        self.chain = Chain(archive, threads=config.threads)
        self._checker = RequestChecker(archive.manifest)
        self._origin = Origin(archive=archive, engine=self.chain.engine, threads=config.threads)

    @classmethod
    def load(cls, archive: Archive, config: WorkerConfig) -> Self:
        """Confirm every digest, then load the metric's graph.

        Raises:
            IntegrityError: the archive is not what its manifest says.
        """
        archive.verify()
        return cls(archive, config)

    @property
    def manifest(self) -> ArchiveManifest:
        """The archive's manifest."""
        return self.archive.manifest

    def run(self, request: WorkerRequest) -> WorkerResponse:
        """Answer every item with a result or a status; never raises for bad input."""
        results: Results = {}
        jobs = [job for index, item in enumerate(request.items) if (job := self._prepare(item, index, results))]
        for group in _groups(jobs, self.config.graph_batch):
            self._run_group(group, results)
        return WorkerResponse(results=[results[index] for index in range(len(request.items))])

    def canary(self) -> None:
        """Score the golden vectors.

        Raises:
            IntegrityError: a score is not the one that was recorded at export.
        """
        for golden in self.manifest.golden_vectors:
            check_golden(self.archive, golden, self.run(WorkerRequest(items=[golden_item(self.archive, golden)])))

    @cached_property
    def _torch_chain(self) -> TorchChain:
        from scoreguard_handlers.engines.torch_chain import TorchChain

        return TorchChain(self.archive, threads=self.config.threads)

    def _prepare(self, item: WorkItem, index: int, results: Results) -> Job | None:
        try:
            return prepare(item, index, self._checker, max_pixels=self.config.max_pixels)
        except Exception as error:
            results[index] = _failed(error)
            return None

    def _run_group(self, jobs: Sequence[Job], results: Results) -> None:
        try:
            results.update(self._answers(jobs))
        except Exception as error:
            if len(jobs) == 1:
                results[jobs[0].index] = _failed(error)
                return
            for job in jobs:
                self._run_group([job], results)

    def _answers(self, jobs: Sequence[Job]) -> Results:
        if isinstance(jobs[0].request, ScoreGradientRequest):
            return {job.index: self._gradient(job) for job in jobs}
        if (smoothing := jobs[0].smoothing) is not None:
            return {job.index: self._smoothed(job, smoothing) for job in jobs}
        result = self._run_chain(jobs)
        return {job.index: self._answer(job, result, place) for place, job in enumerate(jobs)}

    def _answer(self, job: Job, result: ChainResult, place: int) -> WorkResult:
        if isinstance(job.request, ScoreDefendedRequest):
            return answer_score(job, result, place, self._origin)
        return answer_purify(job, result, place, self._origin)

    def _run_chain(self, jobs: Sequence[Job]) -> ChainResult:
        images = np.stack([job.planes for job in jobs]) if len(jobs) > 1 else jobs[0].planes[None]
        call = _chain_call(jobs)
        if isinstance(jobs[0].request, ScoreDefendedRequest):
            return self.chain.score(images, call)
        return self.chain.purify(images, call)

    def _smoothed(self, job: Job, smoothing: Smoothing) -> WorkResult:
        result, certificate = score_smoothed(
            self.chain,
            job.planes[None],
            _chain_call([job]),
            smoothing,
            purified=isinstance(job.request, ScoreDefendedRequest) and job.request.return_purified_image,
            together=self.config.graph_batch,
        )
        return answer_smoothed(job, result, certificate, self._origin)

    def _gradient(self, job: Job) -> WorkResult:
        if not self.config.gradients:
            raise NotDeployedError("gradients are not served here; start scoreguard-serve with --gradients")
        started = time.perf_counter()
        scores, gradients = self._torch_chain.gradient(job.planes[None], _chain_call([job]))
        spent = (time.perf_counter() - started) * 1000
        origin = Origin(
            archive=self.archive, engine=self._torch_chain.engine, threads=self.config.threads, torchscript=True
        )
        return answer_gradient(job, float(scores[0]), gradients[0], spent, origin)


def _chain_call(jobs: Sequence[Job]) -> ChainCall:
    request = jobs[0].request
    return ChainCall(
        steps=jobs[0].steps,
        seeds=[job.seed for job in jobs],
        deadline=latest_deadline(jobs),
        undefended=isinstance(request, ScoreDefendedRequest) and request.return_undefended_score,
        rounding=rounding_of(request),
    )


def _failed(error: Exception) -> WorkResult:
    return WorkResult(status=to_status(as_serving_error(error)))


def _groups(jobs: Sequence[Job], size: int) -> Iterator[list[Job]]:
    by_group: dict[object, list[Job]] = {}
    for job in jobs:
        by_group.setdefault(job.group, []).append(job)
    for group in by_group.values():
        members = iter(group)
        while chunk := list(islice(members, size)):
            yield chunk
