"""Optimal transport in one dimension: which part of one sample goes to which part of another.

For every cost that is a convex function of the difference, the best plan between two samples on a line couples equal
quantiles (Villani 2003, theorem 2.18): lowest to lowest, highest to highest. It needs no optimiser and no entropy term,
and it is exact: for samples of one size the k-th smallest goes to the k-th smallest.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from scoreguard_client.scores.scaling import Values

Indices = npt.NDArray[np.int64]


def monotone_coupling(count: int, other: int) -> tuple[Indices, Indices, Indices]:
    """Couple two sorted samples by quantiles.

    Args:
        count: values of the first sample; at least 1.
        other: values of the second sample; at least 1.

    Returns:
        For each part that moves as a whole, by rising quantile: its index in the first sample, its index in the second,
        and its mass in units of 1 / (count · other). At most count + other − 1 parts.
    """
    ends = np.union1d(np.arange(count + 1, dtype=np.int64) * other, np.arange(other + 1, dtype=np.int64) * count)
    begins = ends[:-1]
    return begins // other, begins // count, np.diff(ends)


def transport_map(source: Values, target: Values) -> tuple[Values, Values]:
    """Compute where the optimal plan moves each distinct value of a sample: the mean of what it is coupled to.

    If the samples have one size and no value of the source occurs twice, each value moves to one value of the target,
    and the moved sample is the target, to the last bit. Otherwise a value whose mass is split moves to the mean of its
    parts (the barycentric projection of the plan): a function cannot split it.

    Args:
        source: (N,), in any order, finite.
        target: (M,), in any order, finite.

    Returns:
        The distinct values of the source, rising: (K,), and where they move, never falling: (K,).
    """
    values, counts = np.unique(source, return_counts=True)
    ordered = np.sort(target)
    moved, reached, mass = monotone_coupling(len(source), len(target))
    # Equal values of the source are one knot; the parts of a knot follow each other.
    knot = np.repeat(np.arange(len(values)), counts)[moved]
    first = np.flatnonzero(np.diff(knot, prepend=-1))
    last = np.append(first[1:], len(knot)) - 1
    lowest, highest = ordered[reached[first]], ordered[reached[last]]
    # Means are taken above the lowest part and kept below the highest: a knot with one part is exact, and rounding
    # cannot put a mean beyond the next knot's.
    above = np.add.reduceat(mass * (ordered[reached] - lowest[knot]), first) / np.add.reduceat(mass, first)
    return values, np.clip(lowest + above, lowest, highest)
