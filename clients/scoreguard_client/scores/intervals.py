"""The kinds of 95 % intervals behind `estimates`; each counts images, not rows.

Mean: from the lower of the lower ends to the higher of the upper ends of Student's t interval and the studentised
bootstrap (Efron and Tibshirani 1993, 12.5). The first is too narrow for skewed values, the second for few values.

Distance: the same for the jackknife's pseudo-values (Tukey 1958), which remove most of the distance's bias, joined with
the same around the plain distance. If the interval of the mean change contains 0, the sign is unknown, and the interval
goes from -high to high.

Correlation: Fisher's z with the larger of the jackknife's error and the one by theory (for ranks Bonett and Wright's,
2000), and Student's t quantile. The errors by theory hold only for normal scores.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np
from scipy import stats

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.correlations import SROCC, Correlation
from scoreguard_client.scores.leave_one_out import Distance, distances_without_each
from scoreguard_client.scores.scaling import Values

Interval = tuple[float, float]

CONFIDENCE: Final = 0.95
_ENDS: Final = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
FLAT: Final = 1e-3
"""Share of the sample's error below which a resample's error is meaningless: the resample has none of the few images
that differ from the rest, and its remaining spread is float32 noise."""


def mean_interval(values: Values, clusters: Clusters) -> Interval:
    """Interval of the mean of finite rows: (rows,); at least two images."""
    return _interval(clusters.sums(values), clusters.sizes, clusters.draws)


def _interval(sums: Values, sizes: Values, draws: Values) -> Interval:
    """Interval of sum(sums) / sum(sizes), both (images,); draws are (resamples, images)."""
    count, rows = len(sums), sizes.sum()
    mean = float(sums.sum() / rows)
    residuals, correction = sums - mean * sizes, count / (count - 1)
    error = float(np.sqrt(correction * (residuals**2).sum()) / rows)
    drawn_rows = draws @ sizes
    shifts = (draws @ residuals) / drawn_rows
    squares = draws @ residuals**2 - 2 * shifts * (draws @ (residuals * sizes)) + shifts**2 * (draws @ sizes**2)
    errors = np.sqrt(correction * np.maximum(squares, 0)) / drawn_rows
    telling = errors > FLAT * error
    below = above = _student(count - 1)
    if telling.any():
        low, high = np.quantile(shifts[telling] / errors[telling], _ENDS)
        below, above = max(below, float(high)), max(above, -float(low))
    return mean - below * error, mean + above * error


def distance_interval(signed: Distance, clean: Values, attacked: Values, clusters: Clusters, *, power: int) -> Interval:
    """Interval of a signed distance; `power` is that of the distance that is a mean over pairs of rows."""
    whole = float(abs(signed(clean, attacked)) ** power)
    count = clusters.count
    others = distances_without_each(signed, clean, attacked, clusters) ** power
    pseudo = count * whole - (count - 1) * others
    low, high = _interval(pseudo, np.ones(count), clusters.draws)
    # Joined with the same interval around the plain distance, whose bias may have been over-corrected.
    shift = whole - float(pseudo.mean())
    low, high = min(low, low + shift), max(high, high + shift, whole)
    low, high = (max(end, 0.0) ** (1 / power) for end in (low, high))
    lowest_change, highest_change = mean_interval(attacked - clean, clusters)
    if lowest_change <= 0 <= highest_change:
        return -high, high
    # The Wasserstein distance is never below the mean change, the better known of the two if both are small.
    low = min(low, abs(lowest_change), abs(highest_change))
    return (low, high) if lowest_change > 0 else (-high, -low)


def correlation_interval(first: Values, second: Values, clusters: Clusters, *, kind: Correlation = SROCC) -> Interval:
    """Interval of a correlation, Spearman's by default; at least five images."""
    count = clusters.count
    # Fisher's z is undefined for ±1, which a few images reach by chance.
    most = 1 - count**-1.5
    value = kind.value(first, second)
    middle, bounded = float(np.arctanh(np.clip(value, -most, most))), float(np.clip(value, -most, most))
    error = kind.error(bounded, count)
    others = kind.without_each(first, second, clusters)
    others = np.arctanh(np.clip(others[np.isfinite(others)], -most, most))
    bias = 0.0
    if others.size:
        error = max(error, np.sqrt((count - 1) * others.var()))
        bias = (count - 1) * float(others.mean() - middle)
    reach = _student(count - 2) * error
    # Joined with the interval around the value without its bias, which is not sure to be one.
    low, high = np.tanh([middle - reach - max(bias, 0), middle + reach - min(bias, 0)])
    return min(float(low), value), max(float(high), value)


@functools.lru_cache
def _student(freedom: int) -> float:
    return float(stats.t.ppf(_ENDS[1], freedom))
