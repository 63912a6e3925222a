"""Flipping as a purification: x'[i, j] = x[H−1−i, W−1−j]. Its own inverse; the shape is kept."""

from __future__ import annotations

import torch
from torch import Tensor

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, switch


class Flip(Defence):
    """Flip both axes, or only the selected ones.

    The variant with neither is the identity; it is kept so that each combination of the two switches has a graph.
    """

    facts = DefenceFacts(
        name="flip",
        title="Flip",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            switch("horizontal", "1 to mirror left and right, 0 not to.", default=True),
            switch("vertical", "1 to mirror top and bottom, 0 not to.", default=True),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=0.0,
    )

    def __init__(self, *, horizontal: float = 1.0, vertical: float = 1.0) -> None:
        super().__init__(horizontal=horizontal, vertical=vertical)
        self.axes = [axis for axis, mirrored in ((2, vertical), (3, horizontal)) if mirrored]

    def forward(self, image: Tensor) -> Tensor:
        """Mirror images (N, 3, H, W)."""
        return torch.flip(image, self.axes)  # always a copy
