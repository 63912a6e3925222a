"""Which calls may be under way beside which."""

from __future__ import annotations

import pytest

from scoreguard_handlers.gateway.slots import Slots


def filled(workers: int, calls: int, large: int, small: int) -> Slots:
    """Slots with so many calls under way."""
    slots = Slots(workers=workers, calls=calls)
    for _ in range(large):
        slots.start(large=True)
    for _ in range(small):
        slots.start(large=False)
    return slots


@pytest.mark.parametrize(
    ("workers", "calls", "large", "small", "one_more_large", "one_more_small"),
    [
        (1, 2, 0, 0, True, True),
        (1, 2, 1, 0, False, False),  # nothing waits behind a large one
        (1, 2, 0, 1, True, True),
        (1, 2, 0, 2, False, False),
        (2, 4, 1, 0, False, True),  # the second worker is for the small
        (2, 4, 1, 1, False, True),
        (2, 4, 1, 2, False, False),  # two for one worker, as usual
        (4, 8, 3, 0, False, True),
        (4, 8, 2, 4, True, False),
        (1, 1, 0, 1, False, False),
    ],
)
def test_a_small_call_never_waits_behind_a_large_one(
    workers: int, calls: int, large: int, small: int, one_more_large: bool, one_more_small: bool
) -> None:
    """Of several workers one is kept for small work, and nothing is sent to a worker that runs large work."""
    slots = filled(workers, calls, large, small)
    assert slots.may_start(large=True) is one_more_large
    assert slots.may_start(large=False) is one_more_small
    assert slots.is_full is not (one_more_large or one_more_small)


@pytest.mark.parametrize(("workers", "large", "expected"), [(1, 0, False), (1, 1, True), (3, 2, False)])
def test_only_one_worker_alone_can_be_all_at_large_work(workers: int, large: int, expected: bool) -> None:
    """Of several, one is always left."""
    assert filled(workers, 2 * workers, large, 0).all_at_large_work is expected


def test_a_call_that_ends_makes_room() -> None:
    """For one of its kind."""
    slots = filled(1, 2, large=1, small=0)
    slots.finish(large=True)
    assert slots.may_start(large=True) and slots.may_start(large=False)
