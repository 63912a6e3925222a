"""Shares, of rows or of pairs, with 95 % intervals that stay in [0, 1] and say something where nothing was seen.

The interval is Clopper and Pearson's (1934) for the number of independent trials that would know as much: p (1 - p)
over the share's variance, which counts images and not rows (Korn and Graubard, "Confidence intervals for proportions
with small expected number of positive counts estimated from survey data", 1998). For one row of each image that is the
exact interval. If every row agrees, the variance is 0 and each image counts as one trial: none of 30 is below 12 %.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import special

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.estimates import FEWEST_IMAGES, TOO_FEW, Estimate, undefined
from scoreguard_client.scores.intervals import CONFIDENCE, Interval
from scoreguard_client.scores.scaling import Values

_TAIL: Final = (1 - CONFIDENCE) / 2


def share_estimate(hits: npt.NDArray[np.bool_], clusters: Clusters) -> Estimate:
    """Estimate the share of rows that are hits; missing if there are fewer than three images.

    Args:
        hits: whether each row is one: (rows,).
        clusters: the image of each row.
    """
    if clusters.count < FEWEST_IMAGES:
        return Estimate(value=float("nan"), note=TOO_FEW)
    share, rows = float(hits.mean()), len(hits)
    residuals = clusters.sums(hits.astype(np.float64) - share)
    low, high = share_interval(share, float((residuals**2).sum()) / rows**2, clusters.count)
    return Estimate(value=share, low=low, high=high)


def pair_share_estimate(won: Values, first: Values, second: Values) -> Estimate:
    """Estimate the share of won among pairs of images, both of which vary.

    The variance is the jackknife's over images (Arvesen 1969), for a pair is lost with each of its two images. No more
    trials than images on the side that has fewer: a hundred good images and two poor ones know as much as two.

    Args:
        won: pairs won that each image is part of: (images,); a pair counts for both of its images, a draw half.
        first: pairs that each image is the first one of: (images,).
        second: pairs that each image is the second one of: (images,).

    Returns:
        Missing if there are fewer than three images, undefined if there are no pairs; without an interval if fewer than
        three images are on a side.
    """
    if len(won) < FEWEST_IMAGES:
        return Estimate(value=float("nan"), note=TOO_FEW)
    pairs, total = first + second, float(first.sum())
    if not total:
        return undefined(len(won))
    wins = float(won.sum()) / 2
    share = min(wins / total, 1.0)  # means over draws round
    trials = int(min(np.count_nonzero(first), np.count_nonzero(second)))
    if trials < FEWEST_IMAGES:
        return Estimate(value=share, note=TOO_FEW)
    part = pairs > 0
    others = (wins - won[part]) / (total - pairs[part])
    variance = (len(others) - 1) * float(((others - others.mean()) ** 2).mean())
    low, high = share_interval(share, variance, trials)
    return Estimate(value=share, low=min(low, share), high=max(high, share))


def share_interval(share: float, variance: float, images: int) -> Interval:
    """Interval of a share that was estimated with this variance from so many images, at least two."""
    # With no more trials than images, whatever the variance says: it may have missed the few images that matter, and
    # one pair lost among n² would count as n² trials, and none as n.
    trials = min(images, share * (1 - share) / variance) if variance > 0 else float(images)
    hits = share * trials
    low = float(special.betaincinv(hits, trials - hits + 1, _TAIL)) if share > 0 else 0.0
    high = float(special.betaincinv(hits + 1, trials - hits, 1 - _TAIL)) if share < 1 else 1.0
    return low, high
