"""Section `service`: requests per second of `scoreguard-serve --backend local`, next to its worker in one process."""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import grpc
import serving
from study_speeds import SIDE

from gpu import aims
from gpu.work import Work
from scoreguard.v1.archive import archives_in, find_archive
from scoreguard.v1.blobs import FOLDER, blob_path
from scoreguard.v1.scoring_pb2 import Image, ScoreDefendedRequest
from scoreguard.v1.scoring_pb2_grpc import ScoringServiceStub
from scoreguard.v1.spec import parse_chain
from scoreguard_client.bench import synthetic_images
from scoreguard_handlers.config import WorkerConfig, usable_cores

_METRIC: Final = "lite"
_CALLERS: Final = (1, 16, 64)
_QUICK_CALLERS: Final = (1, 2)
_CHAINS: Final = ("none", "blur")
_SECONDS: Final = 4.0
_QUICK_SECONDS: Final = 0.5
_ROUNDS: Final = 3
_IMAGES: Final = 16
_CALL_SECONDS: Final = 60.0
_BATCH: Final = 16
"""Images that a GPU may take together."""
_MOST_WORKERS: Final = 16


def measure(work: Work) -> None:
    """Load the service with closed-loop callers, and measure the limit in the same round."""
    callers = _QUICK_CALLERS if work.quick else _CALLERS
    images = synthetic_images(SIDE, SIDE, _IMAGES)
    with small_store(work) as store, serving.running(plan_for(work, store), "local", options_for(work)) as (address, _):
        plan = plan_for(work, store)
        for chain in _CHAINS[:1] if work.quick else _CHAINS:
            plan.defence = chain
            scored_by = _engine_at(work, plan, address, images[0])
            asyncio.run(serving.load(plan, images, address, max(callers), plan.seconds / 2))
            for count in callers:
                name = f"{plan.metric} behind {chain}, {count} callers"
                if work.left < 3 * plan.seconds:
                    work.part.left_out.append(name)
                    work.save()
                    continue
                with work.item(name):
                    _measure_one(work, plan, address, images, count, *scored_by)


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


def plan_for(work: Work, store: Path) -> serving.Plan:
    """Return what is loaded, and for how long."""
    return serving.Plan(
        model_store=store,
        metric=archives_in(store)[0].name,
        defence="none",
        seconds=_QUICK_SECONDS if work.quick else _SECONDS,
        workers=min(usable_cores(), _MOST_WORKERS),
    )


def settings_for(work: Work) -> dict[str, Any]:
    """Return the fields of a worker's configuration that put it on the device."""
    if work.device.is_cpu:
        return {}
    wanted = {"device": work.device.name, "graph_batch": _BATCH, "engine": "torchscript"}
    known = {field.name for field in fields(WorkerConfig)}
    return {name: value for name, value in wanted.items() if name in known}


def options_for(work: Work) -> list[str]:
    """Return the same as options of `scoreguard-serve`."""
    settings = settings_for(work).items()
    workers = ["--workers", str(min(usable_cores(), _MOST_WORKERS))]
    return [*workers, *(word for name, value in settings for word in (f"--{name.replace('_', '-')}", str(value)))]


def _measure_one(
    work: Work, plan: serving.Plan, address: str, images: Sequence[bytes], callers: int, engine: str, on_device: bool
) -> None:
    limits, speeds, ratios, p50, p99, failures = [], [], [], [], [], 0
    for _ in _rounds(work, plan.seconds):
        limits.append(_limit(work, plan, images, callers))
        result = asyncio.run(serving.load(plan, images, address, callers, plan.seconds))
        speeds.append(result.requests_per_second)
        ratios.append(result.requests_per_second / limits[-1])
        p50.append(result.percentile_ms(50))
        p99.append(result.percentile_ms(99))
        failures += result.failures
    work.add(
        name=plan.metric,
        chain=plan.defence,
        callers=callers,
        engine=engine,
        on_device=on_device,
        limit_per_second=statistics.median(limits),
        per_second=statistics.median(speeds),
        ratio=statistics.median(ratios),
        aim=aims.SERVICE if callers == aims.SERVICE_CALLERS else None,
        p50_ms=statistics.median(p50),
        p99_ms=statistics.median(p99),
        failures=failures,
        rounds=len(ratios),
        settings=settings_for(work),
    )


def _limit(work: Work, plan: serving.Plan, images: Sequence[bytes], callers: int) -> float:
    """Return the most images per second that the worker reaches in one process with that many images under way."""
    config = WorkerConfig(**settings_for(work))
    arrangements = list(_arrangements(callers, plan.workers, config.graph_batch))
    kept = arrangements[:1] if work.quick else arrangements
    return max(serving.limit(plan, images, threads, together=each, config=config) for threads, each in kept)


def _arrangements(callers: int, workers: int, most: int) -> Iterator[tuple[int, int]]:
    """Yield threads, and images of each call: every caller alone, and all of them in as few calls as possible."""
    yield min(callers, workers), 1
    if (together := min(most, callers)) > 1:
        yield min(callers // together, workers), together


def _rounds(work: Work, seconds: float) -> Iterator[int]:
    for number in range(1 if work.quick else _ROUNDS):
        if number == 0 or work.left > 4 * seconds:
            yield number


def _engine_at(work: Work, plan: serving.Plan, address: str, image: bytes) -> tuple[str, bool]:
    """Return what scored an image, and whether that was the device.

    A service that ignores the device must not pass for one that uses it.
    """
    steps = [step.to_message() for step in parse_chain(plan.defence)]
    request = ScoreDefendedRequest(image=Image(encoded=image), metric=plan.metric, defences=steps, seed=0)
    with grpc.insecure_channel(address) as channel:
        provenance = ScoringServiceStub(channel).ScoreDefended(request, timeout=_CALL_SECONDS).provenance
    ran_on = provenance.computation.device or provenance.engine
    on_device = work.device.is_cpu or work.device.kind in ran_on.lower()
    if not on_device:
        work.note(f"the service scored with {provenance.engine}, not on {work.device.name}: no aim is judged")
    return str(provenance.engine), on_device


@contextmanager
def service_for(work: Work) -> Iterator[tuple[str, str]]:
    """Run the service on the device; yields its address, and the metric that it serves."""
    with small_store(work) as store:
        plan = plan_for(work, store)
        with serving.running(plan, "local", options_for(work)) as (address, _):
            yield address, plan.metric
