"""Denoise by a median: y = x + amount (median(x) - x), over squares of `side` pixels, each channel by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.free.blended import BlendedEdit, Values


@dataclass(frozen=True, kw_only=True)
class FreeDenoise(BlendedEdit):
    """The median filter; beyond the edge its last pixel is repeated."""

    name = "free-denoise"
    title = "Denoise"

    amount: float = 1.0
    """Share of the median in the result, in (0, 1]."""
    side: int = 3
    """Side of the square, in pixels; odd."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.amount <= 1, f"amount must be in (0, 1], not {self.amount:g}")
        self.require(self.side % 2 == 1 and 3 <= self.side <= 15, f"side must be odd, 3 to 15, not {self.side}")

    def full(self, image: Values, rng: np.random.Generator) -> Values:
        """Take the median."""
        del rng
        from scipy import ndimage

        median = ndimage.median_filter(image, size=(self.side, self.side, 1), mode="nearest")
        return image + self.amount * (np.asarray(median) - image)
