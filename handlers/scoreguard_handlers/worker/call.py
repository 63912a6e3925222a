"""One run of a chain on a batch: how to run it, and what comes out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from scoreguard.chain.resolve import ResolvedStep
from scoreguard.chain.rounding import Rounding
from scoreguard_handlers.worker.arrays import Array
from scoreguard_handlers.worker.deadline import Deadline


@dataclass
class Timings:
    """Wall time of each stage of one batch."""

    milliseconds: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, started: float) -> None:
        """Count the time since `started` (`time.perf_counter`) for a stage."""
        self.count(stage, (time.perf_counter() - started) * 1000)

    def count(self, stage: str, milliseconds: float) -> None:
        """Count time for a stage."""
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + milliseconds


@dataclass(frozen=True, kw_only=True)
class ChainCall:
    """How to run a batch."""

    steps: Sequence[ResolvedStep]
    """The defences, in order."""
    seeds: Sequence[int]
    """One seed per image."""
    deadline: Deadline
    """When the work is no longer needed."""
    undefended: bool = False
    """Whether f(x) is requested in addition to f(g(x))."""
    purified: bool = True
    """Whether g(x) is requested; otherwise it may stay on the device."""
    frame: bool = False
    """Whether the images are frames of clips, whose features are requested."""
    rounding: Rounding = Rounding.STRAIGHT_THROUGH
    """The derivative to use for rounding in gradients."""


@dataclass(frozen=True, kw_only=True)
class ChainResult:
    """The results of a batch of N images."""

    purified: Array
    """g(x), (N, 3, H', W') in [0, 1]; the input itself if there was no defence. Empty if it stayed on the device."""
    scores: Array
    """f(g(x)), (N,); empty if no score was requested."""
    undefended: Array | None
    """f(x), (N,), if requested."""
    timings: Timings
    features: Array | None = None
    """Features of g(x), (N, numbers), if they were requested and the metric is one of videos."""
    undefended_features: Array | None = None
    """Features of x, likewise, if f(x) was requested."""
