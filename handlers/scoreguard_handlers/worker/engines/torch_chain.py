"""The chain in TorchScript, for gradients; the server adds deadlines, request errors and finite answers.

It imports torch, so a server without gradients never imports this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from scoreguard.chain.resolve import ResolvedStep
from scoreguard.chain.torchscript import DifferentiableChain, TorchEngine
from scoreguard.v1.archive import Archive
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.call import ChainCall
from scoreguard_handlers.worker.deadline import Deadline
from scoreguard_handlers.worker.engines.torch_threads import torch_threads
from scoreguard_handlers.worker.finite import check_finite
from scoreguard_handlers.worker.size_check import METRIC_STAGE, check_metric, check_step


@dataclass(frozen=True, kw_only=True)
class CalledChain(DifferentiableChain):
    """A chain for one call: it stops between two stages when the work is no longer needed."""

    deadline: Deadline
    """The deadline of the call."""

    def before_step(self, step: ResolvedStep, size: Sequence[int], index: int) -> None:
        """Stop, or refuse what the step cannot purify; raises the errors of `Deadline.check` and `check_step`."""
        self.deadline.check(str(step.step))
        check_step(step, size, index)

    def before_metric(self, size: Sequence[int]) -> None:
        """Stop, or refuse what the metric cannot score; raises the errors of `Deadline.check` and `check_metric`."""
        check_metric(self.metric.facts, size)
        self.deadline.check("gradient")


class TorchChain:
    """The TorchScript graphs of one archive as a differentiable chain; safe to call from several threads."""

    def __init__(self, archive: Archive, engine: TorchEngine, *, threads: int) -> None:
        """Use an engine's graphs; they are loaded on first use."""
        self._threads, self._engine = threads, engine
        self.engine = f"torchscript {torch.__version__} {engine.device}"
        self._metric = archive.manifest.metric

    def gradient(self, images: Array, call: ChainCall) -> tuple[Array, Array]:
        """Return scores (N,) and d score / d image (N, 3, H, W).

        Raises:
            InvalidRequestError: a stage cannot read an image of this size, or a parameter does not fit it.
            NoGradientError: a defence without derivative changes the size, so no gradient is defined.
            EngineError: a graph fails.
            DeviceMemoryError: the device's memory does not suffice.
            NotFiniteError: the score or the gradient has a value that is not finite.
            TooLateError: the deadline passed.
            CallerGoneError: the caller left.
        """
        chain = CalledChain(
            engine=self._engine,
            metric=self._metric,
            steps=call.steps,
            rounding=call.rounding,
            deadline=call.deadline,
        )
        with torch_threads(self._threads):
            scores, gradient = chain.gradient(self._engine.array(images), call.seeds)
        values, derivative = scores.cpu().numpy(), gradient.cpu().numpy()
        check_finite(values, METRIC_STAGE, "a score", who=f"metric {self._metric.facts.name!r}")
        check_finite(derivative, "gradient", "a gradient", who="the derivative")
        return values, derivative
