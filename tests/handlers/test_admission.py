"""The queue before the workers: its bound, its deadlines, who leaves it, and how it shares out work."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Sequence

import pytest
from google.rpc import error_details_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreguard.v1.limits import LIMITS
from scoreguard.v1.scoring_pb2 import (
    DefenceStep,
    Image,
    ScoreDefendedRequest,
    ScoreDefendedResponse,
    StageTiming,
    Tensor,
)
from scoreguard.v1.worker_pb2 import WorkerResponse, WorkResult
from scoreguard_handlers.config import MIB, AdmissionConfig
from scoreguard_handlers.errors import (
    BackendUnavailableError,
    ChainFailedError,
    ResourceLimitError,
    ServingError,
    TooLateError,
    WorkerDiedError,
)
from scoreguard_handlers.gateway.admission import Dispatcher
from scoreguard_handlers.gateway.cost import Estimate
from scoreguard_handlers.worker.board import MemoryBoard
from scoreguard_handlers.worker.memory import MemoryBudget
from scoreguard_handlers.worker.pieces import Piece
from scoreguard_handlers.worker.received import Received, read_request
from scoreguard_handlers.worker.status import to_status


class GatedBackend:
    """Answers each item with its request_id, once the gate is open; remembers every call."""

    name = "gated"

    def __init__(self, *, workers: int = 1, calls: int = 0, max_batch: int = 8) -> None:
        self.workers, self.calls, self.max_batch = workers, calls or workers, max_batch
        self.board = MemoryBoard()
        self.gate = asyncio.Event()
        self.seen: list[list[str]] = []
        self.items: list[Piece] = []
        self.running = self.most_running = 0
        self.error: Exception | None = None
        self.answers_too_few = 0
        self.timing: StageTiming | None = None

    def on_down(self, listener: Callable[[], None]) -> None:
        """It stays up."""

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Answer when the gate is open."""
        self.seen.append([name_of(piece) for piece in pieces])
        self.items.extend(pieces)
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        await self.gate.wait()
        self.running -= 1
        if self.error is not None:
            raise self.error
        timings = [self.timing] if self.timing else []
        results = [
            WorkResult(score=ScoreDefendedResponse(request_id=name_of(piece), timings=timings)) for piece in pieces
        ]
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


def item_named(name: str, *, size: int = 0, steps: tuple[str, ...] = ()) -> Received[ScoreDefendedRequest]:
    """A piece of work that can be told from others."""
    return Received.of(
        ScoreDefendedRequest(
            request_id=name, image=Image(encoded=b"x" * size), defences=[DefenceStep(name=step) for step in steps]
        )
    )


def name_of(piece: Piece) -> str:
    """What `item_named` was given."""
    head = piece.request.head if piece.request else None
    return head.request_id if isinstance(head, ScoreDefendedRequest) else ""


async def settle() -> None:
    """Let every task that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


def submit_all(
    dispatcher: Dispatcher, requests: list[Received[ScoreDefendedRequest]], seconds: float = 10
) -> list[asyncio.Task[WorkResult]]:
    """Submit requests in order, each as a caller of its own."""
    return [asyncio.create_task(dispatcher.run_in_turn(request, seconds)) for request in requests]


async def test_a_full_queue_refuses_with_both_numbers() -> None:
    """One request above the limit gets RESOURCE_EXHAUSTED with the depth and the limit; the others are answered."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig(queue_limit=2))
    callers = submit_all(dispatcher, [item_named(str(i)) for i in range(3)])
    await settle()
    with pytest.raises(ResourceLimitError, match="queue full: 2 waiting, limit 2") as caught:
        await dispatcher.run_in_turn(item_named("late"), 1)
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
        await dispatcher.run_in_turn(item_named("late", size=1000), 1)
    callers[2].cancel()
    await settle()
    callers[2] = asyncio.create_task(dispatcher.run_in_turn(item_named("2", size=1000), 10))
    await settle()
    backend.gate.set()
    assert [(await caller).score.request_id for caller in callers] == ["0", "1", "2"]
    assert (await dispatcher.run_in_turn(item_named("huge", size=5000), 10)).score.request_id == "huge"


