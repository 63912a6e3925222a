"""Gamma correction as a purification: y = ((x + c)^γ − c^γ) / ((1 + c)^γ − c^γ), c = 1/255.

The constant keeps the derivative finite at black for γ < 1, where that of x^γ is infinite.
"""

from __future__ import annotations

from torch import Tensor

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter

_OFFSET = 1.0 / 255.0


class Gamma(Defence):
    """Darken (γ > 1) or brighten (γ < 1); black and white are unchanged."""

    facts = DefenceFacts(
        name="gamma",
        title="Gamma correction",
        paper="none: an example",
        year=2026,
        parameters=(Parameter(name="gamma", description="Exponent.", default=2.0, minimum=0.2, maximum=5.0),),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-5,
    )

    def forward(self, image: Tensor, gamma: Tensor) -> Tensor:
        """Purify images (N, 3, H, W) with an exponent, 0-d."""
        low, high = gamma.new_tensor(_OFFSET) ** gamma, gamma.new_tensor(1.0 + _OFFSET) ** gamma
        return (((image + _OFFSET) ** gamma - low) / (high - low)).clamp(0.0, 1.0)
