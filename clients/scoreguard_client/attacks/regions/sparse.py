"""Images that differ from the clean ones in a limited number of pixels, by any amount."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.regions.base import Levels, rounded
from scoreguard_client.oracles.base import Images


@dataclass(frozen=True, kw_only=True)
class SparseRegion:
    """All images with at most `pixels` changed pixels (L0); a pixel counts once, however many channels changed."""

    clean: Images
    """The centres."""
    pixels: int
    """Maximum number of pixels that may differ."""

    def clip(self, images: Images) -> Images:
        """Cut to [0, 1]; if too many pixels changed, keep the most changed ones."""
        images = np.clip(images, 0, 1)
        if not (changed_pixels(images, self.clean) > self.pixels).any():
            return images
        change = np.abs(images.astype(np.float64) - self.clean).sum(axis=1).reshape(len(images), -1)
        order = np.argsort(-change, axis=1, kind="stable")
        keep = np.zeros(change.shape, dtype=bool)
        np.put_along_axis(keep, order[:, : self.pixels], values=True, axis=1)
        return np.where(keep.reshape(len(images), 1, *images.shape[2:]), images, self.clean)

    def quantise(self, images: Images) -> Levels:
        """Round; an unchanged pixel stays the rounding of the clean one."""
        return rounded(images)


def changed_pixels(images: Images, clean: Images) -> npt.NDArray[np.int64]:
    """Count the pixels that differ in any channel, (N,)."""
    return np.asarray((images != clean).any(axis=1).sum(axis=(1, 2)), dtype=np.int64)