@pytest.mark.parametrize("seconds", [0.0, -1.0])
async def test_a_deadline_that_has_passed_is_refused_before_the_queue(seconds: float) -> None:
    """A request that is late on arrival gets DEADLINE_EXCEEDED and no worker sees it."""
    backend = GatedBackend()
    with pytest.raises(TooLateError):
        await Dispatcher("m", backend, AdmissionConfig()).run_in_turn(item_named("late"), seconds)
    assert backend.seen == []


@pytest.mark.parametrize(("asked", "given_seconds"), [(None, 7.0), (3.0, 3.0), (1000.0, 20.0)])
async def test_the_deadline_travels_with_the_item(asked: float | None, given_seconds: float) -> None:
    """The worker is told the caller's deadline, the default where there is none, and never more than the limit."""
    backend = GatedBackend()
    backend.gate.set()
    config = AdmissionConfig(default_deadline_seconds=7, max_deadline_seconds=20)
    await Dispatcher("m", backend, config).run_in_turn(item_named("a"), asked)
    assert backend.items[0].deadline_unix_seconds - time.time() == pytest.approx(given_seconds, abs=0.5)


async def test_a_request_that_expires_in_the_queue_never_reaches_a_worker() -> None:
    """The deadline counts while waiting, and the place in the queue is free again."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    first = asyncio.create_task(dispatcher.run_in_turn(item_named("first"), 10))
    await settle()
    with pytest.raises(TooLateError):
        await dispatcher.run_in_turn(item_named("expires"), 0.02)
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
            await dispatcher.run_in_turn(item_named(name), 10)

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
    """Nobody shares a worker call with the work of a thousand images, not even another of its kind."""
    backend = GatedBackend()
    items = [item_named(name) for name in ("head", "s1", "p1", "s2", "p2")]
    for item in items:
        if item.head.request_id.startswith("s"):
            item.head.smoothing.SetInParent()
    callers = submit_all(Dispatcher("m", backend, AdmissionConfig()), items)
    await settle()
    backend.gate.set()
    await asyncio.gather(*callers)
    assert backend.seen == [["head"], ["s1"], ["p1", "p2"], ["s2"]]


async def test_requests_with_big_answers_travel_alone() -> None:
    """Purified images come back uncompressed: two of them never share a call."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    items = [item_named(str(i)) for i in range(4)]
    for item in items:
        item.head.return_purified_image = True
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
        await dispatcher.run_in_turn(item_named("late"), 1)
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


LARGE = Estimate(megapixels=12, runs={"metric": 1}, memory_bytes=900 * MIB)
"""What a photograph of 12 megapixels costs."""
SMALL = Estimate(megapixels=0.1, runs={"metric": 1}, memory_bytes=9 * MIB)


def submit_as(dispatcher: Dispatcher, caller: str, name: str, estimate: Estimate) -> asyncio.Task[WorkResult]:
    """Submit an item of a caller with what it costs."""
    return asyncio.create_task(dispatcher.run_in_turn(item_named(name), 10, caller=caller, estimate=estimate))


async def finish(backend: GatedBackend, callers: list[asyncio.Task[WorkResult]]) -> list[str]:
    """Open the gate, and wait for everybody; the names in the order of their calls."""
    await settle()
    backend.gate.set()
    await asyncio.gather(*callers)
    return [name for call in backend.seen for name in call]


