"""The load generator: it counts right, and it does not believe wrong answers."""

from __future__ import annotations

import asyncio
import io
import math
from typing import Any

import numpy as np
import PIL.Image
import pytest
from google.rpc import code_pb2, status_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from scoreguard_client import AsyncScoringClient, ConfigurationError, UnavailableError
from scoreguard_client.bench import WRONG_SCORE, LoadResult, run_load, synthetic_images

pytestmark = pytest.mark.base

IMAGES = [np.full((4, 4, 3), level, np.uint8) for level in (51, 102, 153)]


async def load(target: str, **options: Any) -> LoadResult:
    """A short load with three images."""
    async with AsyncScoringClient(target) as client:
        return await run_load(client, IMAGES, metric="bright", **({"callers": 2, "seconds": 0.3} | options))


async def test_every_request_is_counted_once(running: Any) -> None:
    """Right answers and the warm-up are all that the server saw."""
    result = await load(running.target, defences="shift")
    assert result.failures == 0
    assert result.requests == len(running.service.requests) - len(IMAGES)
    assert result.requests_per_second == pytest.approx(result.requests / result.seconds)
    assert result.seconds >= 0.3


async def test_all_callers_are_busy_at_once(running: Any) -> None:
    """With N callers, N requests are under way together."""
    under_way, most = 0, 0

    class Watching(AsyncScoringClient):
        async def score_prepared(self, *args: Any, **options: Any) -> Any:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            try:
                return await super().score_prepared(*args, **options)
            finally:
                under_way -= 1

    async with Watching(running.target) as client:
        await run_load(client, IMAGES, metric="bright", callers=5, seconds=0.3)
    assert most == 5


async def test_an_error_is_counted_and_the_load_goes_on(running: Any) -> None:
    """A refused request is not an answer."""

    async def break_once() -> None:
        while len(running.service.requests) <= len(IMAGES):
            await asyncio.sleep(0.005)
        running.service.failures.append(status_pb2.Status(code=code_pb2.INTERNAL, message="broken"))

    result, _ = await asyncio.gather(load(running.target, seconds=0.5), break_once())
    assert result.errors == (("InternalError", 1),)
    assert result.requests == len(running.service.requests) - len(IMAGES) - 1


async def test_a_wrong_score_is_an_error(running: Any) -> None:
    """A server that answers fast and wrong has no throughput."""
    running.service.drift = 0.01
    result = await load(running.target)
    assert result.requests == 0
    assert dict(result.errors)[WRONG_SCORE] == result.failures > 0
    assert math.isnan(result.percentile_ms(50))
    assert result.summary()["p50_ms"] is None


async def test_a_server_that_is_down_raises_before_the_clock_starts() -> None:
    """There is nothing to measure."""
    with pytest.raises(UnavailableError):
        await load("localhost:1")


@pytest.mark.parametrize("options", [{"callers": 0}, {"seconds": 0}, {"seconds": float("nan")}], ids=str)
async def test_a_load_without_callers_or_time_is_refused(options: dict[str, Any]) -> None:
    """It would measure nothing."""
    with pytest.raises(ConfigurationError):
        await load("localhost:1", **options)


@given(latencies=st.lists(st.floats(0.001, 1e4), min_size=1, max_size=50), percent=st.integers(1, 100))
@settings(max_examples=50, deadline=None)
def test_a_percentile_lies_where_its_share_of_answers_ends(latencies: list[float], percent: int) -> None:
    """About that share of the answers is not slower: numpy's linear rule, checked by counting."""
    result = LoadResult(callers=1, seconds=1, latencies_ms=tuple(latencies), errors=())
    value = result.percentile_ms(percent)
    below = sum(latency < value and not math.isclose(latency, value) for latency in latencies)
    not_above = sum(latency <= value or math.isclose(latency, value) for latency in latencies)
    position = percent / 100 * (len(latencies) - 1)
    assert below <= math.ceil(position)
    assert not_above >= math.floor(position) + 1


def test_synthetic_images_are_repeatable_photographs() -> None:
    """The same seed gives the same JPEG files, of the right size, each another."""
    first, again = synthetic_images(64, 48, 3), synthetic_images(64, 48, 3)
    assert first == again
    assert len(set(first)) == 3
    for data in first:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            assert (opened.format, opened.size) == ("JPEG", (64, 48))
