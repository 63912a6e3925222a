"""The declared range of a metric and its direction: one description for exporter, manifest, oracles and scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoreguard.v1.manifest_pb2 import MetricFacts

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ScoreRange:
    """The declared range of a metric; a score may leave it only if the metric is unbounded."""

    low: float
    """Lowest score."""
    high: float
    """Highest score."""
    higher_is_better: bool = True
    """False if a low score means high quality."""

    @classmethod
    def of(cls, facts: MetricFacts) -> ScoreRange:
        """Return the range that a manifest or a server declares."""
        return cls(low=facts.range_low, high=facts.range_high, higher_is_better=facts.higher_is_better)

    @property
    def width(self) -> float:
        """Return high − low."""
        return self.high - self.low

    def scale(self, scores: Values) -> Values:
        """Map scores so that 0 is the worst and 1 the best quality of the range; nothing is clipped."""
        unit = (np.asarray(scores, dtype=np.float64) - self.low) / self.width
        return unit if self.higher_is_better else 1 - unit
