"""Gaussian noise as a purification: x' = min(1, max(0, x + σ·n)), n standard normal, one draw per value."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreguard_export.defences.base import (
    Defence,
    DefenceFacts,
    Differentiability,
    Distribution,
    Parameter,
    RandomInput,
    RandomShape,
)


class Noise(Defence):
    """Add white noise and clip, as a camera's sensor would.

    The gradient is that of the sum, and zero for clipped values. The noise is an input, so a fixed draw makes the
    defence an ordinary function of the image.
    """

    facts = DefenceFacts(
        name="noise",
        title="Random noise",
        paper="Gushchin et al.: Guardians of Image Quality: Benchmarking Defenses Against Adversarial Attacks on Image "
        "Quality Metrics (arXiv 2408.01541)",
        year=2024,
        parameters=(
            Parameter(
                name="sigma",
                description="Standard deviation of the noise, in units of the range [0, 1].",
                default=0.01,
                minimum=0.0,
                maximum=1.0,
            ),
        ),
        random_inputs=(RandomInput(name="noise", distribution=Distribution.STANDARD_NORMAL, shape=RandomShape.IMAGE),),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-6,
    )

    def forward(self, image: Tensor, sigma: Tensor, noise: Tensor) -> Tensor:
        """Add noise to images (N, 3, H, W).

        Args:
            image: In [0, 1].
            sigma: 0-d, 0 to 1.
            noise: Standard normal, shaped like the images.
        """
        return torch.clamp(image + sigma * noise, 0.0, 1.0)
