"""Agreement of two sets of scores: rank correlations (Spearman's SROCC, Kendall's KROCC) and the linear one (PLCC)."""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy import stats

from scoreguard_client.scores.scaling import Values

_FEWEST: Final = 2


def srocc(first: Values, second: Values) -> float:
    """Compute Spearman's rank correlation, ties at their mean rank; NaN if one side is constant or has one value."""
    # Pearson's of the ranks is Spearman's; scipy's own function takes ten times as long, and bootstraps call it often.
    return plcc(stats.rankdata(first), stats.rankdata(second))


def krocc(first: Values, second: Values) -> float:
    """Compute Kendall's rank correlation tau-b, which allows for ties; NaN if one side is constant or has one value.

    Half of it and a half is the share of pairs of images that both sides put into the same order, if there are no ties.
    """
    return float(stats.kendalltau(first, second).statistic) if _comparable(first, second) else float("nan")


def plcc(first: Values, second: Values) -> float:
    """Compute Pearson's linear correlation; NaN if one side is constant or has one value."""
    return float(np.corrcoef(first, second)[0, 1]) if _comparable(first, second) else float("nan")


def _comparable(first: Values, second: Values) -> bool:
    return len(first) >= _FEWEST and bool(np.ptp(first) > 0 and np.ptp(second) > 0)