async def test_a_small_caller_passes_eight_large_ones() -> None:
    """With one worker the small image is next after the running one, and again, and again."""
    backend = GatedBackend(workers=1, calls=2)
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = [submit_as(dispatcher, f"photographer{i}", f"large{i}", LARGE) for i in range(8)]
    await settle()
    assert backend.seen == [["large0"]]  # nothing waits behind it in the worker's own queue
    callers += [submit_as(dispatcher, "small", f"small{i}", SMALL) for i in range(3)]
    assert (await finish(backend, callers))[:4] == ["large0", "small0", "small1", "small2"]


async def test_one_of_several_workers_is_kept_for_small_work() -> None:
    """However much large work waits, a small image is under way at once, and large work never takes all workers."""
    backend = GatedBackend(workers=2, calls=4)
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = [submit_as(dispatcher, f"photographer{i}", f"large{i}", LARGE) for i in range(8)]
    await settle()
    assert backend.seen == [["large0"]] and not dispatcher.busy
    callers += [submit_as(dispatcher, "small", f"small{i}", SMALL) for i in range(2)]
    await settle()
    assert backend.seen == [["large0"], ["small0"], ["small1"]]
    await finish(backend, callers)


async def test_callers_share_alike_whatever_they_send() -> None:
    """A caller with one image waits for one image of each other caller, not for all that they sent before."""
    backend = GatedBackend(workers=1)
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = [submit_as(dispatcher, "many", f"many{i}", LARGE) for i in range(5)]
    await settle()
    callers.append(submit_as(dispatcher, "one", "one", LARGE))
    assert (await finish(backend, callers)).index("one") <= 2


async def test_what_a_stage_takes_is_learnt_from_the_answers() -> None:
    """A stage that is much slower than a guess makes its images large, so that nothing waits behind the next one."""
    backend = GatedBackend(workers=1, calls=2)
    backend.gate.set()
    backend.timing = StageTiming(stage="diffuse:t=5", milliseconds=40_000)
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    diffused = Estimate(megapixels=0.25, runs={"diffuse": 1})
    for turn in range(3):
        await submit_as(dispatcher, "a", f"first{turn}", diffused)
    backend.gate.clear()
    callers = [submit_as(dispatcher, "a", f"next{i}", diffused) for i in range(2)]
    await settle()
    assert backend.seen[3:] == [["next0"]]
    await finish(backend, callers)


async def test_large_images_wait_for_each_others_memory() -> None:
    """What does not fit beside what runs waits, small work goes by, and whoever waited longest goes first."""
    backend = GatedBackend(workers=4, calls=8)
    memory = MemoryBudget(2000 * MIB)
    dispatcher = Dispatcher("m", backend, AdmissionConfig(), memory=memory)
    huge = Estimate(megapixels=20, runs={"metric": 1}, memory_bytes=1500 * MIB)
    callers = [submit_as(dispatcher, "a", "large0", LARGE), submit_as(dispatcher, "b", "huge", huge)]
    await settle()
    callers += [submit_as(dispatcher, "c", "large1", LARGE), submit_as(dispatcher, "d", "small", SMALL)]
    await settle()
    assert backend.seen == [["large0"], ["small"]]
    assert memory.taken_bytes == 900 * MIB
    assert await finish(backend, callers) == ["large0", "small", "huge", "large1"]
    assert memory.taken_bytes == 0


async def test_metrics_share_the_memory() -> None:
    """A large image of one metric waits for that of another, and starts when the other is done."""
    memory, backends = MemoryBudget(1000 * MIB), [GatedBackend(workers=2), GatedBackend(workers=2)]
    first, second = (Dispatcher(str(i), backends[i], AdmissionConfig(), memory=memory) for i in range(2))
    callers = [submit_as(first, "a", "one", LARGE), submit_as(second, "b", "two", LARGE)]
    await settle()
    assert (backends[0].seen, backends[1].seen) == ([["one"]], [])
    backends[1].gate.set()
    await finish(backends[0], callers)
    assert backends[1].seen == [["two"]]


