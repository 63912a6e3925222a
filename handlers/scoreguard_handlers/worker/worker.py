"""One loaded archive that answers pieces of work, with the same code behind TorchServe and in process.

Bad input never raises here: every item has its own status. Images that agree in size and chain may run as one batch
(`graph_batch`); on a CPU each runs alone, since a batch is no faster there and an answer must not depend on its
neighbours, to the last bit. A batch that needs more memory than there is runs again in halves.
"""

from __future__ import annotations

import time
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Self

import numpy as np

from scoreguard.chain.devices import find_device
from scoreguard.chain.numerics import FP32
from scoreguard.chain.smoothing import Smoothing
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import ArchiveManifest
from scoreguard.v1.scoring_pb2 import ScoreDefendedRequest, ScoreGradientRequest
from scoreguard.v1.worker_pb2 import PoolRequest, WorkerRequest, WorkerResponse, WorkResult
from scoreguard_handlers.config import WorkerConfig, usable_cores
from scoreguard_handlers.device_config import devices_of, settled
from scoreguard_handlers.errors import NotDeployedError, ResourceLimitError, as_serving_error
from scoreguard_handlers.worker.answers import (
    ProvenanceContext,
    write_gradient,
    write_purified,
    write_score,
    write_smoothed,
)
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.board import Board, MemoryBoard
from scoreguard_handlers.worker.call import ChainCall, ChainResult
from scoreguard_handlers.worker.canary import check_golden, golden_piece
from scoreguard_handlers.worker.chain import Chain
from scoreguard_handlers.worker.engines.choice import numerics_of, open_engine, script_engine
from scoreguard_handlers.worker.jobs import Job, deadline_of, latest_deadline, prepare
from scoreguard_handlers.worker.pieces import Piece, pieces_of
from scoreguard_handlers.worker.pooling import pool
from scoreguard_handlers.worker.request_check import Request, RequestChecker, rounding_of
from scoreguard_handlers.worker.smoothing import score_smoothed
from scoreguard_handlers.worker.status import to_status

if TYPE_CHECKING:
    from scoreguard_handlers.worker.engines.torch_chain import TorchChain

Results = Sequence[WorkResult]
Prepared = Job | Exception
"""A piece that is ready for the chain, or why it is not."""


