"""Sections `device` and `parity`: what the device is, and whether it computes what the CPU computes."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import torch
from torch import Tensor

from gpu.subjects import QUICK, defence_names, defence_subject, made_images, metric_subjects, seeds_for
from gpu.work import Work
from scoreguard.chain.devices import CUDA, versions
from scoreguard.chain.numerics import DEFAULT, unrepeatable
from scoreguard.chain.torchscript import CPU, DifferentiableChain, TorchEngine
from scoreguard.v1.manifest_pb2 import MetricArtifact

_BATCH: Final = 2
_HEIGHT: Final = 277
_WIDTH: Final = 321
"""A size for which no graph was exported, and that holds the crop's window."""
_PACKAGES: Final = ("torch", "onnxruntime", "onnxruntime-gpu", "numpy", "protobuf", "grpcio")


def facts(work: Work) -> None:
    """Record the device, the software and the machine."""
    work.add(
        {
            "name": work.device.name,
            "title": work.device.title,
            "cpu": platform.processor() or platform.machine(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(),
            "numerics": str(DEFAULT),
            "software": {name: found for name in _PACKAGES if (found := _version(name))},
            **_gpu_facts(work),
        }
    )


def measure(work: Work) -> None:
    """Compare every metric, with its gradient, and every defence: the CPU against the device, and two runs there."""
    images = made_images(_BATCH, _HEIGHT, _WIDTH)
    target = work.device.torch
    on_cpu = {metric.name: metric for metric in metric_subjects(work.store, CPU)}
    on_device = {metric.name: metric for metric in metric_subjects(work.store, target)}
    for name in work.each(on_cpu):
        with work.item(name):
            here, there = on_cpu[name], on_device[name]
            _compare(work, name, "scores", here.tolerance, here.run, there.run, images)
            artifact = here.artifact
            _compare_gradients(work, name, artifact, here.engine, there.engine, images)
    names = [name for name in defence_names(work.store) if not work.quick or name in QUICK]
    for name in work.each(names):
        with work.item(name):
            first = defence_subject(work.store, name, CPU, few_steps=True)
            second = defence_subject(work.store, name, target, few_steps=True)
            _compare(work, name, "images", first.tolerance, first.run, second.run, images)


def _compare(
    work: Work,
    name: str,
    what: str,
    tolerance: float,
    on_cpu: Callable[[Tensor], Tensor],
    on_device: Callable[[Tensor], Tensor],
    images: Tensor,
) -> None:
    there = images.to(work.device.torch)
    with torch.no_grad():
        expected = on_cpu(images)
        with unrepeatable() as operations:
            found, again = on_device(there).cpu(), on_device(there).cpu()
    distances = (found.double() - expected.double()).abs()
    work.add(
        {
            "name": name,
            "what": what,
            "largest": float(distances.max()),
            "mean": float(distances.mean()),
            "tolerance": tolerance,
            "beyond": float((distances > tolerance).double().mean()),
            "repeats": bool(torch.equal(found, again)),
            "unrepeatable": operations,
            "peak_bytes": work.item_memory(),
        }
    )


def _compare_gradients(
    work: Work, name: str, metric: MetricArtifact, on_cpu: TorchEngine, on_device: TorchEngine, images: Tensor
) -> None:
    """Gradients have no tolerance in an archive: the difference is given relative to the largest derivative."""
    seeds = seeds_for(images)
    _, expected = DifferentiableChain(engine=on_cpu, metric=metric).gradient(images, seeds)
    chain, there = DifferentiableChain(engine=on_device, metric=metric), images.to(on_device.device)
    with unrepeatable() as operations:
        found, again = (chain.gradient(there, seeds)[1].cpu() for _ in range(2))
    scale = max(float(expected.abs().max()), torch.finfo(torch.float32).tiny)
    distances = (found - expected).abs() / scale
    work.add(
        {
            "name": name,
            "what": "gradients",
            "largest": float(distances.max()),
            "mean": float(distances.mean()),
            "tolerance": None,
            "beyond": None,
            "repeats": bool(torch.equal(found, again)),
            "unrepeatable": operations,
            "peak_bytes": work.item_memory(),
        }
    )


def _gpu_facts(work: Work) -> dict[str, Any]:
    if work.device.kind != CUDA:
        return {}
    properties: Any = torch.cuda.get_device_properties(work.device.torch)
    return dict(versions(work.device)) | {
        "memory_bytes": int(properties.total_memory),
        "capability": f"{properties.major}.{properties.minor}",
        "processors": int(properties.multi_processor_count),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
