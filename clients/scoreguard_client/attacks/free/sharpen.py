"""Sharpen by an unsharp mask: y = x + amount (x - blur(x)), every editor's filter of that name."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.free.blended import BlendedEdit, Values, blurred


@dataclass(frozen=True, kw_only=True)
class FreeSharpen(BlendedEdit):
    """Unsharp masking without a threshold."""

    name = "free-sharpen"
    title = "Sharpen"

    amount: float = 1.0
    """Share of the removed detail that is added; 1 = 100 % in an editor."""
    radius: float = 1.0
    """Standard deviation of the blur, in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.amount <= 10, f"amount must be in (0, 10], not {self.amount:g}")
        self.require(0 < self.radius <= 100, f"radius must be in (0, 100], not {self.radius:g}")

    def full(self, image: Values, rng: np.random.Generator) -> Values:
        """Add detail."""
        del rng
        return image + self.amount * (image - blurred(image, self.radius))
