"""Blur and sharpen again: y = b + amount (b - blur(b)), b = blur(x).

Noise and the traces of compression are gone, and edges are steep: what "enhance" buttons do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.free.blended import BlendedEdit, Values, blurred


@dataclass(frozen=True, kw_only=True)
class FreeSharpenAfterBlur(BlendedEdit):
    """A Gaussian blur, then an unsharp mask."""

    name = "free-sharpen-after-blur"
    title = "Sharpen after blur"

    amount: float = 1.5
    """Share of the removed detail that is added to the blurred image; 1 = 100 % in an editor."""
    radius: float = 2.0
    """Standard deviation of the mask's blur, in pixels."""
    sigma: float = 0.7
    """Standard deviation of the first blur, in pixels."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.amount <= 10, f"amount must be in (0, 10], not {self.amount:g}")
        self.require(0 < self.radius <= 100, f"radius must be in (0, 100], not {self.radius:g}")
        self.require(0 < self.sigma <= 100, f"sigma must be in (0, 100], not {self.sigma:g}")

    def full(self, image: Values, rng: np.random.Generator) -> Values:
        """Blur and add detail."""
        del rng
        soft = blurred(image, self.sigma)
        return soft + self.amount * (soft - blurred(soft, self.radius))
