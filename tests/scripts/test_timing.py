"""How the check of a GPU times a run."""

from __future__ import annotations

import time

import torch
from gpu import timing
from gpu.timing import measured

CPU = torch.device("cpu")


def test_the_first_call_does_not_count_in_the_speed() -> None:
    """It loads the graph; the later ones are what a caller waits for."""
    naps = iter([0.3])

    def run() -> None:
        time.sleep(next(naps, 0.01))

    speed = measured(run, 4, CPU, seconds=5.0, quick=True)
    assert speed.first_seconds >= 0.3
    assert 100 < speed.per_second <= 400
    assert speed.lowest <= speed.per_second <= speed.highest
    assert speed.rounds == timing._QUICK_ROUNDS


def test_a_call_that_takes_longer_than_the_time_is_made_once_and_marked() -> None:
    """A slow item must not take the time of all others."""
    calls = 0

    def run() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.05)

    speed = measured(run, 1, CPU, seconds=0.001, quick=False)
    assert (speed.rounds, calls) == (0, 1)
    assert 1 < speed.per_second <= 20


def test_between_the_two_one_warm_call_is_the_speed() -> None:
    """The first call was over the time, though not by far: the second is worth its wait."""
    calls = 0

    def run() -> None:
        nonlocal calls
        calls += 1
        time.sleep(0.05)

    speed = measured(run, 1, CPU, seconds=0.03, quick=False)
    assert (speed.rounds, calls) == (1, 2)