class Worker:
    """A loaded archive; safe to call from several threads."""

    def __init__(self, archive: Archive, config: WorkerConfig, board: Board | None = None) -> None:
        config = settled(config, devices_of(config.device))
        self.archive, self.config, self._board = archive, config, board or MemoryBoard()
        engine = open_engine(archive, config)
        self.chain = Chain(archive, engine)
        self._checker = RequestChecker(archive.manifest)
        self._context = ProvenanceContext(
            archive=archive,
            engine=engine.name,
            threads=config.threads,
            computation=engine.computation,
            torchscript=engine.uses_torchscript,
        )
        # A device runs a batch faster than one core decodes it.
        self._decoders = 1 if find_device(config.device).is_cpu else usable_cores()

    @classmethod
    def load(cls, archive: Archive, config: WorkerConfig, board: Board | None = None) -> Self:
        """Confirm every digest, then load the metric's graph; the board says which callers have left.

        Raises:
            IntegrityError: the archive does not match its manifest.
            EngineError: its graph cannot be loaded.
            DeviceError: the device cannot be used.
            StartupError: the configuration contradicts itself.
        """
        archive.verify()
        return cls(archive, config, board)

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
        self._answer(range(len(pieces)), results, pieces)
        return response

    def _answer(self, indices: Iterable[int], results: Results, pieces: Sequence[Piece]) -> None:
        groups: dict[Hashable, list[Job]] = {}
        images = [index for index in indices if not self._pooled(results[index], pieces[index])]
        for index, prepared in self._prepared(images, pieces):
            if isinstance(prepared, Exception):
                _fail(results[index], prepared)
                continue
            group = groups.setdefault(prepared.group, [])
            group.append(prepared)
            if len(group) == self.config.graph_batch:
                self._run_group(groups.pop(prepared.group), results, pieces)
        for group in groups.values():
            self._run_group(group, results, pieces)

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

        config, device = self.config, find_device(self.config.device)
        engine = script_engine(self.archive, device, numerics_of(config), checkpoint=config.checkpoint)
        return TorchChain(self.archive, engine, threads=config.threads)

    def _pooled(self, answer: WorkResult, piece: Piece) -> bool:
        """Whether a piece asks to pool a clip, and is answered now."""
        if piece.request is None or not isinstance(piece.request.head, PoolRequest):
            return False
        try:
            with self._board.working(_notes([piece])):
                pool(self.chain, piece.request.head, deadline_of(piece, self._board.gone), answer, self._context)
        except Exception as error:
            _fail(answer, error)
        return True

    def _prepared(self, indices: Iterable[int], pieces: Sequence[Piece]) -> Iterator[tuple[int, Prepared]]:
        """Decode images: one by one, so that large ones are held once, or together before a device."""
        chosen = list(indices)
        if min(self._decoders, len(chosen)) == 1:
            for index in chosen:
                with self._board.working(_notes([pieces[index]])):
                    prepared = self._prepare(pieces[index], index)
                yield index, prepared
            return
        with (
            self._board.working(_notes([pieces[index] for index in chosen])),
            ThreadPoolExecutor(self._decoders) as pool,
        ):
            done = list(pool.map(lambda index: self._prepare(pieces[index], index), chosen))
        yield from zip(chosen, done, strict=True)

    def _prepare(self, piece: Piece, index: int) -> Prepared:
        try:
            return self._job(piece, index)
        except Exception as error:
            return error

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
            failure = as_serving_error(error)
            parts = _halves(jobs) if isinstance(failure, ResourceLimitError) else [[job] for job in jobs]
            for part in parts:
                self._answer([job.index for job in part], results, pieces)

    def _write_answers(self, jobs: Sequence[Job], results: Results) -> None:
        if isinstance(jobs[0].request, ScoreGradientRequest):
            for job in jobs:
                self._gradient(job, results[job.index])
        elif (smoothing := jobs[0].smoothing) is not None:
            for job in jobs:
                self._smoothed(job, smoothing, results[job.index])
        else:
            result, context = self._run_chain(jobs), self._context.of_batch(len(jobs))
            for index, job in enumerate(jobs):
                write = write_score if isinstance(job.request, ScoreDefendedRequest) else write_purified
                write(results[job.index], job, result, index, context)

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
        together = min(self.config.graph_batch, smoothing.samples)
        write_smoothed(answer, job, result, certificate, self._context.of_batch(together))

    def _gradient(self, job: Job, answer: WorkResult) -> None:
        if not self.config.gradients:
            raise NotDeployedError("gradients are not served here; start scoreguard-serve with --gradients")
        if self.config.precision != FP32 and not self.config.half_gradients:
            raise NotDeployedError("gradients in half precision are refused here; start with --half-gradients")
        started = time.perf_counter()
        scores, gradients = self._torch_chain.gradient(_stacked([job]), _chain_call([job]))
        spent = (time.perf_counter() - started) * 1000
        context = replace(self._context, engine=self._torch_chain.engine, torchscript=True).of_batch(1)
        write_gradient(answer, job, float(scores[0]), gradients[0], spent, context)


def _chain_call(jobs: Sequence[Job]) -> ChainCall:
    request = jobs[0].request
    return ChainCall(
        steps=jobs[0].steps,
        seeds=[job.seed for job in jobs],
        deadline=latest_deadline(jobs),
        undefended=isinstance(request, ScoreDefendedRequest) and request.return_undefended_score,
        frame=jobs[0].frame,
        purified=any(_wants_image(job.request) for job in jobs),
        rounding=rounding_of(request),
    )


def _wants_image(request: Request) -> bool:
    return not isinstance(request, ScoreDefendedRequest) or request.return_purified_image


def _notes(pieces: Sequence[Piece]) -> Mapping[int, float]:
    return {piece.id: piece.deadline_unix_seconds for piece in pieces}


def _halves(jobs: Sequence[Job]) -> list[Sequence[Job]]:
    middle = len(jobs) // 2
    return [jobs[:middle], jobs[middle:]]


def _stacked(jobs: Sequence[Job]) -> Array:
    """Stack images to (N, 3, H, W); a single image is not copied."""
    return np.stack([job.take_planes() for job in jobs]) if len(jobs) > 1 else jobs[0].take_planes()[None]


def _fail(result: WorkResult, error: Exception) -> None:
    """Write an error, replacing any earlier result."""
    result.Clear()
    result.status.CopyFrom(to_status(as_serving_error(error)))
