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


def pair_share_estimate(won: Values, pairs: Values) -> Estimate:
    """Estimate the share of won among pairs of images, both of which vary; missing if there are fewer than three.

    The variance is the jackknife's over images (Arvesen 1969), for a pair is lost with each of its two images.

    Args:
        won: pairs won that each image is part of: (images,); a draw counts half.
        pairs: pairs that each image is part of: (images,); a pair counts for both of its images.
    """
    if len(won) < FEWEST_IMAGES:
        return Estimate(value=float("nan"), note=TOO_FEW)
    taking_part = pairs > 0
    total, wins, count = pairs.sum() / 2, won.sum() / 2, int(taking_part.sum())
    if not total:
        return undefined(len(won))
    share = min(float(wins / total), 1.0)  # means over draws round
    left = total - pairs[taking_part]
    if count < FEWEST_IMAGES or not (left > 0).all():
        # All pairs have one image in common: how it came to be in the sample is unknown.
        return Estimate(value=share, note=TOO_FEW)
    others = (wins - won[taking_part]) / left
    variance = (count - 1) * float(((others - others.mean()) ** 2).mean())
    low, high = share_interval(share, variance, count)
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
