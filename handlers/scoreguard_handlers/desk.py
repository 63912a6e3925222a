"""The front desk: finds the metric of a request, checks what needs no pixels, and queues it."""

from __future__ import annotations

from collections.abc import Callable

from scoreguard.v1.scoring_pb2 import PurifyRequest
from scoreguard.v1.worker_pb2 import WorkItem, WorkResult
from scoreguard_handlers.admission import Dispatcher
from scoreguard_handlers.backends.base import Backend
from scoreguard_handlers.catalogue import Catalogue, Deployment
from scoreguard_handlers.config import MAX_PIXELS, AdmissionConfig
from scoreguard_handlers.cost import estimate
from scoreguard_handlers.errors import ServingError
from scoreguard_handlers.memory import MemoryBudget
from scoreguard_handlers.request_check import request_of
from scoreguard_handlers.telemetry import Telemetry


class Desk:
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
        self._listeners: list[Callable[[], None]] = []
        self.dispatchers = {
            metric: Dispatcher(metric, backend, config, self._backend_unavailable, memory) for metric in catalogue
        }
        telemetry.watch(self.dispatchers)

    @property
    def window(self) -> int:
        """Items of one call that may be under way; its own items must not overflow the queue."""
        return min(self.config.window, self.config.queue_limit)

    async def submit(self, item: WorkItem, seconds: float | None, *, caller: str = "") -> WorkResult:
        """Have one piece of work of a caller done within `seconds` (None = the default).

        Raises:
            ServingError: it was not done; the result's status says so where the worker found the fault.
        """
        metric = ""
        try:
            deployment = self._find(item)
            metric, steps = deployment.archive.name, deployment.checker.check(item)
            cost = await estimate(request_of(item), steps, metric=metric, max_pixels=self._max_pixels)
            result = await self.dispatchers[metric].submit(item, seconds, caller=caller, estimate=cost)
        except ServingError as error:
            self._telemetry.item_failed(metric, error.code)
            raise
        self._telemetry.item_answered(metric, result)
        return result

    def on_unavailable(self, listener: Callable[[], None]) -> None:
        """Be told when a worker did not answer."""
        self._listeners.append(listener)

    def _find(self, item: WorkItem) -> Deployment:
        request = request_of(item)
        if isinstance(request, PurifyRequest) and not request.metric:
            deployment = self.catalogue.find_holding(request.defences)
        else:
            deployment = self.catalogue.find(request.metric)
        return deployment

    def _backend_unavailable(self) -> None:
        for listener in self._listeners:
            listener()
