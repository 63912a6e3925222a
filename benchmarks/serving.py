"""Throughput of the service relative to the in-process limit of the same chain, measured in one run.

    python benchmarks/serving.py --model-store model_store --metric lite --defence blur

Every round measures in turn the limit (the same `Worker.run` on the same requests, called from
min(callers, workers) threads of a separate process), a bare grpc.aio server around the same worker as a peer, and
the service with each backend. The table shows the median over rounds of the ratio to the limit of the same round;
machines differ and drift, ratios within a round do not. The load generator shares the machine.
Every answer is checked. Servers are warmed up first: Java compiles hot code.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import grpc
import psutil
from process_memory import memory_by_role

from scoreguard.chain.devices import DEVICE_HELP
from scoreguard.v1.archive import archives_in, find_archive
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest, ScoreDefendedResponse
from scoreguard.v1.spec import parse_chain
from scoreguard.v1.worker_pb2 import WorkerRequest, WorkItem
from scoreguard_client import AsyncScoringClient, ConnectionConfig, RetryConfig
from scoreguard_client.bench import LoadResult, run_load, synthetic_images
from scoreguard_handlers.config import WorkerConfig
from scoreguard_handlers.environment import variable, worker_config
from scoreguard_handlers.worker.worker import Worker

BACKENDS = ("torchserve", "local")
PEER = "bare gRPC"
_START_SECONDS = 120


@dataclass(frozen=True, kw_only=True)
class Round:
    """Measurements of one round."""

    limit: dict[int, float]
    """Requests per second of the worker itself, by threads."""
    servers: dict[str, dict[int, LoadResult]]
    """Results by server and number of callers."""


class Plan(argparse.Namespace):
    """What to measure."""

    model_store: Path
    metric: str
    defence: str
    callers: str
    seconds: float
    warm_up: float
    rounds: int
    size: str
    workers: int
    device: str
    json: bool


def main() -> None:
    """Measure and print."""
    plan = parse()
    os.environ[variable("device")] = plan.device  # the servers and the processes of the limit read it
    width, _, height = plan.size.partition("x")
    images = synthetic_images(int(width), int(height), 16)
    counts = [int(text) for text in plan.callers.split(",")]
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(plan, name)) for name in BACKENDS}
        peer = stack.enter_context(running_peer(plan))
        targets = {PEER: peer, **{name: address for name, (address, _) in servers.items()}}
        for address in targets.values():
            for count in counts:
                asyncio.run(load(plan, images, address, count, plan.warm_up))
        rounds = [measure_round(plan, images, counts, targets) for _ in range(plan.rounds)]
        memory = {name: memory_by_role(process) for name, (_, process) in servers.items()}
    show(plan, rounds, memory)


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--metric", default="lite")
    parser.add_argument("--defence", default="blur")
    parser.add_argument("--callers", default="1,4,16")
    parser.add_argument("--seconds", type=float, default=6.0, help="time of each measurement")
    parser.add_argument(
        "--warm-up",
        type=float,
        default=15.0,
        help="seconds of load for each server and number of callers before anything is measured",
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", default="512x384", help="of the JPEG images, WIDTHxHEIGHT")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args(namespace=Plan())


@contextmanager
def running(plan: Plan, backend: str, options: Sequence[str] = ()) -> Iterator[tuple[str, psutil.Process]]:
    """The service, started as a user starts it, with further options of `scoreguard-serve`."""
    words = [sys.executable, "-c", "import sys; from scoreguard_handlers.cli import main; sys.exit(main())"]
    words += ["--model-store", str(plan.model_store), "--backend", backend, "--port", "0", "--json", *options]
    with subprocess.Popen([*words, "--workers", str(plan.workers)], stdout=subprocess.PIPE, text=True) as server:
        try:
            yield ready_address(server), psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait(30)


def ready_address(server: subprocess.Popen[str]) -> str:
    """Wait for the ready line."""
    line = server.stdout.readline() if server.stdout else ""
    if not line:
        sys.exit("the server did not start; its message is above")
    return str(json.loads(line)["address"])


@contextmanager
def running_peer(plan: Plan) -> Iterator[str]:
    """Run a bare grpc.aio server around the same worker: what one would write by hand in an afternoon."""
    context = get_context("spawn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    process = context.Process(target=serve_peer, args=(plan.model_store, plan.metric, plan.workers, address))
    process.start()
    try:
        with grpc.insecure_channel(address) as channel:
            grpc.channel_ready_future(channel).result(_START_SECONDS)
        yield address
    finally:
        process.terminate()
        process.join()


def serve_peer(model_store: Path, metric: str, workers: int, address: str) -> None:
    """Serve the peer in its process: ScoreDefended only, without queue, checks or health."""
    worker, pool = load_worker(model_store, metric), ThreadPoolExecutor(workers)

    async def score(request: ScoreDefendedRequest, context: object) -> ScoreDefendedResponse:
        work = WorkerRequest(items=[WorkItem(score=request)])
        return (await asyncio.get_running_loop().run_in_executor(pool, worker.run, work)).results[0].score

    async def serve() -> None:
        server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(
            score, ScoreDefendedRequest.FromString, ScoreDefendedResponse.SerializeToString
        )
        service = grpc.method_handlers_generic_handler("scoreguard.v1.ScoringService", {"ScoreDefended": handler})
        server.add_generic_rpc_handlers((service,))
        server.add_insecure_port(address)
        await server.start()
        await server.wait_for_termination()

    asyncio.run(serve())


@cache
def load_worker(model_store: Path, metric: str, config: WorkerConfig | None = None) -> Worker:
    """Load the worker that every server here runs."""
    archive = find_archive(archives_in(model_store), metric)
    if archive is None:
        sys.exit(f"{model_store} has no archive of {metric}")
    return Worker.load(archive, config or worker_config())


def measure_round(plan: Plan, images: Sequence[bytes], counts: Sequence[int], targets: dict[str, str]) -> Round:
    """Measure one round: the limit for each number of threads, then every server at every number of callers."""
    threads = sorted({min(count, plan.workers) for count in counts})
    return Round(
        limit={number: limit(plan, images, number) for number in threads},
        servers={
            name: {count: asyncio.run(load(plan, images, address, count, plan.seconds)) for count in counts}
            for name, address in targets.items()
        },
    )


def limit(plan: Plan, images: Sequence[bytes], threads: int) -> float:
    """Measure requests per second of `Worker.run` itself, in a process of its own."""
    with other_process() as process:
        return limit_in(process, plan, images, threads)


def other_process() -> ProcessPoolExecutor:
    """Return a process for `limit_in`, which keeps its worker between two calls."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def limit_in(
    process: ProcessPoolExecutor,
    plan: Plan,
    images: Sequence[bytes],
    threads: int,
    *,
    together: int = 1,
    config: WorkerConfig | None = None,
) -> float:
    """Measure images per second of `Worker.run` itself, in a separate process.

    Args:
        process: the process.
        plan: what to run.
        images: encoded images.
        threads: threads that call it at the same time.
        together: images of each call.
        config: the worker's configuration; None = the default.
    """
    arguments = (plan.model_store, plan.metric, plan.defence, list(images), threads, plan.seconds, together, config)
    return process.submit(limit_in_process, *arguments).result()


