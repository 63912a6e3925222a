"""Ranks of chains with intervals that hold for all chains at once.

A chain's rank is 1 plus the number of chains that are better on the images at hand; on other images it may be another.
Its interval counts only chains whose difference is sure: from 1 plus those surely better, to all less those surely
worse. Sure is a difference whose interval leaves out 0, with all intervals of differences together at 95 %: the
studentised bootstrap over images of the largest deviation among all pairs (Mogstad, Romano, Shaikh and Wilhelm,
"Inference for ranks", 2024). The ranks of resamples, which suggest themselves, claim too much where chains are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import combinations

import numpy as np

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.comparisons import require_rows
from scoreguard_client.scores.estimates import LEAST_IMAGES, SAME, TOO_FEW, UNDEFINED
from scoreguard_client.scores.intervals import CONFIDENCE, FLAT
from scoreguard_client.scores.scaling import Values


class Best(StrEnum):
    """Which end is rank 1."""

    LOWEST = "lowest"
    """Gains of attacks: the chain that gave least."""
    HIGHEST = "highest"
    """Qualities, correlations."""


@dataclass(frozen=True, kw_only=True)
class Rank:
    """The place of a chain."""

    chain: str
    """The chain."""
    value: float
    """Mean over images of each image's mean."""
    rank: int | None
    """1 = best; chains with equal means share the better rank. None if the mean is undefined."""
    low: int | None
    """Best rank that is possible; None if there is no interval."""
    high: int | None
    """Worst rank that is possible; None if there is no interval."""
    note: str
    """Why there is no rank (`UNDEFINED`) or no interval (`TOO_FEW`); empty if there are both."""


def ranks(values: Mapping[str, Values], images: Sequence[str], *, best: Best = Best.LOWEST) -> list[Rank]:
    """Rank chains by their means over the same images.

    Args:
        values: the number of each row by chain, each (rows,); the rows are the same for all.
        images: name of the image of each row.
        best: which end is rank 1.

    Returns:
        The chains in their own order; without intervals below `LEAST_IMAGES` images. Chains with a number that is not
        finite have no rank, and the others are ranked without them.

    Raises:
        ScoresError: there are fewer than two chains, no rows, or a chain has another number of rows.
    """
    clusters = require_rows(values, images)
    table = np.stack([clusters.sums(numbers) / clusters.sizes for numbers in values.values()], axis=1)
    known = np.asarray(np.isfinite(table).all(axis=0))
    places = iter(_ranked(table[:, known] * (1 if best is Best.LOWEST else -1), clusters))
    ranked = []
    for chain, is_known, mean in zip(values, known, table.mean(axis=0), strict=True):
        rank, low, high = next(places) if is_known else (None, None, None)
        value = float(mean) if is_known else float("nan")
        note = UNDEFINED if rank is None else TOO_FEW if low is None else ""
        ranked.append(Rank(chain=chain, value=value, rank=rank, low=low, high=high, note=note))
    return ranked


def _ranked(table: Values, clusters: Clusters) -> list[tuple[int, int | None, int | None]]:
    """Rank, best and worst possible rank of each column of (images, chains), the lowest mean first."""
    chains = table.shape[1]
    means = table.mean(axis=0)
    better = means[:, None] < means - SAME * np.maximum(1, np.abs(means))
    places = 1 + better.sum(axis=0)
    if clusters.count < LEAST_IMAGES:
        return [(int(place), None, None) for place in places]
    surely = np.zeros((chains, chains), dtype=np.int64)
    pairs = list(combinations(range(chains), 2))
    if pairs:
        first, second = np.array(pairs).T
        sure = _sure(table[:, first] - table[:, second], clusters)
        surely[first, second], surely[second, first] = sure < 0, sure > 0
    lows, highs = 1 + surely.sum(axis=0), chains - surely.sum(axis=1)
    return [(int(place), int(low), int(high)) for place, low, high in zip(places, lows, highs, strict=True)]


def _sure(differences: Values, clusters: Clusters) -> Values:
    """Sign of each mean difference that is sure, else 0: (pairs,) of (images, pairs)."""
    count, draws = clusters.count, clusters.draws
    means = differences.mean(axis=0)
    residuals = differences - means
    errors = np.sqrt((residuals**2).mean(axis=0) / (count - 1))
    shifts = draws @ residuals / count
    spreads = np.sqrt(np.maximum(draws @ residuals**2 / count - shifts**2, 0) / (count - 1))
    telling = spreads > FLAT * errors
    deviations = np.where(telling, np.abs(shifts) / np.where(telling, spreads, 1), 0)
    reach = float(np.quantile(deviations.max(axis=1), CONFIDENCE)) * errors
    return np.asarray(np.sign(means) * (np.abs(means) > np.maximum(reach, SAME)))