async def test_what_can_never_fit_is_refused_with_both_numbers() -> None:
    """RESOURCE_EXHAUSTED at once, with what it would take, and without an invitation to try again."""
    dispatcher = Dispatcher("m", GatedBackend(), AdmissionConfig(), memory=MemoryBudget(500 * MIB))
    with pytest.raises(ResourceLimitError, match="about 900 MiB of memory, the limit is 500 MiB") as caught:
        await submit_as(dispatcher, "a", "large", LARGE)
    assert caught.value.retry_after_seconds is None


async def test_a_full_queue_says_when_to_come_back() -> None:
    """RetryInfo grows with what waits: seconds, not a constant."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig(queue_limit=4))
    callers = [submit_as(dispatcher, "a", str(i), LARGE) for i in range(5)]
    await settle()
    with pytest.raises(ResourceLimitError) as caught:
        await submit_as(dispatcher, "a", "late", LARGE)
    assert caught.value.retry_after_seconds == pytest.approx(4 * 3.0)
    details = {detail.TypeName(): detail for detail in to_status(caught.value).details}
    retry = error_details_pb2.RetryInfo()
    assert details["google.rpc.RetryInfo"].Unpack(retry)
    assert retry.retry_delay.ToSeconds() == 12
    await finish(backend, callers)


async def test_who_filled_the_queue_gives_way() -> None:
    """One caller's crowd does not lock the others out: its last piece is refused in favour of another's first."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig(queue_limit=3))
    crowd = [submit_as(dispatcher, "crowd", f"crowd{i}", SMALL) for i in range(4)]
    await settle()
    other = submit_as(dispatcher, "other", "other", SMALL)
    await settle()
    with pytest.raises(ResourceLimitError, match="queue full"):
        await crowd[3]
    await finish(backend, [*crowd[:3], other])


async def test_a_caller_who_leaves_takes_his_running_work_along() -> None:
    """The worker's board has the id while the call runs, and not any more when it has ended."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    leaver, stayer = submit_all(dispatcher, [item_named("leaver"), item_named("stayer")])
    await settle()
    ids = [item.id for item in backend.items]
    assert ids[0] != 0 and not backend.board.gone(ids[0])
    leaver.cancel()
    await settle()
    assert backend.board.gone(ids[0])
    backend.gate.set()
    await stayer
    assert not any(backend.board.gone(item.id) for item in backend.items)


async def test_an_answered_caller_leaves_no_note() -> None:
    """Neither do those who left while they waited."""
    backend = GatedBackend()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    callers = submit_all(dispatcher, [item_named("a"), item_named("b"), item_named("c")])
    await settle()
    callers[2].cancel()
    await finish(backend, callers[:2])
    assert backend.board._left == set()


class DyingBackend(GatedBackend):
    """Its worker dies over some items; it says over which, or not."""

    def __init__(self, *poison: str, says: bool = True, overdue: bool = False, **options: int) -> None:
        super().__init__(**options)
        self.poison, self._says, self._overdue = set(poison), says, overdue
        self.gate.set()

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Die, or answer."""
        response = await super().run(metric, pieces)
        culprits = [piece.id for piece in pieces if name_of(piece) in self.poison]
        if culprits:
            items = culprits if self._says else []
            raise WorkerDiedError("the worker died; try again", items=items, was_overdue=self._overdue)
        return response


async def code_of(work: Awaitable[WorkResult]) -> str:
    """OK, or the reason of the error."""
    try:
        await work
    except ServingError as error:
        return error.reason
    return "OK"


async def test_small_work_may_take_down_one_worker_and_not_a_second() -> None:
    """The first death may have been an operator's: UNAVAILABLE, so that callers try again; the second is its own."""
    backend = DyingBackend("poison")
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    reasons = [await code_of(dispatcher.run_in_turn(item_named("poison", size=100), 10)) for _ in range(4)]
    assert reasons == ["BACKEND_UNAVAILABLE", "POISON", "POISON", "POISON"]
    assert len(backend.seen) == 2
    assert await code_of(dispatcher.run_in_turn(item_named("healthy", size=99), 10)) == "OK"


