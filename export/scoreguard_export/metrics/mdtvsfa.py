"""MDTVSFA: VSFA trained on several databases at once, whose scales it learns (Li, Jiang & Jiang, IJCV 2021).

    r = sigmoid(temporal pooling of W · GRU(features) + w)          `video` has the features
    score = b₂ + a₂ · sigmoid(a₁ · r + b₁)

The constants are in the checkpoint, with those of a linear map to each database's scale, which the training uses. With
the published ones, a₁ = 3.4727, b₁ = −1.7300, a₂ = 1 and b₂ = 0, the score lies between 0.1506 and 0.8510.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.base import MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.temporal_pooling import temporally_pooled
from scoreguard_export.metrics.video import (
    BACKBONE,
    BACKBONE_SOURCE,
    CHANNELS,
    INPUT_RULE,
    NUMBERS,
    VideoHead,
    VideoMetric,
)
from scoreguard_export.recurrent import gru
from scoreguard_export.weights.source import CommercialUse, WeightsSource

STATES: Final = 32
_DATABASES: Final = ("K", "C", "L", "N")
"""KoNViD-1k, CVD2014, LIVE-Qualcomm, LIVE-VQC, as the checkpoint abbreviates them."""


class MdtvsfaHead(VideoHead):
    """From the features to the score; the first name is spelt as in the checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.dimemsion_reduction = RowLinear(2 * CHANNELS, NUMBERS)
        self.feature_aggregation = nn.GRU(NUMBERS, STATES, batch_first=True)
        self.regression = nn.Linear(STATES, 1)
        self.nlm = nn.Sequential(RowLinear(1, 1), nn.Sigmoid(), RowLinear(1, 1))
        self.lm = nn.ModuleDict({name: nn.Linear(1, 1) for name in _DATABASES})

    def reduction(self) -> nn.Module:
        """Return the layer from 4096 to 128."""
        return self.dimemsion_reduction

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, 128) → (N,)."""
        states = gru(features, self.feature_aggregation)
        quality = (states * self.regression.weight[0]).sum(dim=2) + self.regression.bias
        mapped: Tensor = self.nlm(torch.sigmoid(temporally_pooled(quality))[:, None])
        return mapped[:, 0]


class Mdtvsfa(VideoMetric):
    """Predicted MOS on a scale common to all databases, 0 to 1; higher is better."""

    facts = MetricFacts(
        name="mdtvsfa",
        title="MDTVSFA (ResNet-50, GRU)",
        paper=(
            "Li, Jiang, Jiang: Unified Quality Assessment of In-the-Wild Videos with Mixed Datasets Training. "
            "International Journal of Computer Vision 129 (arXiv 2011.04263)"
        ),
        year=2021,
        # What the sigmoids allow. The benchmark of adversarial robustness (MSU) publishes 0.439 to 0.673 on the images
        # of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=1.0),
        backbone="ResNet-50 and a GRU over the frames",
        range_basis=RangeBasis.BOUNDS,
        input_rule=INPUT_RULE,
        minimum_size=64,
        parity_tolerance=1e-4,
    )
    sources = MappingProxyType(
        {
            "mdtvsfa": WeightsSource(
                licence="MIT",
                commercial=CommercialUse.YES,
                download="https://github.com/lidq92/MDTVSFA/raw/master/models/MDTVSFA.pt",
                sha256="d5dd4fdf69ad4ee0e7f15caca1b5346d30e4d24a67fbbfd2e3fe434cbf5458c7",
            ),
            BACKBONE: BACKBONE_SOURCE,
        }
    )

    def untrained_head(self) -> VideoHead:
        """Make the head with the checkpoint's names and shapes."""
        return MdtvsfaHead()
