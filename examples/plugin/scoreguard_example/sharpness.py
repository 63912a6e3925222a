"""Sharpness: the variance of the Laplacian (Pech-Pacheco et al., ICPR 2000), a metric without weights.

v = Var(∇² grey),   score = 100 · v / (v + 0.01)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange


class Sharpness(Metric):
    """Score in [0, 100], higher is sharper."""

    facts = MetricFacts(
        name="sharpness",
        title="Variance of the Laplacian",
        paper="Pech-Pacheco, Cristobal, Chamorro-Martinez, Fernandez-Valdivia: Diatom autofocusing. ICPR",
        year=2000,
        score_range=ScoreRange(low=0.0, high=100.0),
        input_rule="grey at native size",
        minimum_size=32,
        parity_tolerance=1e-3,
    )

    def __init__(self) -> None:
        super().__init__()
        kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])
        self.register_buffer("kernel", kernel.reshape(1, 1, 3, 3))

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W)."""
        edges = functional.conv2d(image.mean(dim=1, keepdim=True), self.get_buffer("kernel"))
        variance = (edges - edges.mean(dim=(1, 2, 3), keepdim=True)).square().mean(dim=(1, 2, 3))
        return 100.0 * variance / (variance + 0.01)
