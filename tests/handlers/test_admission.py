"""The queue before the workers: its bound, its deadlines, who leaves it, and how it shares out work."""

from __future__ import annotations

import asyncio
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreguard.v1.scoring_pb2 import DefenceStep, Image, ScoreDefendedRequest, ScoreDefendedResponse
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkerResponse, WorkItem, WorkResult
from scoreguard_handlers.admission import Dispatcher
from scoreguard_handlers.board import MemoryBoard
from scoreguard_handlers.config import AdmissionConfig
from scoreguard_handlers.errors import (
    BackendUnavailableError,
    ChainFailedError,
    ResourceLimitError,
    ServingError,
    TooLateError,
)


class GatedBackend:
    """Answers each item with its request_id, once the gate is open; remembers every call."""

    name = "gated"

    def __init__(self, *, workers: int = 1, calls: int = 0, max_batch: int = 8) -> None:
        self.workers, self.calls, self.max_batch = workers, calls or workers, max_batch
        self.board = MemoryBoard()
        self.gate = asyncio.Event()
        self.seen: list[list[str]] = []
        self.items: list[WorkItem] = []
        self.running = self.most_running = 0
        self.error: Exception | None = None
        self.answers_too_few = 0

    async def run(self, metric: str, request: WorkerRequest) -> WorkerResponse:
        """Answer when the gate is open."""
        self.seen.append([item.score.request_id for item in request.items])
        self.items.extend(request.items)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.gate.wait()
        self.running -= 1
        if self.error is not None:
            raise self.error
        results = [WorkResult(score=ScoreDefendedResponse(request_id=i.score.request_id)) for i in request.items]
        return WorkerResponse(results=results[self.answers_too_few :])

    async def ready(self, metric: str) -> None:
        """Always."""
        return

    async def failed(self) -> str:
        """Never."""
        return await asyncio.get_running_loop().create_future()  # type: ignore[no-any-return]

    async def close(self) -> None:
        """Nothing to stop."""
        return


def item_named(name: str, *, size: int = 0, steps: tuple[str, ...] = ()) -> WorkItem:
    """A piece of work that can be told from others."""
    request = ScoreDefendedRequest(
        request_id=name, image=Image(encoded=b"x" * size), defences=[DefenceStep(name=step) for step in steps]
    )
    return WorkItem(score=request)


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def submit_all(dispatcher: Dispatcher, items: list[WorkItem], seconds: float = 10) -> list[asyncio.Task[WorkResult]]:
    """Submit items in order, each as a caller of its own."""
    return [asyncio.create_task(dispatcher.submit(item, seconds)) for item in items]


async def test_a_full_queue_refuses_with_both_numbers() -> None:
    """One request above the limit gets RESOURCE_EXHAUSTED with the depth and the limit; the others are answered."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig(queue_limit=2))
    callers = submit_all(dispatcher, [item_named(str(i)) for i in range(3)])
    await settle()
    with pytest.raises(ResourceLimitError, match="queue full: 2 waiting, limit 2") as caught:
        await dispatcher.submit(item_named("late"), 1)
    assert (caught.value.metadata["waiting"], caught.value.metadata["limit"]) == ("2", "2")
    backend.gate.set()
    assert [(await caller).score.request_id for caller in callers] == ["0", "1", "2"]


async def test_a_queue_is_bounded_in_bytes_too() -> None:
    """Few big requests fill the queue as many small ones do; whoever leaves makes room; one alone always fits."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig(queue_bytes=2500))
    callers = submit_all(dispatcher, [item_named(str(i), size=1000) for i in range(3)])
    await settle()
    with pytest.raises(ResourceLimitError, match=r"queue full: 20\d\d bytes waiting, limit 2500"):
        await dispatcher.submit(item_named("late", size=1000), 1)
    callers[2].cancel()
    await settle()
    callers[2] = asyncio.create_task(dispatcher.submit(item_named("2", size=1000), 10))
    await settle()
    backend.gate.set()
    assert [(await caller).score.request_id for caller in callers] == ["0", "1", "2"]
    assert (await dispatcher.submit(item_named("huge", size=5000), 10)).score.request_id == "huge"


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_deadline_that_has_passed_is_refused_before_the_queue(seconds: float) -> None:
    """A request that is late on arrival gets DEADLINE_EXCEEDED and no worker sees it."""
    backend = GatedBackend()
    with pytest.raises(TooLateError):
        await Dispatcher("m", backend, AdmissionConfig()).submit(item_named("late"), seconds)
    assert backend.seen == []


