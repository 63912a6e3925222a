"""Bilateral filter as a purification: y(p) = Σ w(p, q)·x(q) / Σ w(p, q) over a disc of pixels q around p.

Tomasi and Manduchi, "Bilateral filtering for gray and color images", ICCV 1998, with
w = exp(−|p − q|²/2σ_s²)·exp(−d²/2σ_c²) and, as in OpenCV, d = |Δred| + |Δgreen| + |Δblue|.
"""

from __future__ import annotations

import onnx
import torch
from torch import Tensor

from scoreguard_export.defences.base import DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.bilateral_graph import build_bilateral_graph
from scoreguard_export.defences.pair_mean import PairMean


def _disc(reach: int) -> list[tuple[int, int]]:
    """Return offsets (down, right) up to `reach` away; of each opposite pair only the one after the centre."""
    span = range(-reach, reach + 1)
    after = [(down, right) for down in span for right in span if (down, right) > (0, 0)]
    return [(down, right) for down, right in after if down * down + right * right <= reach * reach]


class Bilateral(PairMean):
    """Smooth areas of similar colour and keep edges: OpenCV's `bilateralFilter` on float images.

    Borders mirror about the edge pixel's centre (OpenCV's default, reflect-101). The first study that purified with
    this filter publishes no parameters. The defaults are those of OpenCV's manual and tutorial: 5 pixels for a fast
    filter, σ of 75 in pixels and about 75 of 255 in colour.
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
        super().__init__(around=0, kernel=kernel)
        self.reach = int(kernel) // 2
        self.offsets = _disc(self.reach)

    def forward(self, image: Tensor, sigma_color: Tensor, sigma_space: Tensor) -> Tensor:
        """Filter images (N, 3, H, W).

        Args:
            image: In [0, 1].
            sigma_color: 0-d, 0.01 to 3.
            sigma_space: 0-d, in pixels, 0.1 to 100.
        """
        color = -0.5 / torch.square(sigma_color.to(image.dtype))
        space = -0.5 / torch.square(sigma_space.to(image.dtype))
        return self.mean(image, self.offsets, self.reach, [color, space])

    def exponent(self, difference: Tensor, square_distance: int, scales: list[Tensor]) -> Tensor:
        """−d²/2σ_c² − |p − q|²/2σ_s²."""
        size = torch.abs(difference)
        unlike = size[:, :1] + size[:, 1:2] + size[:, 2:]
        return torch.square(unlike) * scales[0] + scales[1] * float(square_distance)

    def onnx_model(self, opset: int) -> onnx.ModelProto:
        """Build the graph by hand, in tiles: a captured graph would have a fixed number of them."""
        return build_bilateral_graph(reach=self.reach, offsets=self.offsets, opset=opset)
