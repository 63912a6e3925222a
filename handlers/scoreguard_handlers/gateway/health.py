"""grpc.health.v1: which metrics can score now, whether any can, and whether the process lives.

| name | SERVING means |
|---|---|
| `liveness` | the process answers; true until it ends |
| `` and the full names of the services | some metric can score |
| `scoreguard.v1.ScoringService/METRIC` | this metric can score |

A metric can score while its canary is scored correctly, or callers get answers in time. It cannot if a canary fails,
its workers are gone, or no request was answered in time for a configured span. Then its calls are refused with
UNAVAILABLE at once, since they would wait for workers that hang or crash in a loop; the other metrics continue.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Awaitable, Iterable
from typing import Final

from google.rpc import code_pb2
from grpc_health.v1 import health, health_pb2

from scoreguard_handlers.config import HealthConfig
from scoreguard_handlers.errors import BackendUnavailableError, TooLateError
from scoreguard_handlers.gateway.pulse import Pulse
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.canary import check_golden, golden_piece
from scoreguard_handlers.worker.catalogue import Deployment

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
LIVENESS: Final = "liveness"
"""Name of the check that is true as long as the process answers."""
SCORING: Final = "scoreguard.v1.ScoringService"
"""Full name of the service; precedes a metric's name."""
logger = logging.getLogger(__name__)


class HealthMonitor:
    """Checks every metric periodically, and keeps the health service up to date."""

    def __init__(
        self, router: RequestRouter, config: HealthConfig, services: Iterable[str], telemetry: Telemetry
    ) -> None:
        self.servicer = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]
        self._router, self._config, self._telemetry = router, config, telemetry
        self._names = ["", *services]
        self._watches = [_MetricWatch(router, config, deployment) for deployment in router.catalogue.values()]
        self._tasks: list[asyncio.Task[None]] = []
        self._announcing = asyncio.Lock()
        pulses = {watch.metric: watch.pulse for watch in self._watches}
        suspicions = {watch.metric: watch.suspicion for watch in self._watches}
        router.on_answer(lambda metric: pulses[metric].answered())
        router.on_late(lambda metric: pulses[metric].late())
        router.on_unavailable(lambda metric: suspicions[metric].set())

    async def start(self) -> None:
        """Score every golden vector once, then keep checking periodically.

        Raises:
            IntegrityError: one has a wrong score.
            ServingError: one could not be scored.
        """
        for watch in self._watches:
            await watch.first()
        await self.servicer.set(LIVENESS, SERVING)
        for watch in self._watches:
            await self._announce(watch)
        self._tasks = [asyncio.create_task(self._keep(watch)) for watch in self._watches]

    async def stop(self) -> None:
        """Report NOT_SERVING from now on, and stop checking; `liveness` stays until the process ends."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for watch in self._watches:
            watch.is_ready = False
            await self._announce(watch)

    async def _keep(self, watch: _MetricWatch) -> None:
        while True:
            before = watch.is_ready
            await watch.turn()
            if watch.is_ready != before:
                await self._announce(watch)

    async def _announce(self, watch: _MetricWatch) -> None:
        async with self._announcing:
            self._telemetry.metric_ready(watch.metric, watch.is_ready)
            await self.servicer.set(f"{SCORING}/{watch.metric}", SERVING if watch.is_ready else NOT_SERVING)
            some = any(other.is_ready for other in self._watches)
            self._telemetry.ready(some)
            for name in self._names:
                await self.servicer.set(name, SERVING if some else NOT_SERVING)


class _MetricWatch:
    """Checks whether one metric can score; its dispatcher refuses calls while it cannot."""

    def __init__(self, router: RequestRouter, config: HealthConfig, deployment: Deployment) -> None:
        self.metric = deployment.archive.name
        self.pulse = Pulse(config)
        self.suspicion = asyncio.Event()
        """Set when a worker failed a call."""
        self.is_ready = True
        self._backend, self._config, self._deployment = router.backend, config, deployment
        self._dispatcher = router.dispatchers[self.metric]
        self._turns = itertools.count()

    async def first(self) -> None:
        """Score every golden vector; raises if one fails."""
        for _ in self._deployment.manifest.golden_vectors:
            await self._canary()
        self.pulse.answered()

    async def turn(self) -> None:
        """Wait for the next check, then make it."""
        if self.is_ready:
            await _first_of(self.suspicion.wait(), self.pulse.stalled.wait(), seconds=self._config.period_seconds)
        else:
            await asyncio.sleep(self._config.retry_seconds)
        self.suspicion.clear()
        try:
            await self._check()
        except Exception as error:  # an unforeseen error must not freeze the state at SERVING
            self._unready(str(error))
        else:
            if not self.is_ready:
                logger.warning(f"{self.metric} can score again")
            self.is_ready, self._dispatcher.refusal = True, None

    async def _check(self) -> None:
        """Raise if the metric cannot score now."""
        if self.is_ready and self.pulse.stalled.is_set():
            raise TooLateError(str(self.pulse))
        await self._backend.ready(self.metric)
        if self.is_ready and self._dispatcher.busy:
            await self._canary_beside_callers()
        else:
            await self._canary()
            self.pulse.answered()

    async def _canary_beside_callers(self) -> None:
        """Score a canary while all workers are busy: one in time counts as an answer, a late one as a late request.

        Raises:
            TooLateError: nothing was answered in time for the configured span.
        """
        if self.pulse.is_fresh or self._dispatcher.has_all_at_large_work:
            return
        canary = asyncio.create_task(self._canary())
        try:
            await _first_of(canary, self.pulse.stalled.wait())
        finally:
            canary.cancel()
        await asyncio.wait({canary})
        failure = TooLateError("dropped") if canary.cancelled() else canary.exception()
        if failure is None:
            self.pulse.answered()
            return
        if not isinstance(failure, TooLateError):
            raise failure
        self.pulse.late()
        if self.pulse.stalled.is_set():
            raise TooLateError(str(self.pulse))

    async def _canary(self) -> None:
        vectors = self._deployment.manifest.golden_vectors
        if not vectors:
            return
        golden, seconds = vectors[next(self._turns) % len(vectors)], self._config.canary_timeout_seconds
        piece = golden_piece(self._deployment.archive, golden, time.time() + seconds)
        try:
            async with asyncio.timeout(seconds):
                response = await self._backend.run(self.metric, [piece])
        except TimeoutError:
            raise TooLateError(f"the canary was not scored within {seconds:g} s") from None
        if response.results and response.results[0].status.code == code_pb2.DEADLINE_EXCEEDED:
            raise TooLateError(f"the canary was not scored within {seconds:g} s")
        check_golden(self._deployment.archive, golden, response)

    def _unready(self, why: str) -> None:
        problem = f"{self.metric} cannot score now: {why}"
        if self.is_ready:
            logger.warning(problem)
        self.is_ready, self._dispatcher.refusal = False, BackendUnavailableError(problem)


async def _first_of(*awaitables: Awaitable[object], seconds: float | None = None) -> None:
    """Wait until the first is done or time is up; tasks created here are cancelled, the caller's tasks are not."""
    made = [asyncio.ensure_future(each) for each in awaitables]
    try:
        await asyncio.wait(made, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task, given in zip(made, awaitables, strict=True):
            if task is not given:
                task.cancel()
