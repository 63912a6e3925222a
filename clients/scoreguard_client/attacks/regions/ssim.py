"""Images that are similar enough to the clean ones: a budget of fidelity instead of a norm.

The similarity is `scores.fidelity.ssim`, that of every record. It is measured on the float32 values that are returned,
so an image that was found inside stays unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.regions.base import Levels, rounded
from scoreguard_client.oracles.base import Images, Scores

_HALVINGS: Final = 20

Marks = npt.NDArray[np.bool_]
"""A truth value for each image, (N,)."""


@dataclass(frozen=True, kw_only=True)
class SsimRegion:
    """All images whose SSIM with the clean one is at least `min_ssim`."""

    clean: Images
    """The clean images, (N, 3, H, W)."""
    min_ssim: float
    """Smallest SSIM, below 1."""

    def similarity(self, images: Images) -> Scores:
        """Compute the SSIM of each image with its clean one, (N,)."""
        from scoreguard_client.scores.fidelity import ssim  # scikit-image: lists of attacks do without it

        pairs = zip(_to_hwc(self.clean), _to_hwc(images), strict=True)
        return np.array([ssim(clean, image) for clean, image in pairs])

    def holds(self, place: int, levels: Levels) -> bool:
        """Whether an 8-bit image (3, H, W) is similar enough to the clean image at a place of the batch."""
        alone = SsimRegion(clean=self.clean[place : place + 1], min_ssim=self.min_ssim)
        return bool(alone.similarity(unit_floats(levels[None]))[0] >= self.min_ssim)

    def clip(self, images: Images) -> Images:
        """Cut to [0, 1], then move each image that is outside straight towards the clean one until it is inside."""
        images = np.clip(images, 0, 1)
        if not (outside := self._outside(images)).any():
            return images
        share = self._largest_share(lambda part: self._between(images, part))
        return np.where(outside.reshape(-1, 1, 1, 1), self._between(images, share), images)

    def quantise(self, images: Images) -> Levels:
        """Round; if rounding leaves the budget, take a point on the way from the clean image that stays inside.

        A clean image that is not 8-bit may be less similar to its own rounding: then that is the result.
        """
        levels = rounded(images)
        if not (outside := self._outside(unit_floats(levels))).any():
            return levels
        share = self._largest_share(lambda part: unit_floats(rounded(self._between(images, part))))
        return np.where(outside.reshape(-1, 1, 1, 1), rounded(self._between(images, share)), levels)

    def _outside(self, images: Images) -> Marks:
        return self.similarity(images) < self.min_ssim

    def _largest_share(self, images_at: Callable[[Scores], Images]) -> Scores:
        low, high = np.zeros(len(self.clean)), np.ones(len(self.clean))
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            beyond = self._outside(images_at(middle))
            low, high = np.where(beyond, low, middle), np.where(beyond, middle, high)
        return low

    def _between(self, images: Images, share: Scores) -> Images:
        exact = self.clean.astype(np.float64)
        moved: Images = (exact + share.reshape(-1, 1, 1, 1) * (images - exact)).astype(np.float32)
        return moved


def unit_floats(levels: Levels) -> Images:
    """Convert 8-bit levels to float32 in [0, 1], as campaigns do with the images that they read."""
    return np.divide(levels, TOP, dtype=np.float32)


def _to_hwc(images: Images) -> Images:
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))
