"""The correlations as kinds: value, error by theory, and what remains without each image, for intervals.

Nothing is computed anew without each image. A rank without an image is the rank less the image's rows below it (ties
half); a concordance without it is the concordance less what its rows take part in; a product moment likewise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from scoreguard_client.scores.agreement import krocc, plcc, srocc
from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.scaling import Values

Indices = npt.NDArray[np.intp]

_CELLS: Final = 50_000
"""Ranks or pairs held at once, (images, rows): more leave the processor's cache and take longer for each."""
_CANCELLED: Final = 1e-3
"""Share of a variance below which subtracting from it costs too many digits."""


@dataclass(frozen=True, kw_only=True)
class Correlation:
    """One kind of correlation."""

    value: Callable[[Values, Values], float]
    """The correlation of two sides; NaN if one is constant."""
    without_each: Callable[[Values, Values, Clusters], Values]
    """The correlation without each image: (images,); NaN where one side is constant."""
    error: Callable[[float, int], float]
    """Standard error of Fisher's z by theory, of a correlation and a number of images."""


def srocc_without_each(first: Values, second: Values, clusters: Clusters) -> Values:
    """Compute Spearman's rank correlation without each image: (images,); NaN where one side is constant."""
    held = max(1, _CELLS // len(first))
    starts = range(0, clusters.count, held)
    sides = [_Side(first, clusters), _Side(second, clusters)]
    parts = []
    for start in starts:
        images = np.arange(start, min(start + held, clusters.count))
        one, other = (side.deviations(images) for side in sides)
        products = np.einsum("ij,ij->i", one, other)
        squares = np.einsum("ij,ij->i", one, one) * np.einsum("ij,ij->i", other, other)
        parts.append(np.where(squares > 0, products / np.sqrt(np.where(squares > 0, squares, 1)), np.nan))
    return np.concatenate(parts)


class _Side:
    """The ranks of one side of a correlation."""

    def __init__(self, values: Values, clusters: Clusters) -> None:
        self._ranks: Values = stats.rankdata(values)
        self._groups = np.unique(values, return_inverse=True)[1].reshape(-1)
        self._clusters = clusters

    def deviations(self, images: Indices) -> Values:
        """Ranks without each image less their mean, 0 for the rows that are left out: (images, rows)."""
        rows = self._clusters.order[self._clusters.firsts[images[0]] : self._clusters.firsts[images[-1] + 1]]
        lines = self._clusters.owners[rows] - images[0]
        width = int(self._groups.max()) + 1
        cells = lines * width + self._groups[rows]
        here = np.bincount(cells, minlength=len(images) * width).reshape(len(images), width)
        below = np.cumsum(here, axis=1) - here / 2
        left = len(self._ranks) - self._clusters.sizes[images]
        # Ranks are multiples of a half, so all of this is exact.
        ranks = (self._ranks - (left[:, None] + 1) / 2) - below[:, self._groups]
        ranks[lines, rows] = 0
        return np.asarray(ranks)


def krocc_without_each(first: Values, second: Values, clusters: Clusters) -> Values:
    """Compute Kendall's rank correlation (tau-b) without each image: (images,); NaN where one side is constant."""
    order, firsts, owners = clusters.order, clusters.firsts, np.sort(clusters.owners)
    sides = first[order], second[order]
    # Of each row with all others: pairs in the same order less those in opposite order, pairs not tied on either side.
    lost = np.zeros((3, clusters.count))
    total = np.zeros(3)
    held = max(1, int(_CELLS * clusters.count / len(first) ** 2))
    for start in range(0, clusters.count, held):
        stop = min(start + held, clusters.count)
        rows = slice(firsts[start], firsts[stop])
        signs = [(side[rows, None] > side).astype(np.int8) - (side[rows, None] < side) for side in sides]
        own = owners[rows, None] == owners
        for index, pairs in enumerate((signs[0] * signs[1], signs[0] != 0, signs[1] != 0)):
            of_row = pairs.sum(axis=1, dtype=np.int64)
            total[index] += of_row.sum() / 2
            # A pair within the image was counted by both of its rows.
            twice = (pairs * own).sum(axis=1, dtype=np.int64) / 2
            lost[index, start:stop] = np.add.reduceat(of_row - twice, firsts[start:stop] - firsts[start])
    concordance, untied, others = total[:, None] - lost
    squares = untied * others
    return np.where(squares > 0, concordance / np.sqrt(np.where(squares > 0, squares, 1)), np.nan)


def plcc_without_each(first: Values, second: Values, clusters: Clusters) -> Values:
    """Compute Pearson's correlation without each image: (images,); NaN where one side is constant."""
    x, y = first - first.mean(), second - second.mean()
    count = len(x) - clusters.sizes
    sum_x, sum_y = (side.sum() - clusters.sums(side) for side in (x, y))

    def moments(products: Values, of_one: Values, of_other: Values) -> Values:
        return np.asarray(products.sum() - clusters.sums(products) - of_one * of_other / count)

    xx, yy, xy = moments(x * x, sum_x, sum_x), moments(y * y, sum_y, sum_y), moments(x * y, sum_x, sum_y)
    sure = (xx > _CANCELLED * np.dot(x, x)) & (yy > _CANCELLED * np.dot(y, y))
    correlations = xy / np.sqrt(np.where(sure, xx * yy, 1))
    for image in np.flatnonzero(~sure).tolist():  # the image had nearly all the variance of a side
        kept = clusters.without(image)
        correlations[image] = plcc(first[kept], second[kept])
    return np.asarray(correlations)


SROCC: Final = Correlation(
    value=srocc,
    without_each=srocc_without_each,
    error=lambda correlation, images: float(np.sqrt((1 + correlation**2 / 2) / (images - 3))),
)
"""Spearman's; its error is Bonett and Wright's (2000)."""
KROCC: Final = Correlation(
    value=krocc, without_each=krocc_without_each, error=lambda correlation, images: float(np.sqrt(0.437 / (images - 4)))
)
"""Kendall's tau-b; its error is Fieller's (1957), as Bonett and Wright have it."""
PLCC: Final = Correlation(
    value=plcc, without_each=plcc_without_each, error=lambda correlation, images: float(np.sqrt(1 / (images - 3)))
)
"""Pearson's; its error is Fisher's. Its interval is too narrow for scores with heavy tails (docs/intervals.md)."""
