"""The queries that an attack may make: the score of a batch of images and, if available, its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from scoreguard.chain.rounding import Rounding
from scoreguard.score_range import ScoreRange
from scoreguard.v1.spec import Step

Images = npt.NDArray[np.float32]
"""Images of one size: (N, 3, H, W), RGB, in [0, 1]."""
Scores = npt.NDArray[np.float64]
"""One score for each image: (N,), in the metric's own units."""
Gradients = npt.NDArray[np.float32]
"""d score / d image for each image: (N, 3, H, W)."""


@dataclass(frozen=True, kw_only=True)
class OracleFacts:
    """What is known about the metric behind an oracle."""

    metric: str
    """Catalogue name."""
    score_range: ScoreRange
    """Lowest and highest score, and which of them is better."""
    chain: tuple[Step, ...] = ()
    """The defences before it, with every parameter filled in; empty = the metric alone."""
    calls_per_question: int = 1
    """Calls that one query about an image costs: the draws of a random defence."""
    random: bool = False
    """Whether the same query may get different answers: a defence of the chain is random."""

    @property
    def sign(self) -> float:
        """+1 if a rising score means rising quality, else -1."""
        return 1.0 if self.score_range.higher_is_better else -1.0

    @property
    def span(self) -> float:
        """Width of the declared range."""
        return self.score_range.width


@runtime_checkable
class ScoreOracle(Protocol):
    """Something that scores images; sufficient for black-box attacks."""

    @property
    def facts(self) -> OracleFacts:
        """The metric's range and direction."""
        ...

    def score(self, images: Images) -> Scores:
        """Score a batch, shape (N,)."""
        ...


@runtime_checkable
class CallCounter(Protocol):
    """An oracle that knows what its queries cost; other oracles count one call per image."""

    @property
    def last_calls(self) -> npt.NDArray[np.int64]:
        """Calls that the last query cost each image, (N,): its draws, and the resent calls."""
        ...


@runtime_checkable
class GradientOracle(ScoreOracle, Protocol):
    """Something that also differentiates the score."""

    def gradient(self, images: Images) -> tuple[Scores, Gradients]:
        """Compute scores (N,) and their derivatives with respect to the images (N, 3, H, W)."""
        ...


@runtime_checkable
class RoundingOracle(GradientOracle, Protocol):
    """A gradient oracle whose derivative of rounding can be chosen."""

    def with_rounding(self, rounding: Rounding) -> GradientOracle:
        """Return the same oracle, including its draws, with another derivative of rounding."""
        ...


@runtime_checkable
class DeviceOracle(GradientOracle, Protocol):
    """A gradient oracle with a device of its own, which answers arrays there with arrays there."""

    def to_device(self, values: npt.NDArray[Any]) -> Any:
        """Copy a NumPy array to the device; the array itself if the device works on NumPy arrays."""
        ...

    def settings(self) -> AbstractContextManager[None]:
        """Compute within the block as the oracle does, so that an attack's own steps repeat as its gradients do."""
        ...


@runtime_checkable
class DrawingOracle(GradientOracle, Protocol):
    """A gradient oracle whose number of draws can be chosen, see `draws.draws_needed`."""

    def with_draws(self, draws: int | Sequence[int]) -> Self:
        """Return the same oracle with `draws` draws per query behind a random defence, for all images or for each."""
        ...
