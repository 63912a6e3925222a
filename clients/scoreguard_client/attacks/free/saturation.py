"""More colour: y = g + factor (x - g), g the grey of each pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.free.blended import LUMA, BlendedEdit, Values


@dataclass(frozen=True, kw_only=True)
class FreeSaturation(BlendedEdit):
    """Distance from grey times a factor."""

    name = "free-saturation"
    title = "Saturation"

    factor: float = 1.3
    """Factor of the saturation; below 1 it falls, 0 = black and white."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.factor <= 10, f"factor must be in [0, 10], not {self.factor:g}")

    def full(self, image: Values, rng: np.random.Generator) -> Values:
        """Spread the colours."""
        del rng
        grey = (image @ LUMA)[..., None]
        return np.asarray(grey + self.factor * (image - grey))
