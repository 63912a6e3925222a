"""Latency cost that callers with large images impose on one with small images: latency with them over latency alone.

    python benchmarks/fairness.py --model-store model_store --metric lite --callers 8 --megapixels 12

Starts the service as a user does, once for each backend and number of workers. Each large caller sends one image after
the other; meanwhile small images are sent one by one. The ratio holds within a run; machines differ and drift.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from memory import photograph

from scoreguard.chain.devices import DEVICE_HELP
from scoreguard.v1.scoring_pb2 import ScoreDefendedRequest
from scoreguard.v1.scoring_pb2_grpc import ScoringServiceStub
from scoreguard.v1.spec import parse_chain

SERVICE = "scoreguard.v1.ScoringService"


class Plan(argparse.Namespace):
    """What to measure."""

    model_store: Path
    metric: str
    defence: str
    callers: int
    megapixels: float
    seconds: float
    backends: str
    workers: str
    device: str


def main() -> None:
    """Measure and print."""
    plan = parse()
    print(f"{plan.metric} behind {plan.defence}: {plan.callers} callers with {plan.megapixels:g} MP, and a small one")
    print(
        f"{'backend':>10} {'workers':>7} {'alone ms':>9} {'beside ms':>9} {'worst ms':>9} {'ratio':>6}  large, health"
    )
    for backend in plan.backends.split(","):
        for workers in plan.workers.split(","):
            with running(plan, backend, workers) as address:
                print(f"{backend:>10} {workers:>7} {asyncio.run(measure(plan, address))}", flush=True)


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--metric", default="lite")
    parser.add_argument("--defence", default="none")
    parser.add_argument("--callers", type=int, default=8)
    parser.add_argument("--megapixels", type=float, default=12.0)
    parser.add_argument("--seconds", type=float, default=30.0, help="time beside the large callers")
    parser.add_argument("--backends", default="local,torchserve")
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    return parser.parse_args(namespace=Plan())


@contextmanager
def running(plan: Plan, backend: str, workers: str) -> Iterator[str]:
    """The service, started as a user starts it."""
    words = [sys.executable, "-c", "import sys; from scoreguard_handlers.cli import main; sys.exit(main())"]
    words += ["--model-store", str(plan.model_store), "--backend", backend, "--port", "0", "--json"]
    words += ["--device", plan.device]
    with subprocess.Popen([*words, "--workers", workers], stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            yield str(json.loads(line)["address"])
        finally:
            server.terminate()
            server.wait(60)


async def measure(plan: Plan, address: str) -> str:
    """Measure one row."""
    small = request(plan, 0.2)
    async with connected(address) as channel:
        stub: Any = ScoringServiceStub(channel)
        alone = [await seconds_of(stub, small) for _ in range(20)]
        stop = time.perf_counter() + plan.seconds
        large = [asyncio.create_task(send_large(plan, address, stop)) for _ in range(plan.callers)]
        await asyncio.sleep(1.0)
        health = asyncio.create_task(watch_health(channel, stop))
        beside = [await seconds_of(stub, small)]
        while time.perf_counter() < stop:
            beside.append(await seconds_of(stub, small))
        done = sum(await asyncio.gather(*large))
        unhealthy = await health
    usual, waits = statistics.median(alone), statistics.median(beside)
    return (
        f"{usual * 1e3:9.0f} {waits * 1e3:9.0f} {max(beside) * 1e3:9.0f} {waits / usual:6.1f}  "
        f"{done} large images, {unhealthy} checks not SERVING"
    )


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """Open a separate connection."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


async def send_large(plan: Plan, address: str, stop: float) -> int:
    """Send one large image after the other; return how many were scored."""
    large, done = request(plan, plan.megapixels), 0
    async with connected(address) as channel:
        stub: Any = ScoringServiceStub(channel)
        while time.perf_counter() < stop:
            with suppress(grpc.aio.AioRpcError):  # too late on a slow machine
                await seconds_of(stub, large)
                done += 1
    return done


async def seconds_of(stub: Any, message: ScoreDefendedRequest) -> float:
    """Return how long a score takes."""
    started = time.perf_counter()
    await stub.ScoreDefended(message, timeout=100)
    return time.perf_counter() - started


async def watch_health(channel: grpc.aio.Channel, stop: float) -> int:
    """Return how many health checks, one every 0.2 s, were not SERVING."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    bad = 0
    while time.perf_counter() < stop:
        answer = await stub.Check(health_pb2.HealthCheckRequest(service=SERVICE))
        bad += answer.status != health_pb2.HealthCheckResponse.SERVING
        await asyncio.sleep(0.2)
    return bad


def request(plan: Plan, megapixels: float) -> ScoreDefendedRequest:
    """Make a request with a smooth random JPEG, 4:3."""
    steps = [step.to_message() for step in parse_chain(plan.defence)]
    return ScoreDefendedRequest(image=photograph(megapixels), metric=plan.metric, defences=steps)


if __name__ == "__main__":
    main()
