"""Waiting for a worker: a bounded queue that drops who has left, and hands out work in fair batches.

TorchServe forwards neither deadlines nor cancellations, so its own queue is kept short: about one call per worker is
under way, and everything else waits here, where an expired or cancelled request costs nothing. A call to TorchServe
costs processor time whatever is in it, so under load several requests share one. The share is what is outstanding
divided by the calls that may be under way: one for one caller, and never so much that a worker idles beside a full
one. Where fewer are waiting than their share, those whose answers just left get a moment to come back.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from scoreguard.v1.scoring_pb2 import ScoreDefendedRequest, StageTiming
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem, WorkResult
from scoreguard_handlers.backends.base import Backend
from scoreguard_handlers.config import AdmissionConfig
from scoreguard_handlers.errors import (
    BackendUnavailableError,
    ChainFailedError,
    ResourceLimitError,
    ServingError,
    TooLateError,
    as_serving_error,
)
from scoreguard_handlers.request_check import request_of

QUEUE_STAGE = "queue"
logger = logging.getLogger(__name__)


@dataclass(eq=False, slots=True, kw_only=True)
class _Pending:
    item: WorkItem
    answer: asyncio.Future[WorkResult]
    group: Hashable
    size: int
    arrived: float = field(default_factory=time.perf_counter)
    waited_ms: float = 0.0


class Dispatcher:
    """The queue of one metric. Belongs to the event loop that made it."""

    def __init__(
        self, metric: str, backend: Backend, config: AdmissionConfig, on_unavailable: Callable[[], None] = lambda: None
    ) -> None:
        self.metric = metric
        self.refusal: ServingError | None = None
        """While set, new requests get this error."""
        self._backend, self._config, self._on_unavailable = backend, config, on_unavailable
        self._waiting: dict[_Pending, None] = {}
        self._waiting_bytes = self._running_items = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Worker calls under way."""
        return len(self._calls)

    @property
    def busy(self) -> bool:
        """Whether every worker has something to do."""
        return self.running >= self._backend.workers

    async def submit(self, item: WorkItem, seconds: float | None) -> WorkResult:
        """Wait for a worker and its answer.

        Args:
            item: the piece of work; its deadline is filled in.
            seconds: time that the caller waits; None = the default.

        Raises:
            ServingError: refused, too late, or failed as a whole; an item's own failure is in the result.
        """
        seconds = self._clip(seconds)
        size = item.ByteSize()
        self._check_admission(seconds, size)
        item.deadline_unix_seconds = time.time() + seconds
        loop = asyncio.get_running_loop()
        pending = _Pending(item=item, answer=loop.create_future(), group=_group_of(item), size=size)
        self._waiting[pending] = None
        self._waiting_bytes += size
        self._hand_out()
        try:
            async with asyncio.timeout(seconds):
                return await pending.answer
        except TimeoutError:
            raise TooLateError(f"no answer within {seconds:.3g} s; allow more time or send less work") from None
        finally:
            self._leave(pending)

    async def drain(self) -> None:
        """Refuse what comes, and wait for what is here."""
        self.refusal = BackendUnavailableError("the server is stopping; call another one")
        while self._calls or self._waiting:
            await asyncio.wait(self._calls) if self._calls else await asyncio.sleep(0)

    def _clip(self, seconds: float | None) -> float:
        wanted = self._config.default_deadline_seconds if seconds is None else seconds
        return min(wanted, self._config.max_deadline_seconds)

    def _check_admission(self, seconds: float, size: int) -> None:
        if self.refusal is not None:
            raise self.refusal
        if seconds <= 0:
            raise TooLateError("the deadline had passed when the request arrived; allow more time")
        if self.waiting >= self._config.queue_limit:
            raise _full("", self.waiting, self._config.queue_limit)
        if self._waiting_bytes + size > max(self._config.queue_bytes, size):
            raise _full(" bytes", self._waiting_bytes, self._config.queue_bytes)

    def _hand_out(self) -> None:
        """Start as many calls as may run, each with its share."""
        while self._waiting and self.running < self._backend.calls:
            share = self._share()
            if self.waiting < share and self._linger():
                return
            self._start(self._take(share))

    def _share(self) -> int:
        outstanding = self.waiting + self._running_items
        return min(self._backend.max_batch, math.ceil(outstanding / self._backend.calls))

    def _linger(self) -> bool:
        """Whether to wait a moment for more; the same moment is granted once."""
        if self._lingering is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(self._config.linger_seconds, self._hand_out)
            return True
        return asyncio.get_running_loop().time() < self._lingering.when()

    def _start(self, batch: list[_Pending]) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        self._running_items += len(batch)
        call = asyncio.create_task(self._run(batch))
        self._calls.add(call)
        call.add_done_callback(functools.partial(self._finished, len(batch)))

    def _finished(self, items: int, call: asyncio.Task[None]) -> None:
        self._running_items -= items
        self._calls.discard(call)
        self._hand_out()

    def _take(self, share: int) -> list[_Pending]:
        head = next(iter(self._waiting))
        batch, size = [head], head.size
        for pending in self._waiting:
            if len(batch) == share:
                break
            if pending is head or pending.group != head.group or size + pending.size > self._config.max_batch_bytes:
                continue
            batch.append(pending)
            size += pending.size
        for pending in batch:
            self._leave(pending)
            pending.waited_ms = (time.perf_counter() - pending.arrived) * 1000
        return batch

    def _leave(self, pending: _Pending) -> None:
        if pending in self._waiting:
            del self._waiting[pending]
            self._waiting_bytes -= pending.size

    async def _run(self, batch: list[_Pending]) -> None:
        try:
            response = await self._backend.run(self.metric, WorkerRequest(items=[pending.item for pending in batch]))
            if len(response.results) != len(batch):
                raise ChainFailedError(f"the worker gave {len(response.results)} answers to {len(batch)} requests")
        except Exception as error:  # whatever it was, the callers must hear of it
            self._fail(batch, as_serving_error(error))
            return
        for pending, result in zip(batch, response.results, strict=True):
            _add_wait(result, pending.waited_ms)
            if not pending.answer.done():
                pending.answer.set_result(result)

    def _fail(self, batch: list[_Pending], error: ServingError) -> None:
        if isinstance(error, BackendUnavailableError):
            logger.warning("%s: %s", self.metric, error)
            self._on_unavailable()
        for pending in batch:
            if not pending.answer.done():
                pending.answer.set_exception(error)


def _full(unit: str, waiting: int, limit: int) -> ResourceLimitError:
    return ResourceLimitError(
        f"queue full: {waiting}{unit} waiting, limit {limit}; try again later",
        metadata={"waiting": str(waiting), "limit": str(limit), "retry_after_seconds": "1"},
    )


def _group_of(item: WorkItem) -> Hashable:
    """Only requests of the same cost share a call: a cheap one must not wait for an expensive neighbour."""
    request = request_of(item)
    if not isinstance(request, ScoreDefendedRequest) or request.return_purified_image:
        return object()  # the answer is big: it travels alone
    if request.HasField("smoothing"):
        return object()  # the work of many pictures: nobody should wait behind it
    steps = tuple((step.name, *sorted(step.parameters.items())) for step in request.defences)
    return request.return_undefended_score, steps


def _add_wait(result: WorkResult, milliseconds: float) -> None:
    kind = result.WhichOneof("result")
    if kind not in {None, "status"}:
        getattr(result, kind).timings.insert(0, StageTiming(stage=QUEUE_STAGE, milliseconds=milliseconds))
