"""A small caller beside callers with large images, on the real local backend."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import grpc
import pytest
from gateways import Line, connect, connected, failure_of, request, slow_request
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tiny_archives import write_tiny_archive

from scoreguard.v1.scoring_pb2 import ScoreDefendedBatchRequest
from scoreguard_handlers.config import AdmissionConfig, HealthConfig

SERVICE = "scoreguard.v1.ScoringService"
LARGE_CALLERS = 8
STEPS = 2
"""Of each large request: some tenths of a second of work, more on a slow machine."""
LANE = AdmissionConfig(lane_seconds=0.05)
"""What counts as large on any machine."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model store with one metric."""
    folder = tmp_path_factory.mktemp("fairness")
    write_tiny_archive(folder)
    return folder


async def seconds_of(call: Any) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    await call
    return time.perf_counter() - started


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_small_caller_does_not_wait_behind_large_ones(store: Path, workers: int) -> None:
    """Beside eight large requests a small one waits for one of them at most; with two workers, for none."""
    async with connected(store, workers=workers, admission=LANE) as line:
        await line.stub.ScoreDefended(slow_request(STEPS))
        large = [
            asyncio.create_task(seconds_of(line.stub.ScoreDefended(slow_request(STEPS)))) for _ in range(LARGE_CALLERS)
        ]
        await running(line)
        async with connect(line.gateway) as other:
            waits = [await seconds_of(other.stub.ScoreDefended(request())) for _ in range(3)]
        total = max(await asyncio.gather(*large))
    assert max(waits) < (2 if workers == 1 else 1) * total / LARGE_CALLERS + 0.5


async def running(line: Line) -> None:
    """Wait until a large request is under way and the others wait."""
    dispatcher = line.gateway.router.dispatchers["bright"]
    async with asyncio.timeout(20):
        while (dispatcher.running, dispatcher.waiting) != (1, LARGE_CALLERS - 1):
            await asyncio.sleep(0.01)


async def test_large_work_with_short_deadlines_keeps_nobody(store: Path) -> None:
    """Four callers give up on half a minute of work each after half a second: the next small one waits a moment."""
    async with connected(store, workers=1) as line:
        hasty = [line.stub.ScoreDefended(slow_request(60), timeout=0.5) for _ in range(4)]
        codes = {(await failure_of(call)).code() for call in hasty}
        assert codes == {grpc.StatusCode.DEADLINE_EXCEEDED}
        assert await seconds_of(line.stub.ScoreDefended(request())) < 3


async def test_health_waits_for_large_work_that_somebody_waits_for(store: Path) -> None:
    """The only worker is at a large image for longer than any canary may take: that is no reason to fail."""
    hasty = HealthConfig(period_seconds=0.05, canary_timeout_seconds=0.5, stall_seconds=0.5, stall_timeouts=1)
    async with connected(store, workers=1, health=hasty, admission=LANE) as line:
        stub: Any = health_pb2_grpc.HealthStub(line.channel)
        large = asyncio.create_task(seconds_of(line.stub.ScoreDefended(slow_request(12))))
        states = set()
        while not large.done():
            states.add((await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))).status)
            await asyncio.sleep(0.05)
        assert await large > 4 * hasty.stall_seconds
    assert states == {health_pb2.HealthCheckResponse.SERVING}


async def test_a_batch_of_many_is_one_caller(store: Path) -> None:
    """A dozen images in one call do not hold up another caller's single image: it has its turn after one or two."""
    async with connected(store, workers=1) as line, connect(line.gateway) as other:
        messages = [slow_request(1, size=512) for _ in range(12)]
        done: list[str] = []

        async def note(name: str, call: Any) -> None:
            await call
            done.append(name)

        batch = asyncio.create_task(
            note("batch", line.stub.ScoreDefendedBatch(ScoreDefendedBatchRequest(requests=messages)))
        )
        dispatcher = line.gateway.router.dispatchers["bright"]
        async with asyncio.timeout(20):
            while dispatcher.waiting < 8:
                await asyncio.sleep(0.01)
        waiting = dispatcher.waiting
        await note("single", other.stub.ScoreDefended(slow_request(1, size=512)))
        assert dispatcher.waiting >= waiting - 4
        await batch
    assert done == ["single", "batch"]
