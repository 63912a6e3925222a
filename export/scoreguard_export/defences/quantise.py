"""Colour quantisation (bit-depth reduction) as a purification: y = round(x·(L − 1)) / (L − 1), L levels per channel.

Xu, Evans and Qi, "Feature Squeezing: Detecting Adversarial Examples in Deep Neural Networks", NDSS 2018, section 2.2,
with L = 2ⁱ for i bits; any whole L is allowed here.
"""

from __future__ import annotations

import torch
from torch import Tensor

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.straight_through import straight_through


class Quantise(Defence):
    """Round each channel to equally spaced levels, including black and white; an exact half goes to the even level.

    The gradient passes the rounding straight through, so it is the identity's; the public benchmark's code has a
    gradient of zero here, which hides the defence from a defence-aware attack without making it stronger.
    """

    facts = DefenceFacts(
        name="quantise",
        title="Colour quantisation",
        paper="Xu, Evans and Qi: Feature squeezing: detecting adversarial examples in deep neural networks",
        year=2018,
        parameters=(
            Parameter(
                name="levels",
                description="Levels per channel, a whole number; 2ⁱ is a depth of i bits.",
                default=16.0,
                minimum=2.0,
                maximum=256.0,
                integer=True,
            ),
        ),
        differentiability=Differentiability.STRAIGHT_THROUGH,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-6,
    )

    def forward(self, image: Tensor, levels: Tensor) -> Tensor:
        """Quantise images (N, 3, H, W).

        Args:
            image: In [0, 1].
            levels: 0-d, 2 to 256; rounded to a whole number.
        """
        steps = torch.clamp(torch.round(levels), 2.0, 256.0).to(image.dtype) - 1.0
        scaled = image * steps
        return straight_through(scaled, torch.round(scaled)) / steps
