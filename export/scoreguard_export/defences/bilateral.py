"""Bilateral filter as a purification: y(p) = Σ w(p, q)·x(q) / Σ w(p, q) over a disc of pixels q around p.

Tomasi and Manduchi, "Bilateral filtering for gray and color images", ICCV 1998, with
w = exp(−|p − q|²/2σ_s²)·exp(−d²/2σ_c²) and, as in OpenCV, d = |Δred| + |Δgreen| + |Δblue|.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.straight_through import straight_through


def _disc(reach: int) -> list[tuple[int, int]]:
    """Offsets (down, right) no farther than `reach`, the centre left out."""
    span = range(-reach, reach + 1)
    return [(down, right) for down in span for right in span if 0 < down * down + right * right <= reach * reach]


class Bilateral(Defence):
    """Smooth where the colours are alike, and keep the edges: OpenCV's `bilateralFilter` on float pictures.

    Borders mirror about the edge pixel's centre (OpenCV's default, reflect-101). The first study that purified with
    this filter publishes no parameters; the defaults here are those of OpenCV's manual and tutorial: 5 pixels for a
    filter that must be fast, σ of 75 in pixels and about 75 of 255 in colour.
    """

    facts = DefenceFacts(
        name="bilateral",
        title="Bilateral filter",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            Parameter(
                name="kernel",
                description="Diameter of the disc, in pixels.",
                default=5.0,
                minimum=3.0,
                maximum=7.0,
                integer=True,
                choices=(3.0, 5.0, 7.0),
                at_most_side=True,
            ),
            Parameter(
                name="sigma_color",
                description="Standard deviation over the summed difference of the three channels, each in [0, 1].",
                default=0.3,
                minimum=0.01,
                maximum=3.0,
            ),
            Parameter(
                name="sigma_space",
                description="Standard deviation over the distance, in pixels.",
                default=75.0,
                minimum=0.1,
                maximum=100.0,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=4,
        parity_tolerance=1e-5,
    )

    def __init__(self, *, kernel: float = 5.0) -> None:
        super().__init__(kernel=kernel)
        self.reach = int(kernel) // 2
        self.offsets = _disc(self.reach)

    def forward(self, image: Tensor, sigma_color: Tensor, sigma_space: Tensor) -> Tensor:
        """Filter pictures (N, 3, H, W).

        Args:
            image: In [0, 1].
            sigma_color: 0-d, 0.01 to 3.
            sigma_space: 0-d, in pixels, 0.1 to 100.
        """
        colour = -0.5 / torch.square(sigma_color.to(image.dtype))
        space = -0.5 / torch.square(sigma_space.to(image.dtype))
        height, width, reach = image.shape[2], image.shape[3], self.reach
        padded = functional.pad(image, [reach, reach, reach, reach], mode="reflect")
        total, weights = image, torch.ones_like(image[:, :1])
        for down, right in self.offsets:
            near = padded[:, :, reach + down : reach + down + height, reach + right : reach + right + width]
            distance = torch.abs(near - image).sum(dim=1, keepdim=True)
            weight = torch.exp(torch.square(distance) * colour + space * float(down * down + right * right))
            total = total + weight * near
            weights = weights + weight
        filtered = total / weights
        # A weighted mean leaves the range by rounding only.
        return straight_through(filtered, torch.clamp(filtered, 0.0, 1.0))
