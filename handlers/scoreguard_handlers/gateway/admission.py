"""Queue work for the workers: bounded and fair, in fair batches, dropping work whose caller has gone.

TorchServe forwards neither deadlines nor cancellations, so its own queue is kept short: about one call per worker is
under way, and everything else waits here, where an expired or cancelled request costs nothing. `slots` decides how many
calls may be under way, the fair queue decides the order, and the memory budget decides whether there is room.

A call to TorchServe has a fixed CPU cost, so under load several small requests share one. The share is the number of
outstanding requests divided by the calls that may be under way: one for a single caller, and never so many that one
worker idles while another is full. If fewer requests than the share are waiting, callers that just received an answer
get a moment to send the next request.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import secrets
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Final

from google.rpc import code_pb2

from scoreguard.v1.scoring_pb2 import ScoreDefendedRequest, StageTiming
from scoreguard.v1.spec import Step
from scoreguard.v1.worker_pb2 import WorkResult
from scoreguard_handlers.backends.base import Backend
from scoreguard_handlers.config import MIB, AdmissionConfig
from scoreguard_handlers.errors import (
    BackendUnavailableError,
    ChainFailedError,
    ResourceLimitError,
    ServingError,
    TooLateError,
    WorkerDiedError,
    as_serving_error,
)
from scoreguard_handlers.gateway.cost import Estimate, Rates
from scoreguard_handlers.gateway.fair_queue import FairQueue
from scoreguard_handlers.gateway.poison import PoisonList
from scoreguard_handlers.gateway.slots import Slots
from scoreguard_handlers.rate_limit import RateLimit
from scoreguard_handlers.worker.memory import MemoryBudget
from scoreguard_handlers.worker.pieces import Piece
from scoreguard_handlers.worker.received import Received
from scoreguard_handlers.worker.request_check import Work

QUEUE_STAGE: Final = "queue"
UNLIMITED: Final = 1 << 60
_ID_BITS: Final = 62
_STOPPED: Final = (code_pb2.DEADLINE_EXCEEDED, code_pb2.CANCELLED)
_COUNTING: Final = ("score", "gradient")
"""Kinds of answers that report how often the call was sent."""
_SUSPECT_SHARE: Final = 4
"""Work that takes more than one part in this many of the memory is blamed for a worker's first death."""
_DRAIN_SECONDS: Final = 0.01
"""Time between two checks of a queue that waits for memory used by other metrics."""
_RETRY_SECONDS: Final = (1.0, 30.0)
"""Shortest and longest delay that a caller is advised to wait before a retry."""
logger = logging.getLogger(__name__)
_WARNINGS: Final = RateLimit()


@dataclass(eq=False, slots=True, kw_only=True)
class _Pending:
    request: Received[Work]
    """The request as it arrived: copying each waiting image would double the gateway's memory."""
    id: int
    deadline_unix_seconds: float
    answer: asyncio.Future[WorkResult]
    group: Hashable
    size: int
    caller: str
    attempts: int
    estimate: Estimate
    seconds: float
    is_large: bool
    arrived: float = field(default_factory=time.perf_counter)
    waited_ms: float = 0.0
    is_running: bool = False
    tried: bool = False
    """Whether it was already in a call whose worker died, perhaps because of another item."""


