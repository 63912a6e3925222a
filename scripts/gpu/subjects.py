"""The metrics and defences of a model store as they are measured: engine, resolved step and images."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

import numpy as np
import torch
from study_speeds import SIDE, STUDY
from torch import Tensor

from scoreguard.chain.execution import COUNT_PARAMETER, run_step
from scoreguard.chain.numerics import DEFAULT, Numerics
from scoreguard.chain.resolve import ResolvedStep, resolve_step
from scoreguard.chain.torchscript import TorchEngine, archive_graphs, steady
from scoreguard.v1.archive import Archive, archives_in
from scoreguard.v1.manifest_pb2 import DefenceArtifact, MetricArtifact, ParityCase
from scoreguard.v1.spec import Step, parse_chain

SEED: Final = 20261127
QUICK: Final = ("flip", "blur", "jpeg")
"""Defences of a quick check."""
_FEW_STEPS: Final = 2
"""Denoiser calls where only agreement counts."""
_SCRIPT: Final = "torchscript"


def engine_of(archive: Archive, device: torch.device, numerics: Numerics = DEFAULT) -> TorchEngine:
    """Return an engine with the graphs of an archive."""
    return TorchEngine(modules=archive_graphs(archive, device), device=device, numerics=numerics)


@dataclass(frozen=True, kw_only=True)
class MetricSubject:
    """A metric of the store."""

    archive: Archive
    engine: TorchEngine

    @property
    def name(self) -> str:
        """Return the metric's name."""
        return self.archive.name

    @cached_property
    def artifact(self) -> MetricArtifact:
        """Return what the archive says of the metric."""
        return self.archive.manifest.metric

    @property
    def tolerance(self) -> float:
        """Return the difference that the export allowed."""
        return _tolerance(self.artifact.parity)

    def run(self, images: Tensor) -> Tensor:
        """Return scores (N,)."""
        with steady():
            return self.engine.run(self.artifact.graphs, {"image": images}).reshape(len(images))


@dataclass(frozen=True, kw_only=True)
class DefenceSubject:
    """A defence of the store with its default parameters."""

    name: str
    archive: Archive
    step: ResolvedStep
    engine: TorchEngine

    @property
    def tolerance(self) -> float:
        """Return the difference that the export allowed."""
        return _tolerance(self.step.variant.parity)

    def run(self, images: Tensor) -> Tensor:
        """Return purified images (N, 3, H', W'); random numbers come from one seed for each image."""
        with steady():
            return run_step(self.engine, images, self.step, seeds_for(images), 0)


def metric_subjects(store: Path, device: torch.device, numerics: Numerics = DEFAULT) -> Iterator[MetricSubject]:
    """Yield every metric of a model store.

    Raises:
        IntegrityError: the folder holds no archive.
    """
    for archive in _archives(store):
        yield MetricSubject(archive=archive, engine=engine_of(archive, device, numerics))


def defence_subject(
    store: Path, name: str, device: torch.device, numerics: Numerics = DEFAULT, *, few_steps: bool = False
) -> DefenceSubject:
    """Return a defence of a model store.

    Args:
        store: the model store.
        name: the defence.
        device: where it runs.
        numerics: how the device computes.
        few_steps: whether a diffusion takes few steps, enough to compare results.

    Raises:
        LookupError: no archive of the store has the defence.
        ContractError: its step cannot be resolved.
    """
    for archive in _archives(store):
        for artifact in archive.manifest.defences:
            if artifact.facts.name == name:
                step = resolve_step(_step(artifact, few_steps=few_steps).to_message(), artifact)
                return DefenceSubject(
                    name=name, archive=archive, step=step, engine=engine_of(archive, device, numerics)
                )
    raise LookupError(f"{store} has no defence {name!r}: its weights were not at hand when the store was built")


def defence_names(store: Path) -> list[str]:
    """Return the defences of a store: the study's first, in the study's order, then the others."""
    there = {artifact.facts.name for archive in _archives(store) for artifact in archive.manifest.defences}
    return [*(name for name in STUDY if name in there), *sorted(there - set(STUDY))]


def made_images(count: int, height: int = SIDE, width: int = SIDE, seed: int = SEED) -> Tensor:
    """Return images (N, 3, H, W) in [0, 1] of smooth shapes, an edge and grain, on the CPU."""
    generator = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width] / max(height, width)
    images = []
    for number in range(count):
        base = 0.45 + 0.15 * np.sin((7 + number) * rows + 5 * columns) + 0.2 * (rows + 0.4 * columns > 0.5)
        colours = base[None] * np.array([1.0, 0.8, 0.9])[:, None, None]
        images.append(colours + 0.05 * generator.standard_normal((3, height, width)))
    return torch.from_numpy(np.clip(np.stack(images), 0.0, 1.0).astype(np.float32))


def seeds_for(images: Tensor) -> list[int]:
    """Return one seed for each image."""
    return [SEED + number for number in range(len(images))]


@cache
def _archives(store: Path) -> tuple[Archive, ...]:
    return tuple(archives_in(store))


def _step(artifact: DefenceArtifact, *, few_steps: bool) -> Step:
    name = artifact.facts.name
    few = few_steps and artifact.facts.HasField("diffusion")
    return parse_chain(f"{name}:{COUNT_PARAMETER}={_FEW_STEPS}" if few else name)[0]


def _tolerance(parity: Iterable[ParityCase]) -> float:
    return max((case.tolerance for case in parity if case.engine == _SCRIPT), default=0.0)
