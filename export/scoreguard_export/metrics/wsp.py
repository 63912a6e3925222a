"""WSP: weighted spatial pooling of a ResNet-101 (Su & Korhonen, ICIP 2020).

Every channel of the last feature map x is averaged with weights w of its own, which a 1×1 convolution derives from x.
The outputs y are trained to be the shares of the ratings 1 to 5 in KonIQ-10k, without a softmax.

    w = max(batch norm(V ∗ x + v), 0),   z = Σ w·x / (Σ w + 10⁻⁴) over space,   score = Σ i · yᵢ,   y = U · z + u

Images are scored at native size, by the authors (KonIQ-10k at 1024×768) and by the benchmark of adversarial robustness
(MSU).
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.backbones import backbone, stages
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_FROZEN = 7
"""Parts of the ResNet that the authors did not train; they are a module of their own in the checkpoint."""


class _Pooling(nn.Module):
    """Weighted mean over space, under the official names."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C)."""
        weights = torch.relu(self.bn(self.conv(features)))
        return (features * weights).sum(dim=(2, 3)) / (weights.sum(dim=(2, 3)) + 0.0001)


class Wsp(Metric):
    """Predicted MOS, 1 to 5; higher is better."""

    facts = MetricFacts(
        name="wsp",
        title="WSP (ResNet-101)",
        paper=(
            "Su, Korhonen: Blind Natural Image Quality Prediction Using Convolutional Neural Networks and Weighted "
            "Spatial Pooling. ICIP"
        ),
        year=2020,
        # The scale of the ratings. The network's output is unbounded; the benchmark of adversarial robustness (MSU)
        # publishes 1.88 to 3.87 on the images of NIPS 2017.
        score_range=ScoreRange(low=1.0, high=5.0),
        backbone="ResNet-101",
        input_rule="RGB at native size, normalised as for ImageNet",
        minimum_size=32,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "wsp": WeightsSource(
                licence="none stated by the publisher: research use",
                commercial=CommercialUse.NOT_STATED,
                download="https://github.com/yichengsu/ICIP2020-WSP-IQA/releases/download/v0.1/checkpoint.pth.tar",
            )
        }
    )

    def __init__(self) -> None:
        super().__init__()
        parts = self.untrained()
        self.resnet101_freeze = nn.Sequential(*parts[:_FROZEN])
        self.resnet101 = nn.Sequential(*parts[_FROZEN:])
        self.wsp = _Pooling(2048)
        self.fc = RowLinear(2048, 5)

    def untrained(self) -> list[nn.Module]:
        """Make the parts of a network with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        return stages(backbone("resnet101", self.facts.name))

    def shares(self, image: Tensor) -> Tensor:
        """(N, 5) predicted shares of the ratings 1 to 5; they may leave [0, 1]."""
        shares: Tensor = self.fc(self.wsp(self.resnet101(self.resnet101_freeze(normalised(image)))))
        return shares

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 32 pixels a side or more."""
        shares = self.shares(image)
        ratings = torch.arange(1, 6, dtype=shares.dtype, device=shares.device)
        return (shares * ratings).sum(dim=1)
