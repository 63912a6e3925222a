"""Section `attacks`: steps per second of `ifgsm` next to as many bare forward and backward passes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Final

import torch
from study_speeds import SIDE
from torch import Tensor

from gpu import aims
from gpu.subjects import made_images
from gpu.timing import timed
from gpu.work import Work
from scoreguard.chain.numerics import DEFAULT, Numerics
from scoreguard.chain.resolve import ResolvedStep, resolve_step
from scoreguard.chain.torchscript import archive_graphs, cause_of, steady
from scoreguard.v1.archive import Archive, archives_in, find_archive
from scoreguard.v1.manifest_pb2 import DIFFERENTIABILITY_BPDA_IDENTITY
from scoreguard.v1.spec import Step, parse_chain
from scoreguard_client.attacks import parse_attacks
from scoreguard_client.oracles import LocalOracle

_ATTACK: Final = "ifgsm"
_METRICS: Final = ("lite", "nima")
_CHAINS: Final = ("", "jpeg")
_BATCH: Final = 16
_QUICK_BATCH: Final = 2
_ROUNDS: Final = 3
_SLICE_SECONDS: Final = 0.3
"""In each round the attack is repeated for about this long."""
_TORCH_OWN: Final = Numerics(deterministic=False, tf32=False)


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Forward and backward passes through the graphs of a chain, and nothing else."""

    metric: Callable[..., Tensor]
    steps: tuple[tuple[Callable[..., Tensor], tuple[Tensor, ...]], ...]
    """The graph of each defence with its parameters."""

    def scores(self, images: Tensor) -> Tensor:
        """Return scores, through which autograd passes."""
        for graph, values in self.steps:
            images = graph(images, *values)
        return self.metric(images)

    def run(self, images: Tensor, gradients: int) -> Tensor:
        """Run that many forward and backward passes and one more forward pass, as an attack does."""
        for _ in range(gradients):
            leaf = images.detach().clone().requires_grad_()
            torch.autograd.grad(self.scores(leaf).sum(), leaf)
        with torch.no_grad():
            return self.scores(images)


def measure(work: Work) -> None:
    """Compare the attack with its limit, for each metric alone and behind a defence."""
    archives = archives_in(work.store)
    cases = [(archive, chain) for name in _METRICS if (archive := find_archive(archives, name)) for chain in _CHAINS]
    names = [f"{archive.name} behind {chain or 'none'}" for archive, chain in cases]
    by_name = dict(zip(names, cases, strict=True))
    names = names[:2] if work.quick else names
    for number, name in enumerate(work.each(names)):
        with work.item(name):
            _measure_one(work, name, *by_name[name], seconds=work.left / (len(names) - number))


def _measure_one(work: Work, name: str, archive: Archive, text: str, *, seconds: float) -> None:
    started, chain, target = time.monotonic(), parse_chain(text), work.device.torch
    batch = _QUICK_BATCH if work.quick else _BATCH
    images = made_images(batch, SIDE, SIDE)
    (attack,) = parse_attacks(_ATTACK)
    oracle, passes = LocalOracle(archive, chain, device=work.device.name), _passes(archive, chain, work)
    there, questions = images.to(target), 0

    def ours() -> Tensor:
        nonlocal questions
        questions = len(attack(images.numpy(), oracle).trace)
        return there

    def limit(numerics: Numerics, *, as_ours: bool) -> Tensor:
        with ExitStack() as stack:
            stack.enter_context(numerics.applied(target))
            if as_ours:
                stack.enter_context(steady())
            return passes.run(there, questions - 1)

    rounds: list[tuple[float, float]] = []
    calls = 1
    for _ in range(2 if work.quick else _ROUNDS + 1):
        if rounds and time.monotonic() - started > seconds / 2:
            break
        spent = timed(ours, calls, target)
        same = timed(lambda: limit(DEFAULT, as_ours=True), calls, target)
        rounds.append((spent, same / spent))
        calls = 1 if work.quick else max(1, int(_SLICE_SECONDS / spent))
    kept = rounds[1:] or rounds  # the first loads and warms up
    typical = statistics.median(spent for spent, _ in kept)
    free = _or_none(work, partial(timed, lambda: limit(_TORCH_OWN, as_ours=False), calls, target))
    steps = questions - 1
    work.add(
        {
            "name": name,
            "attack": str(attack),
            "batch": batch,
            "steps": steps,
            "steps_per_second": batch * steps / typical,
            "ratio": statistics.median(ratio for _, ratio in kept),
            "ratio_to_torch_own": None if free is None else free / typical,
            "aim": aims.ATTACKS,
            "rounds": len(kept),
            "peak_bytes": work.item_memory(),
        }
    )


def _or_none(work: Work, run: Callable[[], float]) -> float | None:
    """Return the time of the best of three runs, the first of which lets torch optimise the graphs; None if that fails.

    torch rewrites a graph after its first runs, which not every device supports.
    """
    try:
        return min(run() for _ in range(_ROUNDS))
    except RuntimeError as error:
        work.note(f"with torch's own settings the bare passes fail: {cause_of(error)}")
        return None


def _passes(archive: Archive, chain: tuple[Step, ...], work: Work) -> Passes:
    target = work.device.torch
    graphs, artifacts = archive_graphs(archive, target), {each.facts.name: each for each in archive.manifest.defences}
    steps = [resolve_step(step.to_message(), artifacts[step.name]) for step in chain]
    return Passes(
        metric=graphs[archive.manifest.metric.graphs.torchscript],
        steps=tuple((graphs[_script(step)], _values(step, target)) for step in steps),
    )


def _script(step: ResolvedStep) -> str:
    if step.facts.differentiability == DIFFERENTIABILITY_BPDA_IDENTITY or step.facts.random_inputs:
        raise ValueError(f"{step.facts.name} cannot stand in a bare chain: its gradient or its numbers are not its own")
    return step.variant.graphs.torchscript


def _values(step: ResolvedStep, device: torch.device) -> tuple[Tensor, ...]:
    return tuple(torch.tensor(value, dtype=torch.float32).to(device) for _, value in step.values)
