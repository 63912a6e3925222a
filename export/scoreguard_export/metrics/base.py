"""What every metric is: a module from pictures to scores, with its scientific facts beside it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from torch import Tensor, nn

from scoreguard_export.weights.source import WeightsSource


@dataclass(frozen=True, kw_only=True)
class ScoreRange:
    """The declared range of a score; an attacked picture may leave it only where the method is unbounded."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """High − low."""
        return self.high - self.low


@dataclass(frozen=True, kw_only=True)
class MetricFacts:
    """What is known about a metric before any export."""

    name: str
    """Catalogue name."""
    title: str
    """Name in prose."""
    paper: str
    """Source of the method."""
    year: int
    score_range: ScoreRange
    higher_is_better: bool
    input_rule: str
    """How the metric reads a picture."""
    minimum_size: int
    """Smallest height and width, in pixels."""
    weights: WeightsSource
    parity_tolerance: float
    """Largest difference between an exported graph and the eager module, in score units."""


class Metric(nn.Module, ABC):
    """f: RGB float32 pictures (N, 3, H, W) in [0, 1] → scores (N,).

    Normalisation and resizing are part of the module, hence of the exported graph.
    """

    facts: MetricFacts

    @classmethod
    @abstractmethod
    def from_weights(cls, path: Path, facts: MetricFacts) -> Self:
        """Build the module in evaluation mode from a weights file.

        Raises:
            WeightsError: the file is missing, unreadable, or holds other shapes.
        """

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Score a batch."""
