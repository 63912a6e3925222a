"""Request router: finds the metric of a request, runs the checks that need no pixels, and queues it."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable
from typing import Final

from google.rpc import code_pb2

from scoreguard.v1.scoring_pb2 import PurifyRequest
from scoreguard.v1.worker_pb2 import PoolRequest, WorkResult
from scoreguard_handlers.backends.base import Backend
from scoreguard_handlers.config import MAX_PIXELS, AdmissionConfig
from scoreguard_handlers.errors import ServingError, TooLateError
from scoreguard_handlers.gateway.admission import Dispatcher
from scoreguard_handlers.gateway.cost import estimate
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.catalogue import Catalogue, Deployment
from scoreguard_handlers.worker.memory import MemoryBudget
from scoreguard_handlers.worker.received import Received
from scoreguard_handlers.worker.request_check import Request, check_counts

_AT_THE_DEADLINE_SECONDS: Final = 0.2
"""gRPC cancels a call at its deadline; a cancellation this close before it counts as one."""
Listener = Callable[[str], None]


class RequestRouter:
    """Everything between a request and its worker."""

    def __init__(
        self,
        catalogue: Catalogue,
        backend: Backend,
        config: AdmissionConfig,
        telemetry: Telemetry,
        *,
        memory: MemoryBudget | None = None,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.catalogue, self.backend, self.config = catalogue, backend, config
        self._telemetry, self._max_pixels = telemetry, max_pixels
        self._on_answer: list[Listener] = []
        self._on_late: list[Listener] = []
        self._on_unavailable: list[Listener] = []
        self.dispatchers = {
            metric: Dispatcher(metric, backend, config, functools.partial(_tell, self._on_unavailable, metric), memory)
            for metric in catalogue
        }
        telemetry.watch(self.dispatchers)
        backend.on_down(self._all_unavailable)

    @property
    def window(self) -> int:
        """Items of one call that may be under way; its own items must not overflow the queue."""
        return min(self.config.window, self.config.queue_limit)

    async def route(
        self, request: Received[Request], seconds: float | None, *, caller: str = "", attempts: int = 1
    ) -> WorkResult:
        """Find the metric for a piece of work, check it, estimate its cost, and queue it.

        Args:
            request: the piece of work.
            seconds: how long the caller waits; None = the default.
            caller: the owner of the work.
            attempts: how often the caller's channel has sent it.

        Raises:
            ServingError: it was not done; if the worker found the fault, the result's status reports it instead.
        """
        metric, started = "", time.monotonic()
        try:
            deployment = self._find(request.head)
            metric, steps = deployment.archive.name, deployment.checker.check(request.head)
            cost = await estimate(request, steps, metric=metric, max_pixels=self._max_pixels)
            dispatcher = self.dispatchers[metric]
            result = await dispatcher.run_in_turn(request, seconds, caller=caller, attempts=attempts, estimate=cost)
        except asyncio.CancelledError:
            if seconds is not None and time.monotonic() - started > seconds - _AT_THE_DEADLINE_SECONDS:
                _tell(self._on_late, metric)
            raise
        except ServingError as error:
            self._telemetry.item_failed(metric, error.code)
            if isinstance(error, TooLateError):
                _tell(self._on_late, metric)
            raise
        self._telemetry.item_answered(metric, result)
        _tell(self._on_late if result.status.code == code_pb2.DEADLINE_EXCEEDED else self._on_answer, metric)
        return result

    async def pool(self, metric: str, request: PoolRequest, seconds: float | None, *, caller: str = "") -> WorkResult:
        """Queue the pooling of a clip; `metric` is deployed.

        Raises:
            ServingError: it was not done; if the worker found the fault, the result's status reports it instead.
        """
        return await self.dispatchers[metric].run_in_turn(Received.of(request), seconds, caller=caller)

    def on_answer(self, listener: Listener) -> None:
        """Register a listener, called with the metric of every request answered in time, even with an error."""
        self._on_answer.append(listener)

    def on_late(self, listener: Listener) -> None:
        """Register a listener, called with the metric of every request that timed out."""
        self._on_late.append(listener)

    def on_unavailable(self, listener: Listener) -> None:
        """Register a listener, called with the metric whose worker did not answer."""
        self._on_unavailable.append(listener)

    def _all_unavailable(self) -> None:
        for metric in self.dispatchers:
            _tell(self._on_unavailable, metric)

    def _find(self, request: Request) -> Deployment:
        check_counts(request)
        if isinstance(request, PurifyRequest) and not request.metric:
            deployment = self.catalogue.find_holding(request.defences)
        else:
            deployment = self.catalogue.find(request.metric)
        return deployment


def _tell(listeners: list[Listener], metric: str) -> None:
    for listener in listeners:
        listener(metric)
