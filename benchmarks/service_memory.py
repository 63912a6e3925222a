"""Memory of the whole service over time, under steady load: does it level off after the first minutes?

    python benchmarks/service_memory.py --model-store model_store --metric nima --callers 64 --minutes 10

Every caller sends its next image when the last one is answered; with `--images mixed` JPEG files, 8-bit arrays and
float arrays take turns, in messages of 20 KB to 2.4 MB. It prints the proportional set sizes (PSS: pages that processes
share are counted once) of the gateway, the JVM and the workers, in MB, and finally the peak.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from PIL import Image
from process_memory import memory_by_role

from scoreguard_client import AsyncScoringClient, ConnectionConfig, ImageLike, RetryConfig
from scoreguard_client.bench import LoadResult, run_load, synthetic_images

COLUMNS = ("gateway", "JVM", "workers", "helpers", "all")


class Plan(argparse.Namespace):
    """What to measure."""

    model_store: Path
    metric: str
    defence: str
    backend: str
    callers: int
    minutes: float
    every: float
    workers: int
    size: str
    images: str
    limit: float


def main() -> None:
    """Put load on the service, sample its memory and print it."""
    plan = parse()
    with running(plan) as (address, process):
        result, samples = asyncio.run(measure(plan, address, process))
    peak = max(sample["all"] for sample in samples)
    print(f"{result.requests} answers, {result.requests_per_second:.1f} a second, errors: {dict(result.errors)}")
    print(f"peak of the whole service: {peak:.0f} MB")
    if plan.limit and peak > plan.limit:
        sys.exit(f"above the limit of {plan.limit:g} MB")


def parse() -> Plan:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model-store", type=Path, default=Path("model_store"))
    parser.add_argument("--metric", default="nima")
    parser.add_argument("--defence", default="blur")
    parser.add_argument("--backend", choices=["torchserve", "local"], default="torchserve")
    parser.add_argument("--callers", type=int, default=64)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--every", type=float, default=15.0, help="seconds between two samples")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", default="512x384", help="of the images, WIDTHxHEIGHT")
    parser.add_argument("--images", choices=["jpeg", "mixed"], default="jpeg", help="mixed = arrays as well")
    parser.add_argument("--limit", type=float, default=0, help="MB above which the exit status is 1; 0 = none")
    return parser.parse_args(namespace=Plan())


@contextmanager
def running(plan: Plan) -> Iterator[tuple[str, psutil.Process]]:
    """The service, started as a user starts it; yields its address and its process."""
    words = [sys.executable, "-c", "import sys; from scoreguard_handlers.cli import main; sys.exit(main())"]
    words += ["--model-store", str(plan.model_store), "--backend", plan.backend, "--port", "0", "--json"]
    with subprocess.Popen([*words, "--workers", str(plan.workers)], stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            if not line:
                sys.exit("the server did not start; its message is above")
            yield str(json.loads(line)["address"]), psutil.Process(server.pid)
        finally:
            server.terminate()
            server.wait(60)


async def measure(plan: Plan, address: str, process: psutil.Process) -> tuple[LoadResult, list[dict[str, float]]]:
    """Run the load and sample the memory meanwhile."""
    samples: list[dict[str, float]] = []
    sampler = asyncio.create_task(sample_until_cancelled(process, plan.every, samples))
    # A retry would hide an error and count as a slow answer.
    connection = ConnectionConfig(retry=RetryConfig(attempts=1))
    async with AsyncScoringClient(address, connection) as client:
        result = await run_load(
            client, images(plan.size, plan.images), metric=plan.metric, defences=plan.defence, callers=plan.callers,
            seconds=plan.minutes * 60,
        )  # fmt: skip
    samples.append(memory_by_role(process))
    sampler.cancel()
    return result, samples


def images(size: str, kind: str) -> Sequence[ImageLike]:
    """Return JPEG files, or JPEG files, 8-bit arrays and float arrays in turn."""
    width, _, height = size.partition("x")
    files = synthetic_images(int(width), int(height), 12)
    arrays = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
    if kind == "jpeg":
        return files
    return [*files[:4], *arrays[4:8], *(array.astype(np.float32) / 255 for array in arrays[8:])]


async def sample_until_cancelled(process: psutil.Process, every: float, samples: list[dict[str, float]]) -> None:
    """Print one line at regular intervals."""
    start = time.monotonic()
    print(f"{'s':>6} " + " ".join(f"{name:>8}" for name in COLUMNS))
    while True:
        samples.append(await asyncio.to_thread(memory_by_role, process))
        row = " ".join(f"{samples[-1].get(name, 0.0):8.0f}" for name in COLUMNS)
        print(f"{time.monotonic() - start:6.0f} {row}", flush=True)
        await asyncio.sleep(every)


if __name__ == "__main__":
    main()
