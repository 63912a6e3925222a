"""Add film grain: y = x + sigma n, n normal noise, the same in all channels, from the image's seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.free.blended import BlendedEdit, Values


@dataclass(frozen=True, kw_only=True)
class FreeGrain(BlendedEdit):
    """Grey noise; a weaker edit scales the same draw."""

    name = "free-grain"
    title = "Grain"

    sigma: float = 0.02
    """Standard deviation of the noise, in units of [0, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.sigma <= 1, f"sigma must be in (0, 1], not {self.sigma:g}")

    def full(self, image: Values, rng: np.random.Generator) -> Values:
        """Add noise."""
        return image + self.sigma * rng.standard_normal((*image.shape[:2], 1))
