"""Deadlines and callers who leave, as running work sees them."""

from __future__ import annotations

import threading
import time

import pytest

from scoreguard_handlers.errors import CallerGoneError, TooLateError
from scoreguard_handlers.worker.deadline import Deadline, DeadlineWatch


def test_a_deadline_that_passed_names_the_stage() -> None:
    """Whether it is the time that is over or the caller who has left."""
    with pytest.raises(TooLateError, match="passed before blur") as late:
        Deadline(time.time() - 1).check("blur")
    with pytest.raises(CallerGoneError, match="left before blur") as gone:
        Deadline(time.time() + 9, lambda: True).check("blur")
    assert late.value.metadata == gone.value.metadata == {"stage": "blur"}
    Deadline(time.time() + 9, lambda: False).check("blur")
    Deadline().check("blur")


@pytest.mark.parametrize("seconds", [0.0, 30.0])
def test_a_caller_who_leaves_stops_what_runs(seconds: float) -> None:
    """Within a moment, with or without a deadline, and beside work that goes on."""
    watch, left, stopped, other = DeadlineWatch(), threading.Event(), threading.Event(), threading.Event()
    moment = time.time() + seconds if seconds else 0.0
    with watch.watch(Deadline(time.time() + 60), other.set), watch.watch(Deadline(moment, left.is_set), stopped.set):
        assert not stopped.wait(0.2)
        left.set()
        assert stopped.wait(5)
    assert not other.is_set()


def test_work_that_ended_in_time_is_not_stopped() -> None:
    """Its stop is never called, even if the caller leaves afterwards."""
    watch, stopped = DeadlineWatch(), threading.Event()
    with watch.watch(Deadline(time.time() + 0.1, lambda: False), stopped.set):
        pass
    assert not stopped.wait(0.3)
