"""Tampering: how well the gap tells attacked images from clean ones.

    gap = undefended score - defended score, oriented so that above 0 the undefended score claims more

An attack that did not know the defence leaves a gap: the metric alone is fooled, the chain is not. Clean images have
gaps too, since a defence changes them, and an attack through the chain need not leave one; so the ROC of one attack
says nothing of another one.

    area = P(gap of an attacked image > gap of a clean one), equal ones counted half
    detection = P(gap of an attacked image > t), t such that a new clean image is above it in 1 % of cases at most

The threshold t is that of conformal prediction (Vovk et al. 2005): with n clean images and one more from the same
source, each of the n + 1 is as likely as any other to have the largest gap. So 99 clean images are needed for 1 %. The
usual reading of a sample's ROC would allow one false alarm among 100, and raise two in 101 later.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy import stats

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.estimates import FEWEST_IMAGES, TOO_FEW, Estimate, undefined
from scoreguard_client.scores.scaling import Values
from scoreguard_client.scores.shares import share_estimate, share_interval

FALSE_ALARMS: Final = 0.01
"""Share of clean images that may be called attacked."""
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Roc:
    """Shares called attacked if the gap is above a threshold, from the highest threshold to the lowest."""

    thresholds: Values
    """Every value of a gap, then minus infinity: (T,)."""
    false_alarms: Values
    """Share of the clean rows above each, from 0 to 1: (T,)."""
    detections: Values
    """Share of the attacked rows above each, from 0 to 1: (T,)."""


@dataclass(frozen=True, kw_only=True)
class Tampering:
    """How well gaps tell attacked images from clean ones."""

    area: Estimate
    """Area under the ROC; 0.5 = not at all. Below 0.5 attacks shrink the gap."""
    detection: Estimate
    """Share of the attacked rows above the threshold; its interval is for this threshold."""
    threshold: float
    """The gap above which an image is called attacked; NaN if there are too few clean images."""
    clean_images: int
    """Images with a clean gap."""
    attacked_images: int
    """Images with an attacked gap."""


def least_clean_images(false_alarms: float = FALSE_ALARMS) -> int:
    """Return the number of clean images from which this share of false alarms can be promised: 99 for 1 %."""
    return math.ceil(1 / false_alarms - _ROUNDING) - 1


def tampering(
    clean: Values,
    attacked: Values,
    clean_images: Sequence[str],
    attacked_images: Sequence[str],
    *,
    false_alarms: float = FALSE_ALARMS,
) -> Tampering:
    """Measure how well gaps tell attacked images from clean ones.

    Args:
        clean: gap of each clean row: (rows,).
        attacked: gap of each attacked row: (other rows,).
        clean_images: name of the image of each clean row; several rows, such as draws, are not independent.
        attacked_images: name of the image of each attacked row, the same name as where it is clean.
        false_alarms: share of clean images that may be called attacked.

    Returns:
        The area by Mann and Whitney with an interval from DeLong's variance (1988) over images (Obuchowski 1997), and
        the detected share; undefined if a gap is not finite.

    Raises:
        ScoresError: there are no rows of one kind, lengths differ, or the share of false alarms is not in (0, 1).
    """
    if not 0 < false_alarms < 1:
        raise ScoresError(f"the share of false alarms must be in (0, 1), not {false_alarms:g}")
    if len(clean) != len(clean_images) or len(attacked) != len(attacked_images):
        raise ScoresError("tampering needs the name of the image of each gap")
    if not len(clean) or not len(attacked):
        raise ScoresError("tampering needs gaps of clean and of attacked images")
    sides = Clusters(clean_images), Clusters(attacked_images)
    counts = {"clean_images": sides[0].count, "attacked_images": sides[1].count}
    bad = ~np.isfinite(clean), ~np.isfinite(attacked)
    if bad[0].any() or bad[1].any():
        names = {name for name, wrong in zip(clean_images, bad[0], strict=True) if wrong}
        names |= {name for name, wrong in zip(attacked_images, bad[1], strict=True) if wrong}
        nothing = undefined(len(names))
        return Tampering(area=nothing, detection=nothing, threshold=float("nan"), **counts)
    threshold = alarm_threshold(clean, sides[0], false_alarms)
    missing = Estimate(value=float("nan"), note=TOO_FEW)
    return Tampering(
        area=_area(clean, attacked, clean_images, attacked_images)
        if min(counts.values()) >= FEWEST_IMAGES
        else missing,
        detection=missing if np.isnan(threshold) else share_estimate(attacked > threshold, sides[1]),
        threshold=threshold,
        **counts,
    )


def alarm_threshold(clean: Values, clusters: Clusters, false_alarms: float = FALSE_ALARMS) -> float:
    """Return the least gap that a new clean image exceeds in this share of cases at most; NaN if none can be promised.

    Images are alike before they are looked at; the rows of one image share its weight.
    """
    allowed = false_alarms * (clusters.count + 1) - 1
    if allowed < -_ROUNDING:
        return float("nan")
    values, groups = np.unique(clean, return_inverse=True)
    weights = np.bincount(groups.reshape(-1), weights=1 / clusters.sizes[clusters.owners])
    above = weights.sum() - np.cumsum(weights)
    return float(values[np.argmax(above <= allowed + _ROUNDING)])


def roc(clean: Values, attacked: Values) -> Roc:
    """Compute the ROC of gaps, a point for each threshold; both kinds need at least one row."""
    values = np.unique(np.concatenate([clean, attacked]))[::-1]
    shares = [1 - np.searchsorted(np.sort(side), values, side="right") / len(side) for side in (clean, attacked)]
    thresholds = np.concatenate([values, [-np.inf]])
    false_alarms, detections = (np.append(share, 1.0) for share in shares)
    return Roc(thresholds=thresholds, false_alarms=false_alarms, detections=detections)


def _area(clean: Values, attacked: Values, clean_images: Sequence[str], attacked_images: Sequence[str]) -> Estimate:
    ranks = stats.rankdata(np.concatenate([clean, attacked]))
    # Share of the other kind that each row is above, ties half: DeLong's structural components.
    below_clean = (ranks[: len(clean)] - stats.rankdata(clean)) / len(attacked)
    below_attacked = (ranks[len(clean) :] - stats.rankdata(attacked)) / len(clean)
    area = float(below_attacked.mean())
    every = Clusters([*clean_images, *attacked_images])
    pulls = np.concatenate([(1 - below_clean - area) / len(clean), (below_attacked - area) / len(attacked)])
    variance = every.count / (every.count - 1) * float((every.sums(pulls) ** 2).sum())
    images = min(len(set(clean_images)), len(set(attacked_images)))
    low, high = share_interval(area, variance, images)
    return Estimate(value=area, low=low, high=high)
