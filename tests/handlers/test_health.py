"""Health: the process, the service and each metric; a canary, and callers who get no answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

import grpc
import pytest
from gateways import connected, eventually, failure_of, request, slow_request
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tiny_archives import write_tiny_archive

from scoreguard.v1.worker_pb2 import WorkerResponse
from scoreguard_handlers.backends.local import LocalBackend
from scoreguard_handlers.config import AdmissionConfig, HealthConfig, WorkerConfig
from scoreguard_handlers.errors import BackendUnavailableError, TooLateError
from scoreguard_handlers.gateway.health import HealthMonitor
from scoreguard_handlers.gateway.request_router import RequestRouter
from scoreguard_handlers.gateway.telemetry import Telemetry
from scoreguard_handlers.worker.catalogue import Catalogue
from scoreguard_handlers.worker.pieces import Piece
from scoreguard_handlers.worker.received import Received
from scoreguard_handlers.worker.worker import Worker

SERVICE = "scoreguard.v1.ScoringService"
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
QUICK = HealthConfig(period_seconds=0.05, retry_seconds=0.05)
ONE_HANGS = HealthConfig(period_seconds=0.1, retry_seconds=0.1, canary_timeout_seconds=2)
STALL = HealthConfig(
    period_seconds=0.1, retry_seconds=0.1, canary_timeout_seconds=60, stall_seconds=0.5, stall_timeouts=3
)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A model store with one metric."""
    write_tiny_archive(tmp_path / "store")
    return tmp_path / "store"


@pytest.mark.parametrize("name", ["", "liveness", SERVICE, f"{SERVICE}/bright"])
async def test_health_knows_the_process_the_service_and_each_metric(store: Path, name: str) -> None:
    """Each name is SERVING, an unknown one is NOT_FOUND."""
    async with connected(store) as line:
        stub = health_pb2_grpc.HealthStub(line.channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=name))).status == SERVING
        other = stub.Check(health_pb2.HealthCheckRequest(service=f"{name}/other"))
        assert (await failure_of(other)).code() is grpc.StatusCode.NOT_FOUND


FAULTS = {"gone": BackendUnavailableError("the worker died"), "unforeseen": ZeroDivisionError("a bug")}


class SwitchedBackend(LocalBackend):
    """The local backend with a switch: what it does to the answers is up to the test."""

    fault = ""
    faulty: Collection[str] = ("bright",)
    """Metrics that have the fault."""

    async def run(self, metric: str, pieces: Sequence[Piece]) -> WorkerResponse:
        """Score, unless told to be gone or to hang; shift the score when told to be wrong."""
        if metric not in self.faulty:
            return await super().run(metric, pieces)
        while self.fault == "hung":
            await asyncio.sleep(0.01)
        if self.fault in FAULTS:
            raise FAULTS[self.fault]
        response = await super().run(metric, pieces)
        if self.fault == "wrong":
            response.results[0].score.score += 5
        return response


class State(Protocol):
    """What a probe sees."""

    async def __call__(self, name: str, expected: int | None = None) -> Any:
        """The state of a name, or whether it is the expected one."""
        ...


@asynccontextmanager
async def watched(store: Path, health: HealthConfig) -> AsyncIterator[tuple[SwitchedBackend, RequestRouter, State]]:
    """A router with its monitor, on a backend whose faults are up to the test."""
    catalogue, telemetry = Catalogue.open(store), Telemetry()
    runners = {name: Worker.load(each.archive, WorkerConfig()) for name, each in catalogue.items()}
    backend = SwitchedBackend(runners, workers=1)
    router = RequestRouter(catalogue, backend, AdmissionConfig(), telemetry)
    monitor = HealthMonitor(router, health, [SERVICE], telemetry)
    await monitor.start()

    async def state(name: str, expected: int | None = None) -> Any:
        answer = await monitor.servicer.Check(health_pb2.HealthCheckRequest(service=name), None)
        return answer.status if expected is None else answer.status == expected

    try:
        yield backend, router, state
    finally:
        backend.fault = ""
        await monitor.stop()
        await backend.close()