def limit_in_process(
    model_store: Path,
    metric: str,
    defence: str,
    images: list[bytes],
    threads: int,
    seconds: float,
    together: int = 1,
    config: WorkerConfig | None = None,
) -> float:
    """Measure the limit; runs in the separate process."""
    worker = load_worker(model_store, metric, config)
    steps = [step.to_message() for step in parse_chain(defence)]
    items = [
        WorkItem(score=ScoreDefendedRequest(image=Image(encoded=p), metric=metric, defences=steps, seed=0))
        for p in images
    ]
    work = [WorkerRequest(items=[items[(n + k) % len(items)] for k in range(together)]) for n in range(len(items))]
    for request in work:
        worker.run(request)
    start = time.perf_counter()

    def call(offset: int) -> int:
        done = 0
        while time.perf_counter() - start < seconds:
            for result in worker.run(work[(offset + done * threads) % len(work)]).results:
                if result.WhichOneof("result") != "score":
                    raise RuntimeError(result.status.message)
            done += 1
        return done * together

    with ThreadPoolExecutor(threads) as pool:
        done = sum(pool.map(call, range(threads)))
    return done / (time.perf_counter() - start)


async def load(plan: Plan, images: Sequence[bytes], address: str, callers: int, seconds: float) -> LoadResult:
    """Run closed-loop callers against one server."""
    # A retry would hide an error and count as a slow answer.
    async with AsyncScoringClient(address, ConnectionConfig(retry=RetryConfig(attempts=1))) as client:
        return await run_load(
            client, images, metric=plan.metric, defences=plan.defence, callers=callers, seconds=seconds
        )


def show(plan: Plan, rounds: Sequence[Round], memory: dict[str, dict[str, float]]) -> None:
    """Print ratios, latencies and memory."""
    rows = [row(name, count, rounds, plan.workers) for name, by in rounds[0].servers.items() for count in by]
    if plan.json:
        print(json.dumps({"plan": vars(plan), "rows": rows, "memory_mb": memory}, indent=2, default=str))
        return
    print(f"{plan.metric} behind {plan.defence}, JPEG {plan.size}, {plan.workers} workers, {plan.rounds} rounds")
    print(
        f"{'server':>12} {'callers':>7} {'ratio':>6} {'min':>6} {'max':>6} "
        f"{'req/s':>8} {'p50 ms':>8} {'p99 ms':>8} errors"
    )
    for r in rows:
        print(
            f"{r['server']:>12} {r['callers']:7d} {r['ratio']:6.2f} {r['lowest']:6.2f} {r['highest']:6.2f} "
            f"{r['rps']:8.1f} {r['p50']:8.1f} {r['p99']:8.1f} {r['errors']:d}"
        )
    for name, kinds in memory.items():
        print(f"memory of {name}: " + ", ".join(f"{kind} {size:.0f} MB" for kind, size in kinds.items()))


def row(name: str, count: int, rounds: Sequence[Round], workers: int) -> dict[str, object]:
    """Return medians over the rounds for one server and number of callers."""
    results = [r.servers[name][count] for r in rounds]
    limits = [r.limit[min(count, workers)] for r in rounds]
    ratios = [result.requests_per_second / top for result, top in zip(results, limits, strict=True)]
    return {
        "server": name,
        "callers": count,
        "ratio": statistics.median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
        "rps": statistics.median(result.requests_per_second for result in results),
        "p50": statistics.median(result.percentile_ms(50) for result in results),
        "p99": statistics.median(result.percentile_ms(99) for result in results),
        "errors": sum(result.failures for result in results),
    }


if __name__ == "__main__":
    main()
