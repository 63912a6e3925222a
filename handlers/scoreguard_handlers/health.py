"""grpc.health.v1: alive means that the process answers, ready means that the canary is scored right.

`""` is liveness; the full names of the services are readiness. While a metric is not ready its calls are refused with
UNAVAILABLE at once, since TorchServe would let them wait for a worker that crashes in a loop.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Iterable
from contextlib import suppress

from grpc_health.v1 import health, health_pb2

from scoreguard.v1.worker_pb2 import WorkerRequest
from scoreguard_handlers.canary import check_golden, golden_item
from scoreguard_handlers.catalogue import Deployment
from scoreguard_handlers.config import HealthConfig
from scoreguard_handlers.desk import Desk
from scoreguard_handlers.errors import BackendUnavailableError
from scoreguard_handlers.telemetry import Telemetry

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
logger = logging.getLogger(__name__)


class HealthMonitor:
    """Checks every metric now and then, and keeps the health service honest."""

    def __init__(self, desk: Desk, config: HealthConfig, services: Iterable[str], telemetry: Telemetry) -> None:
        self.servicer = health.aio.HealthServicer()
        self._desk, self._config, self._services = desk, config, list(services)
        self._telemetry = telemetry
        self._suspicion = asyncio.Event()
        self._turns = itertools.count()
        self._task: asyncio.Task[None] | None = None
        desk.on_unavailable(self._suspicion.set)

    async def start(self) -> None:
        """Score every golden vector once, then keep checking.

        Raises:
            IntegrityError: one is scored wrong.
            ServingError: one is not scored.
        """
        for deployment in self._desk.catalogue.values():
            for turn in range(len(deployment.manifest.golden_vectors)):
                await self._canary(deployment, turn)
        await self.servicer.set("", SERVING)
        await self._announce(True)
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """Say NOT_SERVING from here on, and check no more."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        self._telemetry.ready(False)
        await self.servicer.enter_graceful_shutdown()

    async def _watch(self) -> None:
        state = True
        while True:
            await self._pause(self._config.period_seconds if state else self._config.retry_seconds, state)
            before, state = state, await self._check_all()
            if state != before:
                await self._announce(state)

    async def _pause(self, seconds: float, listening: bool) -> None:
        """Wait; while all was well, the first worker that fails a call ends the wait."""
        if not listening:
            await asyncio.sleep(seconds)
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._suspicion.wait(), seconds)
        self._suspicion.clear()

    async def _check_all(self) -> bool:
        turn = next(self._turns)
        checks = (self._check(deployment, turn) for deployment in self._desk.catalogue.values())
        return all(await asyncio.gather(*checks))

    async def _check(self, deployment: Deployment, turn: int) -> bool:
        """Whether a metric can score; its dispatcher refuses calls while it cannot."""
        dispatcher = self._desk.dispatchers[deployment.archive.name]
        try:
            await self._desk.backend.ready(deployment.archive.name)
            if not dispatcher.busy:  # else the callers' own answers are the better canary
                await self._canary(deployment, turn)
        except Exception as error:  # an error that nobody foresaw must not freeze the state at SERVING
            problem = f"{deployment.archive.name} cannot score now: {error}"
            if dispatcher.refusal is None:
                logger.warning(problem)
            dispatcher.refusal = BackendUnavailableError(problem)
            return False
        dispatcher.refusal = None
        return True

    async def _canary(self, deployment: Deployment, turn: int) -> None:
        vectors = deployment.manifest.golden_vectors
        if not vectors:
            return
        golden = vectors[turn % len(vectors)]
        item = golden_item(deployment.archive, golden)
        item.deadline_unix_seconds = time.time() + self._config.canary_timeout_seconds
        response = await self._desk.backend.run(deployment.archive.name, WorkerRequest(items=[item]))
        check_golden(deployment.archive, golden, response)

    async def _announce(self, state: bool) -> None:
        self._telemetry.ready(state)
        for service in self._services:
            await self.servicer.set(service, SERVING if state else NOT_SERVING)
