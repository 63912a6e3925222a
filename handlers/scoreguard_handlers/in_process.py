"""The service in the caller's own process: the gateway's checks, queues and local backend, without gRPC.

`scoreguard_client.local` finds `open_service` by its entry point. The gateway's protection against untrusted callers is
left out: tokens, limits on messages and connections, logs, a copy of the store, and the periodic canary. Each golden
vector is scored once, when the service is opened. If the store changes meanwhile, calls fail but never return different
scores: an archive confirms the digest of everything it reads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from importlib.util import find_spec
from typing import Any, Final, cast

from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from scoreguard.chain.devices import EngineName
from scoreguard.chain.onnx_devices import check_one_onnxruntime
from scoreguard.service import LocalSettings, Service, StatusError
from scoreguard.v1.errors import CannotServeError, EngineError, IntegrityError
from scoreguard.v1.scoring_pb2 import (
    ScoreClipRequest,
    ScoreClipResponse,
    ScoreDefendedBatchRequest,
    ScoreDefendedBatchResponse,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
    ScoreDefendedResult,
    ScoreDefendedStreamRequest,
    ScoreDefendedStreamResponse,
)
from scoreguard_handlers.backends.local import LocalBackend
from scoreguard_handlers.config import AdmissionConfig, ServeConfig
from scoreguard_handlers.device_config import devices_of, settled
from scoreguard_handlers.errors import StartupError, TooLateError
from scoreguard_handlers.gateway.answers import Answers
from scoreguard_handlers.gateway.calls import Caller, status_of
from scoreguard_handlers.gateway.clip_parts import ClipPart
from scoreguard_handlers.gateway.messages import Unreadable
from scoreguard_handlers.gateway.methods import Outcome
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.canary import check_golden, golden_piece
from scoreguard_handlers.worker.catalogue import Catalogue
from scoreguard_handlers.worker.memory import MemoryBudget, default_budget
from scoreguard_handlers.worker.received import Received, ReceivedBatch

_SCORING: Final = "/scoreguard.v1.ScoringService"
_GRADIENT: Final = "/scoreguard.v1.GradientService/ScoreGradient"
_LONGEST_SECONDS: Final = 7 * 86400.0
"""Deadlines are left to the caller here: there is no worker process to end in the meantime."""


@asynccontextmanager
async def open_service(settings: LocalSettings) -> AsyncIterator[Service]:
    """Serve a model store inside the running event loop while the block runs; no thread is left afterwards.

    Raises:
        CannotServeError: there is no archive, one does not match its manifest, or a golden vector has a wrong score.
    """
    config = _config(settings)
    with _named():
        check_one_onnxruntime()
        config = settled(config, await asyncio.to_thread(devices_of, config.device))
        catalogue = await asyncio.to_thread(Catalogue.open, config.model_store)
        backend = await LocalBackend.start(catalogue, config)
    try:
        with _named():
            await _score_golden_vectors(catalogue, backend)
        memory = MemoryBudget(default_budget(config, len(catalogue)))
        router = RequestRouter(
            catalogue, backend, config.admission, Telemetry(), memory=memory, max_pixels=config.max_pixels
        )
        yield InProcessService(Answers(router, config), gradients=config.gradients)
    finally:
        await backend.close()
        await asyncio.to_thread(backend.join)


class InProcessService:
    """Answers calls like the gateway, with the same statuses."""

    def __init__(self, answers: Answers, *, gradients: bool) -> None:
        self._answers = answers
        self._unary: dict[str, Callable[[Any, Caller], Awaitable[Message]]] = {
            f"{_SCORING}/ScoreDefended": lambda request, caller: answers.score(Received.of(request), caller),
            f"{_SCORING}/ScoreDefendedBatch": self._batch,
            f"{_SCORING}/Purify": lambda request, caller: answers.purify(Received.of(request), caller),
            f"{_SCORING}/ListMetrics": lambda request, caller: answers.catalogue(),
        }
        if gradients:
            self._unary |= {_GRADIENT: lambda request, caller: answers.gradient(Received.of(request), caller)}

    async def call(self, method: str, request: Message, seconds: float) -> Message:
        """Answer a unary call.

        Raises:
            StatusError: it failed.
        """
        if method not in self._unary:
            raise StatusError(status_pb2.Status(code=code_pb2.UNIMPLEMENTED, message="Method not found!"))
        async with _statuses(seconds):
            return await self._unary[method](request, _caller(seconds))

    async def _batch(self, request: ScoreDefendedBatchRequest, caller: Caller) -> ScoreDefendedBatchResponse:
        requests = [Received.of(item) for item in request.requests]
        outcomes = await self._answers.score_all(ReceivedBatch(requests=requests, size=0), caller)
        return ScoreDefendedBatchResponse(results=[_result(outcome) for outcome in outcomes])

    async def stream(
        self, requests: AsyncIterator[ScoreDefendedStreamRequest], seconds: float
    ) -> AsyncIterator[ScoreDefendedStreamResponse]:
        """Answer a stream, in order.

        Raises:
            StatusError: it takes longer than `seconds`.
        """
        caller = _caller(seconds)
        responses = self._answers.stream(_received(requests), caller)
        try:
            while True:
                # Each wait separately: a time limit must not stay active while the caller has control.
                async with _statuses(caller.seconds_left or 0.0):
                    try:
                        outcome = await anext(responses)
                    except StopAsyncIteration:
                        return
                yield ScoreDefendedStreamResponse(result=_result(outcome))
        finally:
            await responses.aclose()

    async def clip(self, requests: AsyncIterator[ScoreClipRequest], seconds: float) -> AsyncIterator[ScoreClipResponse]:
        """Answer a clip once.

        Raises:
            StatusError: it failed, or takes longer than `seconds`.
        """
        async with _statuses(seconds), aclosing(_parts(requests)) as parts:
            response = await self._answers.clip(await anext(parts, None), parts, _caller(seconds))
        yield response


async def _parts(requests: AsyncIterator[ScoreClipRequest]) -> AsyncGenerator[ClipPart, None]:
    async for message in requests:
        yield ClipPart.of(message)


async def _received(
    requests: AsyncIterator[ScoreDefendedStreamRequest],
) -> AsyncIterator[Received[ScoreDefendedRequest] | Unreadable]:
    async for message in requests:
        yield Received.of(message.request)


def _result(outcome: Outcome) -> ScoreDefendedResult:
    if isinstance(outcome, ScoreDefendedResponse):
        return ScoreDefendedResult(response=outcome)
    return ScoreDefendedResult(status=outcome)


@asynccontextmanager
async def _statuses(seconds: float) -> AsyncIterator[None]:
    """Convert any failure in the block, and its deadline, to a status."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise StatusError(status_of(TooLateError(f"no answer within {seconds:.3g} s"))) from None
    except Exception as error:
        raise StatusError(status_of(error)) from error


