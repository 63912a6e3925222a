"""One loaded archive that answers pieces of work, with the same code behind TorchServe and in process.

Bad input never raises here: every item has its own status. Images that agree in size and chain may run as one batch
(`graph_batch`); on a CPU each runs alone, since a batch is no faster there and an answer must not depend on its
neighbours, to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from scoreguard.chain.devices import find_device
from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import ArchiveManifest
from scoreguard.v1.scoring_pb2 import ScoreDefendedRequest, ScoreGradientRequest
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkerResponse, WorkResult
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.errors import NotDeployedError, as_serving_error
from scoreguard_handlers.worker.answers import (
    ProvenanceContext,
    write_gradient,
    write_purified,
    write_score,
    write_smoothed,
)
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.board import Board, MemoryBoard
from scoreguard_handlers.worker.canary import check_golden, golden_piece
from scoreguard_handlers.worker.chain import Chain, ChainCall, ChainResult
from scoreguard_handlers.worker.jobs import Job, latest_deadline, prepare
from scoreguard_handlers.worker.pieces import Piece, pieces_of
from scoreguard_handlers.worker.request_check import RequestChecker, rounding_of
from scoreguard_handlers.worker.smoothing import score_smoothed
from scoreguard_handlers.worker.status import to_status

if TYPE_CHECKING:
    from scoreguard_handlers.worker.engines.torch_chain import TorchChain

Results = Sequence[WorkResult]


class Worker:
    """A loaded archive; safe to call from several threads."""

    def __init__(self, archive: Archive, config: WorkerConfig, board: Board | None = None) -> None:
        self.archive, self.config, self._board = archive, config, board or MemoryBoard()
        self.chain = Chain(archive, threads=config.threads)
        self._checker = RequestChecker(archive.manifest)
        self._context = ProvenanceContext(archive=archive, engine=self.chain.engine, threads=config.threads)

    @classmethod
    def load(cls, archive: Archive, config: WorkerConfig, board: Board | None = None) -> Self:
        """Confirm every digest, then load the metric's graph; the board says which callers have left.

        Raises:
            IntegrityError: the archive does not match its manifest.
            EngineError: its graph cannot be loaded, or gradients cannot be computed on the device.
        """
        archive.verify()
        worker = cls(archive, config, board)
        if config.gradients and config.device != WorkerConfig.device:
            find_device(config.device)  # otherwise the first caller of ScoreGradient would get the error
        return worker

    @property
    def manifest(self) -> ArchiveManifest:
        """Return the archive's manifest."""
        return self.archive.manifest

    def run(self, request: WorkerRequest) -> WorkerResponse:
        """Answer every item of a wire request."""
        return self.answer(pieces_of(request))

    def answer(self, pieces: Sequence[Piece]) -> WorkerResponse:
        """Answer every piece with a result or a status; never raises for bad input.

        An image is decoded when its turn comes, and each result is written directly into the message to send, so large
        images are held once.
        """
        response = WorkerResponse()
        results = [response.results.add() for _ in pieces]
        groups: dict[Hashable, list[Job]] = {}
        for index, piece in enumerate(pieces):
            key = self._prepare(piece, index, groups, results[index])
            if len(groups.get(key, ())) == self.config.graph_batch:
                self._run_group(groups.pop(key), results, pieces)
        for group in groups.values():
            self._run_group(group, results, pieces)
        return response

    def canary(self) -> None:
        """Score the golden vectors.

        Raises:
            IntegrityError: a score differs from the one recorded at export.
        """
        for golden in self.manifest.golden_vectors:
            check_golden(self.archive, golden, self.answer([golden_piece(self.archive, golden)]))

    @cached_property
    def _torch_chain(self) -> TorchChain:
        from scoreguard_handlers.worker.engines.torch_chain import TorchChain

        config = self.config
        return TorchChain(self.archive, threads=config.threads, device=config.device, checkpoint=config.checkpoint)

    def _prepare(self, piece: Piece, index: int, groups: dict[Hashable, list[Job]], result: WorkResult) -> Hashable:
        """Decode an image and add it to its group; return the group's key, or None if the piece failed."""
        try:
            with self._board.working({piece.id: piece.deadline_unix_seconds}):
                job = self._job(piece, index)
        except Exception as error:
            _fail(result, error)
            return None
        groups.setdefault(job.group, []).append(job)
        return job.group

    def _job(self, piece: Piece, index: int) -> Job:
        return prepare(piece, index, self._checker, max_pixels=self.config.max_pixels, gone=self._board.gone)

    def _run_group(self, jobs: Sequence[Job], results: Results, pieces: Sequence[Piece]) -> None:
        notes = {pieces[job.index].id: job.deadline.unix_seconds for job in jobs}
        try:
            with self._board.working(notes):
                self._write_answers(jobs, results)
        except Exception as error:
            if len(jobs) == 1:
                _fail(results[jobs[0].index], error)
                return
            for job in jobs:
                self._run_alone(pieces, job.index, results)

    def _run_alone(self, pieces: Sequence[Piece], index: int, results: Results) -> None:
        alone: dict[Hashable, list[Job]] = {}
        if (key := self._prepare(pieces[index], index, alone, results[index])) is not None:
            self._run_group(alone[key], results, pieces)

    def _write_answers(self, jobs: Sequence[Job], results: Results) -> None:
        if isinstance(jobs[0].request, ScoreGradientRequest):
            for job in jobs:
                self._gradient(job, results[job.index])
        elif (smoothing := jobs[0].smoothing) is not None:
            for job in jobs:
                self._smoothed(job, smoothing, results[job.index])
        else:
            result = self._run_chain(jobs)
            for index, job in enumerate(jobs):
                write = write_score if isinstance(job.request, ScoreDefendedRequest) else write_purified
                write(results[job.index], job, result, index, self._context)

    def _run_chain(self, jobs: Sequence[Job]) -> ChainResult:
        run = self.chain.score if isinstance(jobs[0].request, ScoreDefendedRequest) else self.chain.purify
        return run(_stacked(jobs), _chain_call(jobs))

    def _smoothed(self, job: Job, smoothing: Smoothing, answer: WorkResult) -> None:
        result, certificate = score_smoothed(
            self.chain,
            _stacked([job]),
            _chain_call([job]),
            smoothing,
            purified=isinstance(job.request, ScoreDefendedRequest) and job.request.return_purified_image,
            together=self.config.graph_batch,
        )
        write_smoothed(answer, job, result, certificate, self._context)

    def _gradient(self, job: Job, answer: WorkResult) -> None:
        if not self.config.gradients:
            raise NotDeployedError("gradients are not served here; start scoreguard-serve with --gradients")
        started = time.perf_counter()
        scores, gradients = self._torch_chain.gradient(_stacked([job]), _chain_call([job]))
        spent = (time.perf_counter() - started) * 1000
        context = ProvenanceContext(
            archive=self.archive, engine=self._torch_chain.engine, threads=self.config.threads, torchscript=True
        )
        write_gradient(answer, job, float(scores[0]), gradients[0], spent, context)


def _chain_call(jobs: Sequence[Job]) -> ChainCall:
    request = jobs[0].request
    return ChainCall(
        steps=jobs[0].steps,
        seeds=[job.seed for job in jobs],
        deadline=latest_deadline(jobs),
        undefended=isinstance(request, ScoreDefendedRequest) and request.return_undefended_score,
        rounding=rounding_of(request),
    )


def _stacked(jobs: Sequence[Job]) -> Array:
    """Stack images to (N, 3, H, W); a single image is not copied."""
    return np.stack([job.take_planes() for job in jobs]) if len(jobs) > 1 else jobs[0].take_planes()[None]


def _fail(result: WorkResult, error: Exception) -> None:
    """Write an error, replacing any earlier result."""
    result.Clear()
    result.status.CopyFrom(to_status(as_serving_error(error)))
