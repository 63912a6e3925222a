"""Comparison of chains on the same images: tests of every pair, corrected for their number.

For each pair two tests, both of the differences between the images' means, since rows of one image are not independent:

- Wilcoxon's signed rank: whether one chain is larger on more images, and by more in rank. Outliers hardly matter.
- Sign flips: whether the mean difference, which tables print, could come of chance. If the chains are alike, an image's
  difference is as likely with either sign; p is the share of sign patterns with as large a mean, the data's included.

p-values of all pairs together are corrected by Holm (1979): if no two chains differ, a difference is called significant
at 5 % in at most 5 % of tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from scipy import stats

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.errors import ScoresError
from scoreguard_client.scores.estimates import Estimate, mean_estimate
from scoreguard_client.scores.scaling import Values

FLIPS: Final = 9_999
"""Random sign patterns of a test, at least; twice a hundred for each pair if those are more, since Holm multiplies."""
_FLIPS_A_PAIR: Final = 200
_EXACT_UP_TO: Final = 13
"""Images for which all sign patterns are tried: 2 to this power is less than `FLIPS`."""
_HELD: Final = 500
"""Sign patterns held at once."""
_FEWEST: Final = 2
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two chains on the same images."""

    first: str
    """One chain."""
    second: str
    """The other."""
    difference: Estimate
    """Mean of the first less that of the second, with an interval of this pair alone."""
    wilcoxon: float
    """p of Wilcoxon's signed-rank test, corrected for the number of pairs; NaN if a number is not finite."""
    flips: float
    """p of the sign-flip test of the mean, corrected for the number of pairs; NaN if a number is not finite."""


def compare(values: Mapping[str, Values], images: Sequence[str], *, seed: int = 0) -> list[Comparison]:
    """Test every pair of chains.

    Args:
        values: the number of each row by chain, each (rows,), for example its gains; the rows are the same for all.
        images: name of the image of each row.
        seed: of the random sign patterns.

    Returns:
        All pairs, in the order of the chains. Pairs with a number that is not finite are undefined and not counted.

    Raises:
        ScoresError: there are fewer than two chains, no rows, or a chain has another number of rows.
    """
    clusters = require_rows(values, images)
    pairs = list(combinations(values, 2))
    rows = np.stack([values[first] - values[second] for first, second in pairs])
    means = np.stack([clusters.sums(row) / clusters.sizes for row in rows])
    known = np.isfinite(means).all(axis=1)
    wilcoxon, flips = np.full(len(pairs), np.nan), np.full(len(pairs), np.nan)
    wilcoxon[known] = holm(np.array([signed_rank_p(differences) for differences in means[known]]))
    flips[known] = holm(sign_flip_ps(means[known], seed=seed))
    return [
        Comparison(
            first=first,
            second=second,
            difference=mean_estimate(row, clusters),
            wilcoxon=float(wilcoxon[index]),
            flips=float(flips[index]),
        )
        for index, ((first, second), row) in enumerate(zip(pairs, rows, strict=True))
    ]


def holm(ps: Values) -> Values:
    """Correct p-values for their number by Holm's step-down method: (tests,)."""
    order = np.argsort(ps, kind="stable")
    corrected = np.empty_like(ps)
    corrected[order] = np.minimum(np.maximum.accumulate(np.sort(ps) * np.arange(len(ps), 0, -1)), 1)
    return corrected


def signed_rank_p(differences: Values) -> float:
    """Return p of Wilcoxon's two-sided signed-rank test, images without a difference left out; 1 if all are."""
    told = differences[differences != 0]
    if len(told) <= _EXACT_UP_TO:
        # It is the sign-flip test of the ranks. Scipy's own enumeration takes 0.7 s of 13 images with ties.
        ranked = np.sign(told) * stats.rankdata(np.abs(told))
        return float(sign_flip_ps(ranked[None])[0])
    return float(stats.wilcoxon(told).pvalue)


def sign_flip_ps(differences: Values, *, seed: int = 0) -> Values:
    """Return p of the two-sided sign-flip test of each mean: (tests,).

    Args:
        differences: one for each image: (tests, images).
        seed: of the random patterns; up to 13 images all patterns are tried.
    """
    tests, images = differences.shape
    sums = differences.sum(axis=1)
    # Equal up to rounding is equal: the pattern of the data itself must count.
    least = np.abs(sums) - _ROUNDING * np.abs(differences).sum(axis=1)
    exact = images <= _EXACT_UP_TO
    total = 2**images if exact else max(FLIPS, _FLIPS_A_PAIR * tests)
    rng, reached = np.random.default_rng(seed), np.zeros(tests)
    for start in range(0, total, _HELD):
        held = min(_HELD, total - start)
        if exact:
            flipped = (np.arange(start, start + held)[:, None] >> np.arange(images)) & 1
        else:
            flipped = rng.integers(0, 2, (held, images), dtype=np.int8)
        # The sum less twice what is flipped: all tests share the patterns.
        reached += (np.abs(sums - 2 * (flipped.astype(np.float64) @ differences.T)) >= least).sum(axis=0)
    return np.asarray(reached / total if exact else (reached + 1) / (total + 1))


def require_rows(values: Mapping[str, Values], images: Sequence[str]) -> Clusters:
    """Group rows by image, or say what is missing.

    Raises:
        ScoresError: there are fewer than two chains, no rows, or a chain has another number of rows.
    """
    if len(values) < _FEWEST:
        raise ScoresError(f"a comparison needs at least two chains, not {len(values)}")
    if not len(images):
        raise ScoresError("a comparison needs at least one image")
    for chain, numbers in values.items():
        if len(numbers) != len(images):
            raise ScoresError(f"chain {chain} has {len(numbers)} rows and the images are {len(images)}")
    return Clusters(images)
