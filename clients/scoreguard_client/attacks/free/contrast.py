"""More contrast: y = m + factor (x - m), m the mean grey of the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.free.blended import LUMA, BlendedEdit, Values


@dataclass(frozen=True, kw_only=True)
class FreeContrast(BlendedEdit):
    """Distance from the mean grey times a factor."""

    name = "free-contrast"
    title = "Contrast"

    factor: float = 1.2
    """Factor of the contrast; below 1 it falls."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.factor <= 10, f"factor must be in [0, 10], not {self.factor:g}")

    def full(self, image: Values, rng: np.random.Generator) -> Values:
        """Spread the values."""
        del rng
        mean = (image @ LUMA).mean()
        return np.asarray(mean + self.factor * (image - mean))
