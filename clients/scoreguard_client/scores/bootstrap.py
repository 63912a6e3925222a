"""Bootstrap intervals clustered by image (Field and Welsh 2007): images are drawn anew, each with all its rows.

An image that appears with several draws or attacks gives dependent rows; to count them as independent, as the public
benchmark's t intervals do, makes intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]
"""Indices of rows; a row may occur several times."""
Statistics = Callable[[Rows], Sequence[float]]
"""One or more numbers computed from a choice of rows."""

RESAMPLES: Final = 1000
CONFIDENCE: Final = 0.95


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval."""

    value: float
    """The number for the rows as they are."""
    low: float
    """Lower end of the interval; NaN where there is none."""
    high: float
    """Upper end of the interval; NaN where there is none."""


def clustered_bootstrap(
    statistics: Statistics,
    images: Sequence[str],
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> tuple[Estimate, ...]:
    """Percentile intervals of one or more statistics from the same resamples.

    Resamples for which a statistic is undefined (a correlation of equal values) are left out of its interval.

    Args:
        statistics: numbers for a choice of rows.
        images: the image of each row; at least one row. With one image there are no intervals.
        resamples: number of resamples.
        confidence: share of the resamples inside the interval.
        seed: where the drawing starts.
    """
    rows = np.arange(len(images))
    values = statistics(rows)
    clusters = [rows[np.asarray(images) == image] for image in dict.fromkeys(images)]
    if len(clusters) == 1:
        return tuple(Estimate(value=value, low=float("nan"), high=float("nan")) for value in values)
    chosen = np.random.default_rng(seed).integers(0, len(clusters), (resamples, len(clusters)))
    drawn = np.array([statistics(np.concatenate([clusters[i] for i in choice])) for choice in chosen])
    return tuple(_estimate(value, column, confidence) for value, column in zip(values, drawn.T, strict=True))


def _estimate(value: float, drawn: npt.NDArray[np.float64], confidence: float) -> Estimate:
    drawn = drawn[np.isfinite(drawn)]
    if drawn.size == 0 or not np.isfinite(value):
        return Estimate(value=value, low=float("nan"), high=float("nan"))
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value=value, low=float(low), high=float(high))
