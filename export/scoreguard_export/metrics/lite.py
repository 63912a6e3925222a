"""Lite: the shipped metric, a compact convolutional network taught by full-reference measures.

Method: distorted crops of photographs are labelled by the mean of three full-reference measures
(`scoreguard_export.training.labels`), without human scores, as BIECON does (Kim & Lee 2017); the network learns to
predict the label from the distorted crop only. This project's own, 2026.

    features: four stages of convolutions; mean and standard deviation over space of each stage
    score = 100 · sigmoid(MLP(features))
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_STAGES = ((24,), (48, 48), (80, 80), (128,))
"""Widths of the convolutions of each stage; the first of a stage halves the size."""

_HIDDEN = 64


def _layer(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())


def _stages() -> Iterator[nn.Sequential]:
    inputs = 3
    for index, widths in enumerate(_STAGES):
        layers = []
        for position, outputs in enumerate(widths):
            layers.append(_layer(inputs, outputs, 5 if index == 0 else 3, 2 if position == 0 else 1))
            inputs = outputs
        yield nn.Sequential(*layers)


def _mean_and_deviation(features: Tensor) -> Tensor:
    """(N, C, H, W) → (N, 2C); the small constant keeps the root differentiable on flat images."""
    mean = features.mean(dim=(2, 3))
    variance = (features - mean[:, :, None, None]).square().mean(dim=(2, 3))
    return torch.cat([mean, torch.sqrt(variance + 1e-4)], dim=1)


class Lite(Metric):
    """Score in [0, 100], higher is better."""

    facts = MetricFacts(
        name="lite",
        title="Lite",
        paper="scoreguard's own; trained by `scoreguard-export train lite`",
        year=2026,
        score_range=ScoreRange(low=0.0, high=100.0),
        range_basis=RangeBasis.BOUNDS,
        backbone="small convolutional network",
        input_rule="RGB at native size, the whole image at once",
        minimum_size=32,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "lite": WeightsSource(
                licence="Apache-2.0",
                commercial=CommercialUse.YES,
                made_by="scoreguard-export train lite",
                shipped=Path(__file__).resolve().parents[1] / "weights" / "lite.safetensors",
            )
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(_stages())
        self.hidden = RowLinear(2 * sum(widths[-1] for widths in _STAGES), _HIDDEN)
        self.output = RowLinear(_HIDDEN, 1)

    def logit(self, image: Tensor) -> Tensor:
        """Return the score before it is bounded, (N,)."""
        features, pooled = (image - 0.5) * 4.0, []
        for stage in self.stages:
            features = stage(features)
            pooled.append(_mean_and_deviation(features))
        hidden = torch.relu(self.hidden(torch.cat(pooled, dim=1)))
        logit: Tensor = self.output(hidden)
        return logit[:, 0]

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 32 pixels a side or more."""
        return 100.0 * torch.sigmoid(self.logit(image))
