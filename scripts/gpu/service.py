"""Section `service`: requests per second of `scoreguard-serve --backend local`, next to its worker in one process."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import serving
from study_speeds import SIDE

from gpu import aims
from gpu.work import Work
from scoreguard.v1.archive import archives_in, find_archive
from scoreguard.v1.blobs import FOLDER, blob_path
from scoreguard_client import ScoringClient
from scoreguard_client.bench import LoadResult, synthetic_images
from scoreguard_handlers.config import WorkerConfig, usable_cores
from scoreguard_handlers.device_config import DEVICE_BATCH

_METRIC: Final = "lite"
_CALLERS: Final = (1, 16, 64)
_QUICK_CALLERS: Final = (1, 2)
_CHAINS: Final = ("none", "blur")
_SECONDS: Final = 2.0
_QUICK_SECONDS: Final = 0.5
_ROUNDS: Final = 3
_IMAGES: Final = 16
_CALL_SECONDS: Final = 60.0
_MOST_WORKERS: Final = 16
_DEVICE_THREADS: Final = (1, 2)
"""Threads that call a worker on a GPU: the local backend has two for each."""


def measure(work: Work) -> None:
    """Load the service with closed-loop callers, and measure the limit in the same round."""
    images = synthetic_images(SIDE, SIDE, _IMAGES)
    cases = {
        f"{chain}, {count} callers": (chain, count)
        for chain in (_CHAINS[:1] if work.quick else _CHAINS)
        for count in (_QUICK_CALLERS if work.quick else _CALLERS)
    }
    with (
        small_store(work) as store,
        serving.other_process() as process,
        serving.running(plan_for(work, store), "local", ["--device", work.device.name]) as (address, _),
    ):
        for number, name in enumerate(work.each(cases)):
            chain, callers = cases[name]
            plan = plan_for(work, store, chain)
            with work.item(name):
                scored_by = _engine_at(work, plan, address, images[0])
                rounds = _rounds(work, work.left / (len(cases) - number))
                measured = [_measure_round(work, plan, process, address, images, callers) for _ in rounds]
                _add(work, plan, callers, measured, *scored_by)


@contextmanager
def small_store(work: Work) -> Iterator[Path]:
    """Make a model store with one metric, `lite` if there is one: a service scores every golden image at its start."""
    archives = archives_in(work.store)
    archive = find_archive(archives, _METRIC) or archives[0]
    with tempfile.TemporaryDirectory() as home:
        store = Path(home)
        shutil.copy2(archive.path, store)
        for entry in archive.manifest.files:
            if entry.shared:
                there = blob_path(store / FOLDER, entry)
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(blob_path(archive.blobs, entry), there)
        yield store


def plan_for(work: Work, store: Path, chain: str = "none") -> serving.Plan:
    """Return what is loaded, and for how long."""
    return serving.Plan(
        model_store=store,
        metric=archives_in(store)[0].name,
        defence=chain,
        seconds=_QUICK_SECONDS if work.quick else _SECONDS,
        workers=min(usable_cores(), _MOST_WORKERS) if work.device.is_cpu else 1,
    )


def _measure_round(
    work: Work,
    plan: serving.Plan,
    process: ProcessPoolExecutor,
    address: str,
    images: Sequence[bytes],
    callers: int,
) -> tuple[float, LoadResult]:
    """Return the limit, the most images per second of the worker with that many under way, and the service's load."""
    config = WorkerConfig(device=work.device.name)
    limit = max(
        serving.limit_in(process, plan, images, threads, together=together, config=config)
        for threads, together in _arrangements(work, plan, callers)
    )
    return limit, asyncio.run(serving.load(plan, images, address, callers, plan.seconds))


def _add(
    work: Work,
    plan: serving.Plan,
    callers: int,
    rounds: Sequence[tuple[float, LoadResult]],
    engine: str,
    on_device: bool,
) -> None:
    work.add(
        {
            "name": plan.metric,
            "chain": plan.defence,
            "callers": callers,
            "engine": engine,
            "on_device": on_device,
            "limit_per_second": statistics.median(limit for limit, _ in rounds),
            "per_second": statistics.median(result.requests_per_second for _, result in rounds),
            "ratio": statistics.median(result.requests_per_second / limit for limit, result in rounds),
            "aim": aims.SERVICE if callers == aims.SERVICE_CALLERS else None,
            "p50_ms": statistics.median(result.percentile_ms(50) for _, result in rounds),
            "p99_ms": statistics.median(result.percentile_ms(99) for _, result in rounds),
            "failures": sum(result.failures for _, result in rounds),
            "rounds": len(rounds),
        }
    )


def _arrangements(work: Work, plan: serving.Plan, callers: int) -> Iterator[tuple[int, int]]:
    """Yield numbers of threads, and images of each call: on a GPU as few calls as possible, else each image alone."""
    if work.device.is_cpu:
        yield min(callers, plan.workers), 1
        return
    for threads in _DEVICE_THREADS:
        if threads <= callers:
            yield threads, min(DEVICE_BATCH, callers // threads)


def _rounds(work: Work, seconds: float) -> Iterator[int]:
    """Count rounds: as many as fit into `seconds`, one at least."""
    started = time.monotonic()
    for number in range(1 if work.quick else _ROUNDS):
        spent = time.monotonic() - started
        if number and spent * (number + 1) / number > seconds:
            return
        yield number


def _engine_at(work: Work, plan: serving.Plan, address: str, image: bytes) -> tuple[str, bool]:
    """Return what scored an image, and whether that was the device.

    A service that ignores the device must not pass for one that uses it.
    """
    with ScoringClient(address) as client:
        score = client.score(image, metric=plan.metric, defences=plan.defence, timeout=_CALL_SECONDS)
    computation, engine = score.provenance.computation, score.provenance.engine_and_computation
    on_device = computation is not None and computation.device == work.device.name
    if not on_device:
        work.note(f"the service scored with {engine}, not on {work.device.name}: no aim is judged")
    return engine, on_device


@contextmanager
def service_for(work: Work) -> Iterator[tuple[str, str]]:
    """Run the service on the device; yields its address, and the metric that it serves."""
    with small_store(work) as store:
        plan = plan_for(work, store)
        with serving.running(plan, "local", ["--device", work.device.name]) as (address, _):
            yield address, plan.metric
