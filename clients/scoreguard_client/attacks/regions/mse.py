"""Images within a root mean squared error of the clean ones; exact in float64 and on the 8-bit grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.per_image import totals
from scoreguard_client.attacks.regions.base import Levels, rounded
from scoreguard_client.oracles.base import Images

_HALVINGS: Final = 20

Errors = npt.NDArray[np.float64]
"""Root mean squared error of each image, (N,)."""


@dataclass(frozen=True, kw_only=True)
class MseRegion:
    """All images whose root mean squared error from the clean one is at most `rmse`."""

    clean: Images
    """The centres."""
    rmse: float
    """Radius in units of [0, 1]."""

    def clip(self, images: Images) -> Images:
        """Cut to [0, 1], then move each image straight towards the clean one until it is inside."""
        images = np.clip(images, 0, 1)
        outside = root_mean_square(images, self.clean) > self.rmse
        return self._shrunk(images, outside) if outside.any() else images

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
        result, factor = images.copy(), np.ones(len(images))
        difference = images.astype(np.float64) - self.clean
        while outside.any():
            error = root_mean_square(result, self.clean)
            # Rounding to float32 may leave it one step outside: shrink slightly until it is inside.
            factor[outside] *= np.minimum(self.rmse / error[outside], 1.0) * (1 - 1e-9)
            inside = (self.clean + factor.reshape(-1, 1, 1, 1) * difference).astype(np.float32)
            result[outside] = inside[outside]
            factor[outside] *= 1 - 1e-7
            outside = root_mean_square(result, self.clean) > self.rmse
        return result

    def _between(self, images: Images, share: npt.NDArray[np.float64]) -> Levels:
        clean = self.clean.astype(np.float64)
        return np.rint((clean + share.reshape(-1, 1, 1, 1) * (images - clean)) * TOP).astype(np.uint8)

    def _outside(self, levels: Levels) -> npt.NDArray[np.bool_]:
        return root_mean_square(levels / TOP, self.clean) > self.rmse


def root_mean_square(images: npt.NDArray[np.floating], clean: Images) -> Errors:
    """Compute sqrt(mean((x' - x)^2)) of each image in float64, (N,)."""
    difference = images.astype(np.float64) - clean
    return np.asarray(np.sqrt(totals(difference**2).ravel() / clean[0].size))