@pytest.mark.parametrize(("asked", "given_seconds"), [(None, 7.0), (3.0, 3.0), (1000.0, 20.0)])
async def test_the_deadline_travels_with_the_item(asked: float | None, given_seconds: float) -> None:
    """The worker is told the caller's deadline, the default where there is none, and never more than the limit."""
    backend = GatedBackend()
    backend.gate.set()
    config = AdmissionConfig(default_deadline_seconds=7, max_deadline_seconds=20)
    await Dispatcher("m", backend, config).submit(item_named("a"), asked)
    assert backend.items[0].deadline_unix_seconds - time.time() == pytest.approx(given_seconds, abs=0.5)


async def test_a_request_that_expires_in_the_queue_never_reaches_a_worker() -> None:
    """The deadline counts while waiting, and the place in the queue is free again."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    first = asyncio.create_task(dispatcher.submit(item_named("first"), 10))
    await settle()
    with pytest.raises(TooLateError):
        await dispatcher.submit(item_named("expires"), 0.02)
    assert dispatcher.waiting == 0
    backend.gate.set()
    await first
    assert backend.seen == [["first"]]


async def test_a_cancelled_request_never_reaches_a_worker() -> None:
    """A caller who hangs up while waiting costs no worker anything."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = submit_all(dispatcher, [item_named(name) for name in ("first", "cancelled", "last")])
    await settle()
    callers[1].cancel()
    await settle()
    assert dispatcher.waiting == 1
    backend.gate.set()
    await asyncio.gather(callers[0], callers[2])
    assert [name for call in backend.seen for name in call] == ["first", "last"]


async def test_a_queue_is_shared_out_evenly() -> None:
    """No call takes more than what is outstanding divided by the calls that may run."""
    backend = GatedBackend(workers=2)
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = submit_all(dispatcher, [item_named(str(i)) for i in range(10)])
    await settle()
    backend.gate.set()
    await asyncio.gather(*callers)
    assert [len(call) for call in backend.seen] == [1, 1, 5, 2, 1]


async def test_a_single_caller_never_waits_for_company() -> None:
    """With no more requests than workers each goes out at once and alone."""
    backend = GatedBackend(workers=2)
    dispatcher = Dispatcher("m", backend, AdmissionConfig(linger_seconds=30))
    callers = submit_all(dispatcher, [item_named("a"), item_named("b")])
    await settle()
    assert backend.seen == [["a"], ["b"]]
    backend.gate.set()
    await asyncio.gather(*callers)


async def test_callers_who_come_back_share_a_call_again() -> None:
    """Under load a free worker waits a moment for its share, and then takes what there is."""
    backend = GatedBackend()
    backend.gate.set()
    dispatcher = Dispatcher("m", backend, AdmissionConfig(linger_seconds=0.05))

    async def caller(name: str, times: int) -> None:
        for _ in range(times):
            await dispatcher.submit(item_named(name), 10)

    await asyncio.gather(caller("a", 5), caller("b", 5), caller("c", 3))
    sizes = [len(call) for call in backend.seen]
    assert max(sizes) == 3 and len(sizes) < sum(sizes)


async def test_only_requests_with_the_same_chain_share_a_call() -> None:
    """A cheap request never waits for an expensive neighbour of the same call."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    names = ["head", "a1", "b1", "a2", "b2"]
    callers = submit_all(dispatcher, [item_named(name, steps=(name[0],)) for name in names])
    await settle()
    backend.gate.set()
    await asyncio.gather(*callers)
    assert backend.seen == [["head"], ["a1", "a2"], ["b1", "b2"]]


async def test_a_smoothed_request_travels_alone() -> None:
    """Nobody shares a worker call with the work of a thousand pictures, not even another of its kind."""
    backend = GatedBackend()
    items = [item_named(name) for name in ("head", "s1", "p1", "s2", "p2")]
    for item in items:
        if item.score.request_id.startswith("s"):
            item.score.smoothing.SetInParent()
    callers = submit_all(Dispatcher("m", backend, AdmissionConfig()), items)
    await settle()
    backend.gate.set()
    await asyncio.gather(*callers)
    assert backend.seen == [["head"], ["s1"], ["p1", "p2"], ["s2"]]


async def test_requests_with_big_answers_travel_alone() -> None:
    """Purified pictures come back uncompressed: two of them never share a call."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    items = [item_named(str(i)) for i in range(4)]
    for item in items:
        item.score.return_purified_image = True
    callers = submit_all(dispatcher, items)
    await settle()
    backend.gate.set()
    await asyncio.gather(*callers)
    assert [len(call) for call in backend.seen] == [1, 1, 1, 1]


