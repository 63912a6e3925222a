"""Tiny: two convolutions, a metric whose checkpoint is passed as a path: `--weights tiny=tiny.pth`."""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.weights.source import WeightsSource


class Tiny(Metric):
    """Score in [0, 1], higher is better."""

    facts = MetricFacts(
        name="tiny",
        title="Tiny",
        paper="none: an example",
        year=2026,
        score_range=ScoreRange(low=0.0, high=1.0),
        input_rule="RGB at native size",
        minimum_size=32,
        parity_tolerance=1e-5,
    )
    sources = MappingProxyType({"tiny": WeightsSource(licence="yours", url="torch.save(Tiny().state_dict(), PATH)")})

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, stride=2), nn.Conv2d(8, 8, 3, stride=2)
        self.output = nn.Linear(8, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W)."""
        features = torch.relu(self.second(torch.relu(self.first(image)))).mean(dim=(2, 3))
        score: Tensor = torch.sigmoid(self.output(features))
        return score[:, 0]
