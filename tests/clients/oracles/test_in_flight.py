"""How many calls an oracle or a campaign keeps under way, by the size of the images."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from scoreguard_client.oracles.in_flight import CALLS_IN_FLIGHT, pool_for


def most_at_once(pixels: int, most: int = CALLS_IN_FLIGHT) -> int:
    """Calls under way at the same time where ten float32 images of so many pixels are asked about."""
    # Memory that nobody writes to is not taken.
    images, lock, running, seen = [np.empty((pixels, 1, 3), np.float32)] * 10, threading.Lock(), [0], [0]

    def call(_: object) -> None:
        with lock:
            running[0] += 1
            seen[0] = max(seen[0], running[0])
        time.sleep(0.05)
        with lock:
            running[0] -= 1

    with pool_for(images, most) as pool:
        list(pool.map(call, images))
    return seen[0]


@pytest.mark.parametrize(("pixels", "calls"), [(200_000, 8), (8_000_000, 2), (12_000_000, 1), (48_000_000, 1)])
def test_large_images_have_fewer_calls_under_way(pixels: int, calls: int) -> None:
    """Messages of at most 256 MiB together, so that neither side holds gigabytes; a larger image goes alone."""
    assert most_at_once(pixels) == calls


def test_a_lower_number_holds_for_small_images() -> None:
    """An oracle that was told to make one call at a time does so."""
    assert most_at_once(100, most=1) == 1


def test_a_failure_ends_the_calls_that_have_not_started() -> None:
    """Nobody waits for them."""
    started = []

    def call(number: int) -> None:
        started.append(number)
        raise ValueError("no answer")

    with pytest.raises(ValueError, match="no answer"), pool_for([np.empty((48_000_000, 1, 3), np.float32)]) as pool:
        list(pool.map(call, range(100)))
    assert len(started) < 100
