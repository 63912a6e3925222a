"""BF-CNN: a blind denoiser without biases (Mohan, Kadkhodaie, Simoncelli & Fernandez-Granda, ICLR 2020).

The weights are the laboratory's colour network, trained on BSD300 for noise of 0 to 100 levels of 255.

    y₀ = relu(conv₀(x)),   yₗ = relu(γₗ · convₗ(yₗ₋₁) / sdₗ),   l = 1 … 18,   x' = clip₀₁(x − conv₁₉(y₁₈))

Without biases the network is homogeneous, f(a·x) = a·f(x) for a > 0, which is why it works at any noise strength.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from scoreguard_export.defences.base import DefenceFacts, Differentiability
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_DEPTH = 20
_WIDTH = 64


class _Network(nn.Module):
    """Estimates the noise; layer names are the checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        widths = [3, *[_WIDTH] * (_DEPTH - 1), 3]
        pairs = pairwise(widths)
        self.conv_layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1, bias=False) for a, b in pairs)
        self.running_sd = nn.ParameterList(torch.ones(1, _WIDTH, 1, 1) for _ in range(_DEPTH - 2))
        self.gammas = nn.ParameterList(torch.ones(1, _WIDTH, 1, 1) for _ in range(_DEPTH - 2))

    def forward(self, image: Tensor) -> Tensor:
        features = torch.relu(self.conv_layers[0](image))
        for layer, deviation, gain in zip(self.conv_layers[1:-1], self.running_sd, self.gammas, strict=True):
            features = torch.relu(layer(features) * (gain / deviation))
        noise: Tensor = self.conv_layers[-1](features)
        return noise


class BfCnn(LearnedDefence):
    """Remove noise of any strength; has no parameters.

    Receptive field: 41 × 41 pixels (twenty 3 × 3 convolutions, 20 pixels in each direction); stride 1. A tile that
    overlaps by 20 pixels gives the same pixels as the whole image.
    """

    facts = DefenceFacts(
        name="bfcnn",
        title="BF-CNN denoiser",
        paper="Mohan, Kadkhodaie, Simoncelli, Fernandez-Granda: Robust and interpretable blind image denoising via "
        "bias-free convolutional neural networks. ICLR (arXiv 1906.05478)",
        year=2020,
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        "bfcnn": WeightsSource(
            licence="none stated by the publisher: research use",
            commercial=CommercialUse.NOT_STATED,
            download="https://github.com/LabForComputationalVision/universal_inverse_problem/raw/"
            "943b9ed99e35a4af86c36c413e2ca70ab320e8bc/denoisers/BF_CNN/BSD300_color/noise_range_0to100/model.pt",
            sha256="24254895bb92d929f6f8365e29fb89b41085685d0b1ee3759a5999c5617c1bab",
            size=2_696_317,
        )
    }
    reach = 20

    def untrained(self) -> nn.Module:
        """Make a network with the checkpoint's names and shapes."""
        return _Network()

    def forward(self, image: Tensor) -> Tensor:
        """Denoise images (N, 3, H, W) in [0, 1]."""
        return torch.clamp(image - self.network(image), 0.0, 1.0)