async def test_big_requests_travel_alone() -> None:
    """Requests whose bytes add up to more than the limit do not share a call."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig(max_batch_bytes=1500))
    callers = submit_all(dispatcher, [item_named(str(i), size=1000) for i in range(4)])
    await settle()
    backend.gate.set()
    await asyncio.gather(*callers)
    assert [len(call) for call in backend.seen] == [1, 1, 1, 1]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (BackendUnavailableError("gone"), BackendUnavailableError),
        (ChainFailedError("bad"), ChainFailedError),
        (MemoryError(), ResourceLimitError),
        (ValueError("a bug"), ChainFailedError),
    ],
)
async def test_a_failed_call_fails_each_of_its_callers(error: Exception, expected: type[ServingError]) -> None:
    """Whatever a worker call raises reaches every caller of the call with a class of ours."""
    backend = GatedBackend()
    backend.error = error
    backend.gate.set()
    noticed: list[int] = []
    dispatcher = Dispatcher("m", backend, AdmissionConfig(), lambda: noticed.append(1))
    results = await asyncio.gather(
        *submit_all(dispatcher, [item_named(str(i)) for i in range(3)]), return_exceptions=True
    )
    assert [type(result) for result in results] == [expected] * 3
    assert bool(noticed) == (expected is BackendUnavailableError)


async def test_too_few_answers_are_an_error_for_all() -> None:
    """A worker that loses an answer must not shift the others to the wrong callers."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = submit_all(dispatcher, [item_named(str(i)) for i in range(3)])
    await settle()
    backend.answers_too_few = 1
    backend.gate.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    assert all(isinstance(result, ChainFailedError) for result in results)


async def test_draining_finishes_what_is_here_and_refuses_what_comes() -> None:
    """Stopping loses no admitted request."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = submit_all(dispatcher, [item_named(str(i)) for i in range(3)])
    await settle()
    drain = asyncio.create_task(dispatcher.drain())
    await settle()
    with pytest.raises(BackendUnavailableError, match="stopping"):
        await dispatcher.submit(item_named("late"), 1)
    assert not drain.done()
    backend.gate.set()
    await drain
    assert [(await caller).score.request_id for caller in callers] == ["0", "1", "2"]


async def test_the_time_in_the_queue_is_the_first_stage() -> None:
    """The response says how long the request waited."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = submit_all(dispatcher, [item_named("a"), item_named("b")])
    await asyncio.sleep(0.05)
    backend.gate.set()
    waits = [(await caller).score.timings[0] for caller in callers]
    assert [wait.stage for wait in waits] == ["queue", "queue"]
    assert waits[0].milliseconds < 40 <= waits[1].milliseconds


@settings(max_examples=40, deadline=None)
@given(
    workers=st.integers(1, 3),
    calls=st.integers(1, 3),
    batch=st.integers(1, 5),
    count=st.integers(0, 30),
    leavers=st.sets(st.integers(0, 29)),
)
def test_every_caller_gets_its_own_answer(workers: int, calls: int, batch: int, count: int, leavers: set[int]) -> None:
    """For any limits and any cancellations: own answer, bounded calls, bounded batches, nothing left behind."""

    async def scenario() -> None:
        backend = GatedBackend(workers=workers, calls=workers * calls, max_batch=batch)
        dispatcher = Dispatcher("m", backend, AdmissionConfig())
        callers = submit_all(dispatcher, [item_named(str(i)) for i in range(count)])
        await settle()
        for index in leavers & set(range(count)):
            callers[index].cancel()
        await settle()
        backend.gate.set()
        results = await asyncio.gather(*callers, return_exceptions=True)
        stayed = [i for i in range(count) if i not in leavers]
        assert [results[i].score.request_id for i in stayed] == [str(i) for i in stayed]  # type: ignore[union-attr]
        assert backend.most_running <= workers * calls
        assert all(len(call) <= min(batch, math.ceil(count / (workers * calls))) for call in backend.seen)
        await settle()
        assert (dispatcher.waiting, dispatcher.running) == (0, 0)

    asyncio.run(scenario())