class Dispatcher:
    """The queue of one metric. Belongs to the event loop that made it."""

    def __init__(
        self,
        metric: str,
        backend: Backend,
        config: AdmissionConfig,
        on_unavailable: Callable[[], None] = lambda: None,
        memory: MemoryBudget | None = None,
    ) -> None:
        self.metric = metric
        self.refusal: ServingError | None = None
        """While this is set, new requests get this error."""
        self._backend, self._config, self._on_unavailable = backend, config, on_unavailable
        self._memory = memory or MemoryBudget(UNLIMITED)
        self._memory.on_room(self._hand_out)
        self._waiting: FairQueue[_Pending] = FairQueue()
        self._waiting_bytes = self._running_items = 0
        self._lingering: asyncio.TimerHandle | None = None
        self._slots = Slots(workers=backend.workers, calls=backend.calls)
        self._calls: dict[asyncio.Task[None], list[_Pending]] = {}
        self._rates, self._poison = Rates(), PoisonList(config.poison_seconds)

    @property
    def waiting(self) -> int:
        """Return the number of requests in the queue."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Return the number of worker calls under way."""
        return len(self._calls)

    @property
    def busy(self) -> bool:
        """Whether every worker has something to do."""
        return self.running >= self._backend.workers

    @property
    def has_all_at_large_work(self) -> bool:
        """Whether every worker runs large work whose callers still wait, so nothing else can be answered meanwhile."""
        now, running = time.time(), [pending for batch in self._calls.values() for pending in batch]
        return self._slots.all_at_large_work and all(pending.deadline_unix_seconds > now for pending in running)

    async def run_in_turn(
        self,
        request: Received[Work],
        seconds: float | None,
        *,
        caller: str = "",
        attempts: int = 1,
        estimate: Estimate | None = None,
    ) -> WorkResult:
        """Queue work, then wait for its turn and for the worker's answer. If the caller leaves, the work is stopped.

        Args:
            request: the piece of work.
            seconds: how long the caller waits; None = the default.
            caller: the owner of the work; callers share the workers evenly.
            attempts: how often the caller's channel has sent it; the answer repeats this number.
            estimate: what it will cost; None = almost nothing.

        Raises:
            ServingError: refused, too late, or failed as a whole; an item's own failure is in the result.
        """
        seconds = self._clip(seconds)
        pending = self._pending(request, seconds, caller, attempts, estimate or Estimate())
        self._check_admission(seconds, pending)
        self._waiting.put(pending)
        self._waiting_bytes += pending.size
        self._hand_out()
        try:
            async with asyncio.timeout(seconds):
                return await pending.answer
        except TimeoutError:
            raise TooLateError(f"no answer within {seconds:.3g} s; allow more time or send less work") from None
        finally:
            self._leave(pending)

    async def drain(self) -> None:
        """Refuse new work, and wait for the work already accepted."""
        self.refusal = BackendUnavailableError("the server is stopping; call another one")
        while self._calls or len(self._waiting):
            await asyncio.wait([*self._calls]) if self._calls else await asyncio.sleep(_DRAIN_SECONDS)

    def _clip(self, seconds: float | None) -> float:
        wanted = self._config.default_deadline_seconds if seconds is None else seconds
        return min(wanted, self._config.max_deadline_seconds)

    def _pending(
        self, request: Received[Work], seconds: float, caller: str, attempts: int, estimate: Estimate
    ) -> _Pending:
        cost = self._rates.seconds(estimate)
        is_large = cost > self._config.lane_seconds or not self._memory.is_small(estimate.memory_bytes)
        return _Pending(
            request=request,
            id=1 + secrets.randbits(_ID_BITS),
            deadline_unix_seconds=time.time() + seconds,
            answer=asyncio.get_running_loop().create_future(),
            group=object() if is_large else _group_of(request.head),
            size=request.size,
            caller=caller,
            attempts=attempts,
            estimate=estimate,
            seconds=cost,
            is_large=is_large,
        )

    def _check_admission(self, seconds: float, pending: _Pending) -> None:
        if self.refusal is not None:
            raise self.refusal
        if seconds <= 0:
            raise TooLateError("the deadline had passed when the request arrived; allow more time")
        self._check_memory(pending.estimate.memory_bytes)
        self._poison.check(pending.request)
        if self.waiting >= self._config.queue_limit:
            self._make_room(pending.caller)
        if self._waiting_bytes + pending.size > max(self._config.queue_bytes, pending.size):
            raise self._full(" bytes", self._waiting_bytes, self._config.queue_bytes)

    def _check_memory(self, needed: int) -> None:
        if needed > self._memory.limit_bytes:
            needed_mib, limit = needed // MIB, self._memory.limit_bytes // MIB
            raise ResourceLimitError(
                f"the image would take about {needed_mib} MiB of memory, the limit is {limit} MiB: "
                "send a smaller image or a shorter chain",
                field="image",
                metadata={"needed_mib": str(needed_mib), "limit_mib": str(limit)},
            )

    def _make_room(self, caller: str) -> None:
        """Make room in a full queue: the caller with most work gives way to one with less."""
        full = self._full("", self.waiting, self._config.queue_limit)
        last = self._waiting.last_of_greediest(caller)
        if last is None:
            raise full
        self._remove(last)
        if not last.answer.done():
            last.answer.set_exception(full)

    def _full(self, unit: str, waiting: int, limit: int) -> ResourceLimitError:
        shortest, longest = _RETRY_SECONDS
        ahead = sum(pending.seconds for pending in self._waiting) / self._backend.workers
        return ResourceLimitError(
            f"queue full: {waiting}{unit} waiting, limit {limit}; try again later",
            metadata={
                "waiting": str(waiting),
                "limit": str(limit),
                "retry_after_seconds": f"{min(max(ahead, shortest), longest):.3g}",
            },
        )

    def _hand_out(self) -> None:
        """Start as many calls as may run, each with its share of requests."""
        while (head := self._next()) is not None:
            share = self._share(head)
            if not head.is_large and self.waiting < share and self._linger():
                return
            self._start(self._take(head, share))

    def _next(self) -> _Pending | None:
        """Return the first request in the queue that may start now."""
        if not len(self._waiting) or self._slots.is_full:
            return None
        for pending in self._waiting:
            if not self._slots.may_start(large=pending.is_large):
                continue
            if self._memory.take(pending, pending.estimate.memory_bytes):
                return pending
        return None

    def _share(self, head: _Pending) -> int:
        if head.is_large or head.tried:
            return 1
        outstanding = self.waiting + self._running_items
        return min(self._backend.max_batch, math.ceil(outstanding / self._backend.calls))

    def _linger(self) -> bool:
        """Whether to wait a moment for more requests; each wait is granted once."""
        if self._lingering is None:
            loop = asyncio.get_running_loop()
            self._lingering = loop.call_later(self._config.linger_seconds, self._hand_out)
            return True
        return asyncio.get_running_loop().time() < self._lingering.when()

    def _take(self, head: _Pending, share: int) -> list[_Pending]:
        batch, size = [head], head.size
        for pending in self._waiting if share > 1 else ():
            if len(batch) == share:
                break
            if pending is head or pending.group != head.group or size + pending.size > self._config.max_batch_bytes:
                continue
            batch.append(pending)
            size += pending.size
        for pending in batch:
            self._waiting.start(pending)
            self._waiting_bytes -= pending.size
            pending.is_running, pending.waited_ms = True, (time.perf_counter() - pending.arrived) * 1000
        return batch

    def _start(self, batch: list[_Pending]) -> None:
        if self._lingering is not None:
            self._lingering.cancel()
            self._lingering = None
        self._running_items += len(batch)
        self._slots.start(large=batch[0].is_large)
        call = asyncio.create_task(self._run(batch))
        self._calls[call] = batch
        call.add_done_callback(functools.partial(self._finished, batch))

    def _finished(self, batch: list[_Pending], call: asyncio.Task[None]) -> None:
        self._running_items -= len(batch)
        self._slots.finish(large=batch[0].is_large)
        self._calls.pop(call, None)
        for pending in batch:
            pending.is_running = False
            self._backend.board.forget(pending.id)
            self._memory.leave(pending)
        self._hand_out()

    def _leave(self, pending: _Pending) -> None:
        """Clean up after a caller that has its answer or has gone."""
        if pending in self._waiting:
            self._remove(pending)
        elif pending.is_running and pending.answer.cancelled():
            self._backend.board.leave(pending.id)

    def _remove(self, pending: _Pending) -> None:
        self._waiting.leave(pending)
        self._waiting_bytes -= pending.size
        self._memory.leave(pending)

    async def _run(self, batch: list[_Pending]) -> None:
        started = time.perf_counter()
        try:
            response = await self._backend.run(self.metric, [_piece_of(pending) for pending in batch])
            if len(response.results) != len(batch):
                raise ChainFailedError(f"the worker gave {len(response.results)} answers to {len(batch)} requests")
        except WorkerDiedError as error:
            self._unavailable(error)
            self._blame(batch, error)
        except Exception as error:  # any failure must reach the callers
            failure = as_serving_error(error)
            if isinstance(failure, BackendUnavailableError):
                self._unavailable(failure)
            _fail(batch, failure)
        else:
            self._answer(batch, response.results, time.perf_counter() - started)

    def _answer(self, batch: list[_Pending], results: Sequence[WorkResult], seconds: float) -> None:
        for pending, result in zip(batch, results, strict=True):
            if len(batch) == 1 and result.status.code in _STOPPED:
                self._rates.stopped(pending.estimate, seconds)
            self._rates.learn(pending.estimate, result)
            _complete(result, pending)
            if not pending.answer.done():
                pending.answer.set_result(result)

    def _unavailable(self, error: ServingError) -> None:
        if _WARNINGS.take(self.metric) is not None:
            logger.warning("%s: %s", self.metric, error)
        self._on_unavailable()

    def _blame(self, batch: list[_Pending], error: WorkerDiedError) -> None:
        """Fail the work that killed the worker; repeat the rest, one piece at a time."""
        suspects = [pending for pending in batch if pending.id in error.items] or batch
        if len(suspects) > 1 and not any(pending.tried for pending in suspects):
            suspects = []  # run one by one, the cause will be found
        for pending in batch:
            if pending in suspects:
                _fail([pending], self._verdict(pending, error) or error)
            elif not pending.answer.done():
                pending.tried = True
                self._waiting.put_first(pending)
                self._waiting_bytes += pending.size

    def _verdict(self, pending: _Pending, error: WorkerDiedError) -> ServingError | None:
        if error.was_overdue:
            return None
        large = pending.estimate.memory_bytes * _SUSPECT_SHARE > self._memory.limit_bytes
        return self._poison.blame(pending.request, large=large)


def _fail(batch: list[_Pending], error: ServingError) -> None:
    for pending in batch:
        if not pending.answer.done():
            pending.answer.set_exception(error)


def _piece_of(pending: _Pending) -> Piece:
    return Piece(request=pending.request, id=pending.id, deadline_unix_seconds=pending.deadline_unix_seconds)


def _group_of(request: Work) -> Hashable:
    """Only requests of the same cost share a call: a cheap one must not wait for an expensive one."""
    if not isinstance(request, ScoreDefendedRequest) or request.return_purified_image:
        return object()  # the answer is big: it is sent alone
    if request.HasField("smoothing"):
        return object()  # costs as much as many images: nothing should wait behind it
    return request.return_undefended_score, tuple(map(Step.from_message, request.defences))


def _complete(result: WorkResult, pending: _Pending) -> None:
    """Add the gateway's facts about the work to the worker's answer."""
    kind = result.WhichOneof("result")
    if kind is None or kind == "status":
        return
    answer = getattr(result, kind)
    answer.timings.insert(0, StageTiming(stage=QUEUE_STAGE, milliseconds=pending.waited_ms))
    if kind in _COUNTING:
        answer.attempts = pending.attempts