@pytest.mark.parametrize("fault", ["gone", "wrong", "unforeseen"])
async def test_readiness_follows_the_canary(store: Path, fault: str) -> None:
    """A worker that is gone, fails oddly, or scores wrong turns readiness off and calls away; and back on."""
    async with watched(store, QUICK) as (backend, router, state):
        assert await state(SERVICE) == SERVING
        backend.fault = fault
        await eventually(lambda: state(SERVICE, NOT_SERVING))
        assert isinstance(router.dispatchers["bright"].refusal, BackendUnavailableError)
        assert await state("liveness") == SERVING
        backend.fault = ""
        await eventually(lambda: state(SERVICE, SERVING))
        assert router.dispatchers["bright"].refusal is None


async def test_one_metric_that_hangs_does_not_take_the_others_down(store: Path) -> None:
    """Its own name falls and its calls are refused at once; the other metric and the whole stay SERVING and score."""
    write_tiny_archive(store, "dark")
    async with watched(store, ONE_HANGS) as (backend, router, state):
        backend.fault = "hung"
        await eventually(lambda: state(f"{SERVICE}/bright", NOT_SERVING))
        assert await state(f"{SERVICE}/dark") == await state(SERVICE) == await state("") == SERVING
        with pytest.raises(BackendUnavailableError, match="bright cannot score now"):
            await router.route(Received.of(request()), 5)
        assert (await router.route(Received.of(request(metric="dark")), 5)).score.score == pytest.approx(80, abs=0.1)


async def test_callers_without_an_answer_turn_readiness_off(store: Path) -> None:
    """Workers that hang under load: after the stated span without an answer in time, NOT_SERVING; and back on."""
    async with watched(store, STALL) as (backend, router, state):
        backend.fault = "hung"
        for _ in range(20):
            with suppress(TooLateError, BackendUnavailableError):
                await router.route(Received.of(request()), 0.1)
        await eventually(lambda: state(SERVICE, NOT_SERVING))
        assert "nothing was answered in time" in str(router.dispatchers["bright"].refusal)
        backend.fault = ""
        await eventually(lambda: state(SERVICE, SERVING))


async def test_a_deadline_that_grpc_sees_first_counts_as_well(store: Path) -> None:
    """GRPC cancels a call at its deadline, as it does when the caller hangs up; only the first says something."""
    async with watched(store, STALL) as (backend, router, state):
        backend.fault = "hung"
        for left_early in (True, False):
            for _ in range(12):
                with suppress(TimeoutError, BackendUnavailableError):
                    async with asyncio.timeout(0.08):
                        await router.route(Received.of(request()), 100 if left_early else 0.1)
            if left_early:
                assert await state(SERVICE) == SERVING
        await eventually(lambda: state(SERVICE, NOT_SERVING))


async def test_answers_in_time_keep_readiness_among_time_outs(store: Path) -> None:
    """Callers with too short a deadline say nothing about the metric while others are answered."""
    async with watched(store, STALL) as (_, router, state):
        for _ in range(12):
            with suppress(TooLateError):
                await router.route(Received.of(slow_request(2, size=512)), 0.05)
            await router.route(Received.of(request()), 20)
            assert await state(SERVICE) == SERVING


async def test_busy_workers_that_answer_are_ready(store: Path) -> None:
    """While every worker is busy for longer than the span and nobody's time runs out, the metric is SERVING."""
    async with watched(store, STALL) as (_, router, state):
        work = asyncio.create_task(router.route(Received.of(slow_request(8, size=512)), 60))
        while not work.done():
            assert await state(SERVICE) == SERVING
            await asyncio.sleep(0.05)
        assert (await work).score.score == pytest.approx(20, abs=0.1)