def _caller(seconds: float) -> Caller:
    return Caller(peer="this process", name="", attempts=1, deadline=time.monotonic() + seconds)


def _config(settings: LocalSettings) -> ServeConfig:
    has_torch = find_spec("torch") is not None
    if settings.gradients and not has_torch:
        raise CannotServeError("gradients need pip install 'scoreguard[serve]' (no module named torch)")
    return ServeConfig(
        model_store=settings.model_store,
        backend="local",
        workers=settings.workers or 0,
        threads=settings.threads,
        max_pixels=settings.max_pixels,
        device=settings.device,
        engine=cast(EngineName, settings.engine),
        graph_batch=settings.graph_batch,
        gradients=has_torch if settings.gradients is None else settings.gradients,
        admission=AdmissionConfig(memory_mib=settings.memory_mib, max_deadline_seconds=_LONGEST_SECONDS),
    )


async def _score_golden_vectors(catalogue: Catalogue, backend: LocalBackend) -> None:
    for metric, deployment in catalogue.items():
        for golden in deployment.manifest.golden_vectors:
            pieces = [golden_piece(deployment.archive, golden)]
            check_golden(deployment.archive, golden, await backend.run(metric, pieces))


@contextmanager
def _named() -> Iterator[None]:
    """Report what keeps a store from being served to the caller, in one line with the file's name."""
    try:
        yield
    except (IntegrityError, EngineError, StartupError) as error:
        raise CannotServeError(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise CannotServeError(f"cannot serve: {where}{error.strerror or error}") from error
