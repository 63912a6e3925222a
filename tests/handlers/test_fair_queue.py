"""Who goes first: shares by cost and caller, small before large, nobody for ever."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreguard_handlers.gateway.fair_queue import FairQueue


@dataclass(eq=False)
class Job:
    """A piece of work."""

    name: str
    caller: str = ""
    seconds: float = 0.0


def order(queue: FairQueue[Job]) -> list[str]:
    """The names, taken out one by one."""
    names = []
    while len(queue):
        first = next(iter(queue))
        queue.start(first)
        names.append(first.name)
    return names


def queue_of(*jobs: Job) -> FairQueue[Job]:
    """A queue into which the jobs were put in this order."""
    queue: FairQueue[Job] = FairQueue()
    for job in jobs:
        queue.put(job)
    return queue


def test_work_of_equal_cost_and_caller_keeps_its_order() -> None:
    """First come, first served, where nothing tells the one from the other."""
    assert order(queue_of(*(Job(str(i)) for i in range(5)))) == ["0", "1", "2", "3", "4"]


def test_small_work_passes_large_work_even_of_the_same_caller() -> None:
    """Eight large images in the queue do not hold up a small one behind them."""
    large = [Job(f"large{i}", "a", 3.0) for i in range(8)]
    assert order(queue_of(*large, Job("small", "a", 0.04), Job("other", "b", 0.04)))[:2] == ["small", "other"]


def test_a_caller_with_much_work_shares_with_one_with_little() -> None:
    """The newcomer's work alternates with that of the caller who filled the queue."""
    queue = queue_of(*(Job(f"a{i}", "a", 1.0) for i in range(6)), Job("b0", "b", 1.0), Job("b1", "b", 1.0))
    assert order(queue) == ["a0", "b0", "a1", "b1", "a2", "a3", "a4", "a5"]


def test_shares_are_by_cost_not_by_number() -> None:
    """One piece of three seconds stands for three of one."""
    queue = queue_of(Job("a0", "a", 3.0), Job("a1", "a", 3.0), *(Job(f"b{i}", "b", 1.0) for i in range(6)))
    assert order(queue) == ["b0", "b1", "a0", "b2", "b3", "b4", "a1", "b5"]


def test_a_stream_of_small_work_does_not_starve_large_work() -> None:
    """However many small pieces keep coming, the large one has its turn when they have had as much."""
    queue = queue_of(Job("large", "a", 2.0))
    done = 0.0
    for _ in range(1000):
        queue.put(Job("small", "b", 0.1))
        first = next(iter(queue))
        queue.start(first)
        if first.name == "large":
            break
        done += first.seconds
    else:
        pytest.fail("the large one never had its turn")
    assert done == pytest.approx(2.0, abs=0.3)


def test_whoever_leaves_makes_nobody_behind_him_wait() -> None:
    """What a caller takes back does not count as had."""
    leaving = [Job(f"a{i}", "a", 5.0) for i in range(3)]
    queue = queue_of(*leaving)
    for job in leaving:
        queue.leave(job)
    queue.put(Job("a", "a", 5.0))
    queue.put(Job("b", "b", 6.0))
    assert order(queue) == ["a", "b"]


def test_work_that_is_put_first_is_first() -> None:
    """What has had its turn already does not queue again."""
    queue = queue_of(Job("a", seconds=0.01))
    queue.put_first(Job("again", seconds=9.0))
    assert order(queue) == ["again", "a"]


def test_the_greediest_gives_way_only_to_one_with_less() -> None:
    """The last piece of the caller with most; none where all have about as much, or where he asks himself."""
    queue = queue_of(*(Job(f"a{i}", "a", 1.0) for i in range(3)), Job("b0", "b", 1.0))
    last = queue.last_of_greediest("b")
    assert last is not None and last.name == "a2"
    assert queue.last_of_greediest("a") is None
    assert queue_of(Job("a0", "a"), Job("b0", "b")).last_of_greediest("b") is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100), st.booleans()), max_size=40))
def test_everybody_has_his_turn_once(plan: list[tuple[str, float, bool]]) -> None:
    """For any callers, costs and leavers: each piece that stays is taken out exactly once, and nothing is kept."""
    jobs = [Job(str(index), caller, seconds) for index, (caller, seconds, _) in enumerate(plan)]
    queue = queue_of(*jobs)
    stayed = []
    for job, (_, _, leaves) in zip(jobs, plan, strict=True):
        queue.leave(job) if leaves else stayed.append(job.name)
    assert sorted(order(queue)) == sorted(stayed)
    assert len(queue) == 0
