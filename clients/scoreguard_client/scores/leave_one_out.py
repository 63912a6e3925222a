"""Distances without each image in turn, for the jackknife, without computing each anew.

A distance is an integral over the score axis of D, the number of clean scores up to x less that of the attacked ones.
Leaving an image out takes away its own step function d, which differs from 0 only between the image's own scores, so
only those stretches are integrated again, from sums that all images share: O(N log N) for all images together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from scoreguard_client.scores.clusters import Clusters
from scoreguard_client.scores.distances import energy_score, wasserstein_score
from scoreguard_client.scores.scaling import Values

Distance = Callable[[Values, Values], float]
Indices = npt.NDArray[np.intp]


def distances_without_each(signed: Distance, clean: Values, attacked: Values, clusters: Clusters) -> Values:
    """Compute the size of a signed distance without each image: (images,); at least two images.

    `wasserstein_score` and `energy_score` have formulas; any other distance is computed anew without each image. A
    signed distance is 0 where the mean change is exactly 0; the formulas give its size there too.
    """
    if signed is wasserstein_score:
        return _wasserstein(clean, attacked, clusters)
    if signed is energy_score:
        return _energy(clean, attacked, clusters)
    kept = (clusters.without(image) for image in range(clusters.count))
    return np.array([abs(signed(clean[rows], attacked[rows])) for rows in kept])


class _Steps:
    """The step function of all scores and, stretch by stretch, those of the images."""

    def __init__(self, clean: Values, attacked: Values, clusters: Clusters) -> None:
        ends = np.concatenate([clean, attacked])
        signs = np.repeat([1, -1], [len(clean), len(attacked)])
        owners = np.tile(clusters.owners, 2)
        order = np.argsort(ends, kind="stable")
        ends, signs, owners = ends[order], signs[order], owners[order]
        self.widths: Values = np.append(np.diff(ends), 0.0)
        """From each score to the next one: (2N,)."""
        self.whole = np.cumsum(signs)
        """D on that stretch, a whole number."""
        # Grouped by image, in the order of the scores: a stretch of an image goes from one of its scores to its next.
        places = np.argsort(owners, kind="stable")
        self._owners = owners[places]
        heights, last = np.cumsum(signs[places]), np.append(self._owners[1:] != self._owners[:-1], True)
        # An image has as many clean as attacked rows, so its steps add up to 0 and the next image starts from there.
        telling = ~last & (heights != 0)
        self.starts: Indices = places[telling]
        self.stops: Indices = np.append(places[1:], 0)[telling]
        self.heights = heights[telling]
        """d on each stretch where it is not 0, a whole number."""
        self._owners = self._owners[telling]
        self._count = clusters.count
        self.left = len(clean) - clusters.sizes
        """Rows that remain without each image."""

    def integrals(self, values: npt.NDArray[np.number]) -> Values:
        """Integral over each stretch of a function given on the stretches between all scores."""
        sums = np.concatenate([[0.0], np.cumsum(values * self.widths)])
        return np.asarray(sums[self.stops] - sums[self.starts])

    def by_image(self, values: Values) -> Values:
        """Sum over the stretches of each image."""
        return np.bincount(self._owners, weights=values, minlength=self._count).astype(np.float64)


def _wasserstein(clean: Values, attacked: Values, clusters: Clusters) -> Values:
    """Integral of |D - d| over the remaining rows."""
    steps = _Steps(clean, attacked, clusters)
    size, changes = np.abs(steps.whole), np.zeros(len(steps.heights))
    for height in np.unique(steps.heights):  # with one row for each image: 1 and -1
        chosen = steps.heights == height
        changes[chosen] = steps.integrals(np.abs(steps.whole - height) - size)[chosen]
    total = float(np.sum(size * steps.widths))
    return np.maximum(total + steps.by_image(changes), 0) / steps.left


def _energy(clean: Values, attacked: Values, clusters: Clusters) -> Values:
    """Root of twice the integral of (D - d)² over the square of the remaining rows."""
    steps = _Steps(clean, attacked, clusters)
    lengths = steps.integrals(np.ones(len(steps.widths)))
    changes = steps.heights**2 * lengths - 2 * steps.heights * steps.integrals(steps.whole)
    total = float(np.sum(steps.whole**2 * steps.widths))
    return np.asarray(np.sqrt(2 * np.maximum(total + steps.by_image(changes), 0)) / steps.left)
