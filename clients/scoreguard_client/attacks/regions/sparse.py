"""Images that differ from the clean ones in a limited number of pixels, by any amount."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoreguard_client.attacks.regions.base import Levels, rounded
from scoreguard_client.oracles.arrays import Put, float64, functions, in_order
from scoreguard_client.oracles.base import Images


@dataclass(frozen=True, kw_only=True)
class SparseRegion:
    """All images with at most `pixels` changed pixels (L0); a pixel counts once, however many channels changed."""

    clean: Images
    """The centres."""
    pixels: int
    """Maximum number of pixels that may differ."""

    def on(self, put: Put) -> SparseRegion:
        """Return the same region with its arrays where `put` copies them."""
        return SparseRegion(clean=put(self.clean), pixels=self.pixels)

    def clip(self, images: Images) -> Images:
        """Cut to [0, 1]; if too many pixels changed, keep the most changed ones; waits for a device."""
        library = functions(images)
        images = library.clip(images, 0, 1)
        if not bool((changed_pixels(images, self.clean) > self.pixels).any()):
            return images
        change = library.sum(library.abs(float64(images) - self.clean), axis=1).reshape(len(images), -1)
        # The place of each pixel in the order is the order of the order.
        keep = in_order(in_order(-change)) < self.pixels
        kept: Images = library.where(keep.reshape(len(images), 1, *images.shape[2:]), images, self.clean)
        return kept

    def quantise(self, images: Images) -> Levels:
        """Round; an unchanged pixel stays the rounding of the clean one."""
        return rounded(images)


def changed_pixels(images: Images, clean: Images) -> npt.NDArray[np.int64]:
    """Count the pixels that differ in any channel, (N,)."""
    library = functions(images)
    counts: npt.NDArray[np.int64] = library.sum(library.any(images != clean, axis=1), axis=(1, 2))
    return counts
