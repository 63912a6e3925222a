"""The chain in TorchScript, for gradients: d f(g(x)) / d x, with BPDA for what has no derivative.

BPDA (Athalye et al., 2018): the forward pass runs the defence, the backward pass takes the identity in its place.
Torch is imported here and nowhere else in this package: a server without gradients never loads it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from scoreguard.chain.execution import run_step
from scoreguard.chain.resolve import ResolvedStep
from scoreguard.chain.rounding import Rounding, pass_cubic, rounds
from scoreguard.v1.archive import Archive
from scoreguard.v1.manifest_pb2 import DIFFERENTIABILITY_BPDA_IDENTITY, GraphFiles
from scoreguard_handlers.errors import NotDeployedError
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.artifacts import GraphCache
from scoreguard_handlers.worker.chain import ChainCall
from scoreguard_handlers.worker.finite import check_finite
from scoreguard_handlers.worker.size_check import METRIC_STAGE, check_metric, check_step


class TorchGraphs:
    """The TorchScript graphs of one archive, on tensors."""

    def __init__(self, graphs: GraphCache[torch.jit.ScriptModule]) -> None:
        self._graphs = graphs

    def run(self, graphs: GraphFiles, inputs: Mapping[str, Tensor]) -> Tensor:
        """Run one graph; the inputs come in its order."""
        result: Tensor = self._graphs.get(graphs.torchscript)(*inputs.values())
        return result

    def array(self, values: Array) -> Tensor:
        """A tensor of numpy's values."""
        return torch.from_numpy(values)

    def join(self, parts: Sequence[Tensor], axis: int) -> Tensor:
        """Concatenation."""
        return torch.cat(list(parts), dim=axis)


class TorchChain:
    """The TorchScript graphs of one archive as a differentiable chain."""

    engine = f"torchscript {torch.__version__} cpu"

    def __init__(self, archive: Archive, *, threads: int) -> None:
        self._threads = threads
        self._facts = archive.manifest.metric.facts
        self._metric = archive.manifest.metric.graphs
        self._engine = TorchGraphs(GraphCache(archive, _load))

    def gradient(self, images: Array, call: ChainCall) -> tuple[Array, Array]:
        """Scores (N,) and d score / d image (N, 3, H, W).

        Raises:
            InvalidRequestError: a stage cannot read a picture of this size, or a parameter does not fit it.
            NotDeployedError: a defence without derivative changes the size, so that no gradient is defined.
            NotFiniteError: the score or the gradient holds a value that is no finite number.
            TooLateError: the deadline passed.
            CallerGoneError: the caller left.
        """
        # The optimising executor rewrites a graph after its first run: the same question would get other last bits.
        with _threads(self._threads), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            return self._gradient(images, call)

    def _gradient(self, images: Array, call: ChainCall) -> tuple[Array, Array]:
        leaf = torch.from_numpy(images if images.flags.writeable else images.copy()).requires_grad_(True)
        purified: Tensor = leaf
        for index, step in enumerate(call.steps):
            call.deadline.check(str(step.step))
            check_step(step, purified.shape[2:], index)
            purified = self._purify(purified, step, call, index)
        check_metric(self._facts, purified.shape[2:])
        call.deadline.check("gradient")
        scores: Tensor = self._engine.run(self._metric, {"image": purified}).reshape(len(images))
        # The pictures of a batch do not see each other, so the sum has every picture's own derivative.
        (gradient,) = torch.autograd.grad(scores.sum(), leaf)
        values, derivative = scores.detach().numpy(), gradient.numpy()
        check_finite(values, METRIC_STAGE, "a score", who=f"metric {self._facts.name!r}")
        check_finite(derivative, "gradient", "a gradient", who="the derivative")
        return values, derivative

    def _purify(self, images: Tensor, step: ResolvedStep, call: ChainCall, index: int) -> Tensor:
        if call.rounding is Rounding.CUBIC and rounds(step.step):
            with torch.no_grad():
                purified = run_step(self._engine, images, step, call.seeds, index)
            soft: Tensor = pass_cubic(torch, step.step, images, purified)
            return soft
        purified = run_step(self._engine, images, step, call.seeds, index)
        if step.facts.differentiability != DIFFERENTIABILITY_BPDA_IDENTITY:
            return purified
        if purified.shape != images.shape:
            raise NotDeployedError(f"no gradient through {step.step}: it has no derivative and changes the size")
        return images + (purified - images).detach()


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """Torch's number of threads for the block, which new threads of the process inherit: it may be a caller's own."""
    before = torch.get_num_threads()
    if before == count:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load(data: bytes) -> torch.jit.ScriptModule:
    module: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(data), map_location="cpu")  # type: ignore[no-untyped-call]
    module.eval()
    return module
