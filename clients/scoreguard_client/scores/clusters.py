"""Rows grouped by image: images are the unit of resampling, each with all its rows (Field and Welsh 2007).

An image with several draws or attacks gives dependent rows; counting them as independent, as the public benchmark's t
intervals do, makes intervals too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.scores.draws import SEED, draws
from scoreguard_client.scores.scaling import Values

RESAMPLES: Final = 1000


class Clusters:
    """The rows of a table by image."""

    def __init__(self, images: Sequence[str], *, resamples: int = RESAMPLES, seed: int = SEED) -> None:
        """Group the rows.

        Args:
            images: the image of each row; at least one row.
            resamples: number of resamples of the images.
            seed: of the resampling.
        """
        indices = {image: index for index, image in enumerate(dict.fromkeys(images))}
        self.owners = np.array([indices[image] for image in images])
        """Number of the image of each row, in the order of first appearance: (rows,)."""
        self._resamples, self._seed = resamples, seed
        self.count = len(indices)
        """Number of images."""
        self.sizes: Values = self.sums(np.ones(len(images)))
        """Rows of each image: (images,)."""

    @cached_property
    def order(self) -> npt.NDArray[np.intp]:
        """The rows of the first image, then those of the second, and so on: (rows,)."""
        return np.argsort(self.owners, kind="stable")

    @cached_property
    def firsts(self) -> npt.NDArray[np.intp]:
        """Where in that order the rows of each image begin, and where the last ones end: (images + 1,)."""
        return np.concatenate([[0], np.cumsum(self.sizes)]).astype(np.intp)

    def sums(self, values: Values) -> Values:
        """Sum of the rows of each image: (images,)."""
        return np.bincount(self.owners, weights=values, minlength=self.count).astype(np.float64)

    def without(self, image: int) -> npt.NDArray[np.bool_]:
        """Return which rows remain without one image: (rows,)."""
        return np.asarray(self.owners != image)

    def holding(self, rows: npt.NDArray[np.bool_]) -> int:
        """Count the images that have a row among these."""
        return len(np.unique(self.owners[rows]))

    @property
    def draws(self) -> Values:
        """How often each image is in each resample: (resamples, images)."""
        return _draws(self.count, self._resamples, self._seed)


@lru_cache(maxsize=4)
def _draws(count: int, resamples: int, seed: int) -> Values:
    drawn = draws(count, resamples, seed)
    drawn.flags.writeable = False
    return drawn