async def test_large_work_that_took_down_a_worker_is_not_given_to_the_next() -> None:
    """It is refused at once and by name, whatever its request id and seed; another chain on the image is not."""
    backend = DyingBackend("poison")
    dispatcher = Dispatcher("m", backend, AdmissionConfig(), memory=MemoryBudget(2000 * MIB))
    assert await code_of(submit_as(dispatcher, "a", "poison", LARGE)) == "POISON"
    assert await code_of(submit_as(dispatcher, "b", "renamed", LARGE)) == "POISON"
    assert len(backend.seen) == 1
    other = dispatcher.run_in_turn(item_named("other", steps=("blur",)), 10, estimate=LARGE)
    assert await code_of(other) == "OK"


@pytest.mark.parametrize("form", ["encoded", "tensor"])
async def test_poison_is_known_whether_or_not_its_image_was_cut_out(form: str) -> None:
    """An image is left where it lies in a message above a size, which the length of a request id decides here."""
    data = bytes(LIMITS.request_bytes - 50)
    image = Image(encoded=data) if form == "encoded" else Image(tensor=Tensor(data=data, shape=[1, 2, 3]))
    backend = DyingBackend("poison")
    dispatcher = Dispatcher("m", backend, AdmissionConfig(), memory=MemoryBudget(2000 * MIB))

    async def sent(name: str, image: Image) -> tuple[str, bool]:
        message = ScoreDefendedRequest(request_id=name, image=image).SerializeToString()
        request = read_request(message, ScoreDefendedRequest)
        return await code_of(dispatcher.run_in_turn(request, 10, estimate=LARGE)), request.cut is not None

    assert await sent("poison", image) == ("POISON", False)
    assert await sent("p" * 200, image) == ("POISON", True)
    assert await sent("o" * 200, Image(encoded=b"\1" * len(data))) == ("OK", True)
    assert len(backend.seen) == 2


async def test_poison_is_forgotten_after_a_while() -> None:
    """A server with more memory is not bothered by yesterday's deaths."""
    backend = DyingBackend("poison")
    dispatcher = Dispatcher("m", backend, AdmissionConfig(poison_seconds=0.05), memory=MemoryBudget(2000 * MIB))
    assert await code_of(submit_as(dispatcher, "a", "poison", LARGE)) == "POISON"
    backend.poison.clear()
    await asyncio.sleep(0.1)
    assert await code_of(submit_as(dispatcher, "a", "poison", LARGE)) == "OK"


@pytest.mark.parametrize("says", [True, False])
async def test_the_neighbours_of_poison_are_answered(says: bool) -> None:
    """Whether or not the dead worker's note names the guilty one, each other item of the call is done again alone."""
    backend = DyingBackend("poison", says=says, workers=1)
    backend.gate.clear()
    dispatcher = Dispatcher("m", backend, AdmissionConfig())
    names = ("head", "a", "poison", "b")
    callers = submit_all(dispatcher, [item_named(name, size=len(name)) for name in names])
    reasons = asyncio.gather(*map(code_of, callers))
    await settle()
    backend.gate.set()
    assert await reasons == ["OK", "OK", "BACKEND_UNAVAILABLE", "OK"]
    assert backend.seen[1] == ["a", "poison", "b"]
    assert all(len(call) == 1 for call in backend.seen[2:])


async def test_a_worker_that_was_ended_here_blames_nobody() -> None:
    """Work that hung after its caller left is not refused to another who has more time."""
    backend = DyingBackend("slow", overdue=True)
    dispatcher = Dispatcher("m", backend, AdmissionConfig(), memory=MemoryBudget(2000 * MIB))
    for _ in range(3):
        assert await code_of(submit_as(dispatcher, "a", "slow", LARGE)) == "BACKEND_UNAVAILABLE"


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
