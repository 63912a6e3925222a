"""Images within a root mean squared error of the clean ones; exact in float64 and on the 8-bit grid."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.per_image import totals
from scoreguard_client.attacks.regions.base import Levels, rounded
from scoreguard_client.oracles.arrays import Put, column, float32, float64, functions, one_each
from scoreguard_client.oracles.base import Images

_HALVINGS: Final = 20
_ORDER: Final = 1e-12
"""Share of the radius that a device gives away: it may sum an error in another order than the host, which checks it."""

Errors = npt.NDArray[np.float64]
"""Root mean squared error of each image, (N,)."""


@dataclass(frozen=True, kw_only=True)
class MseRegion:
    """All images whose root mean squared error from the clean one is at most `rmse`."""

    clean: Images
    """The centres."""
    rmse: float
    """Radius in units of [0, 1]."""

    def on(self, put: Put) -> MseRegion:
        """Return the same region with its arrays where `put` copies them."""
        return replace(self, clean=put(self.clean), rmse=self.rmse * (1 - _ORDER))

    def clip(self, images: Images) -> Images:
        """Cut to [0, 1], then move each image straight towards the clean one until it is inside; waits for a device."""
        images = functions(images).clip(images, 0, 1)
        outside = root_mean_square(images, self.clean) > self.rmse
        return self._shrunk(images, outside) if bool(outside.any()) else images

    def quantise(self, images: Images) -> Levels:
        """Round; if rounding leaves the budget, take a point on the way from the clean image that stays inside.

        A clean image that is not 8-bit may be farther than the budget from its own rounding: then that is the result.
        """
        levels = rounded(images)
        low, high = np.zeros(len(images)), np.ones(len(images))
        if not (outside := self._outside(levels)).any():
            return levels
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            beyond = self._outside(self._between(images, middle))
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return np.where(outside.reshape(-1, 1, 1, 1), self._between(images, low), levels)

    def _shrunk(self, images: Images, outside: npt.NDArray[np.bool_]) -> Images:
        library, result, factor = functions(images), images, one_each(images, 1)
        difference = float64(images) - self.clean
        while bool(outside.any()):
            error = root_mean_square(result, self.clean)
            # Rounding to float32 may leave it one step outside: shrink slightly until it is inside.
            shorter = factor * (library.clip(self.rmse / (error + (error == 0)), None, 1) * (1 - 1e-9))
            inside = float32(self.clean + column(shorter) * difference)
            result = library.where(column(outside), inside, result)
            factor = library.where(outside, shorter * (1 - 1e-7), factor)
            outside = root_mean_square(result, self.clean) > self.rmse
        return result

    def _between(self, images: Images, share: npt.NDArray[np.float64]) -> Levels:
        clean = self.clean.astype(np.float64)
        return np.rint((clean + share.reshape(-1, 1, 1, 1) * (images - clean)) * TOP).astype(np.uint8)

    def _outside(self, levels: Levels) -> npt.NDArray[np.bool_]:
        return root_mean_square(levels / TOP, self.clean) > self.rmse


def root_mean_square(images: npt.NDArray[np.floating], clean: Images) -> Errors:
    """Compute sqrt(mean((x' - x)^2)) of each image in float64, (N,)."""
    difference = float64(images) - clean
    squares = totals(difference**2).reshape(-1) / math.prod(clean.shape[1:])
    errors: Errors = functions(squares).sqrt(squares)
    return errors
