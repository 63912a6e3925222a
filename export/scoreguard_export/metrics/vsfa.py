"""VSFA: quality of videos from content-aware features and a model of human memory (Li, Jiang & Jiang 2019).

score = temporal pooling of W · GRU(features) + w          `video` has the features, `temporal_pooling` the pooling
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from torch import Tensor, nn

from scoreguard_export.metrics.base import MetricFacts, ScoreRange
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


class _Reduction(nn.Module):
    """The official module of reduction; it was trained with one layer, so `fc` is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.fc0 = RowLinear(2 * CHANNELS, NUMBERS)
        self.fc = nn.Linear(NUMBERS, NUMBERS)


class VsfaHead(VideoHead):
    """From the features to the score."""

    def __init__(self) -> None:
        super().__init__()
        self.ann = _Reduction()
        self.rnn = nn.GRU(NUMBERS, STATES, batch_first=True)
        self.q = nn.Linear(STATES, 1)

    def reduction(self) -> nn.Module:
        """Return the layer from 4096 to 128."""
        return self.ann.fc0

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, 128) → (N,)."""
        states = gru(features, self.rnn)
        return temporally_pooled((states * self.q.weight[0]).sum(dim=2) + self.q.bias)


class Vsfa(VideoMetric):
    """Predicted MOS as a share of the database's highest; higher is better."""

    facts = MetricFacts(
        name="vsfa",
        title="VSFA (ResNet-50, GRU)",
        paper="Li, Jiang, Jiang: Quality Assessment of In-the-Wild Videos. ACM Multimedia (arXiv 1908.00375)",
        year=2019,
        # The scale that it was trained on. The output is unbounded: the benchmarks of adversarial robustness (MSU)
        # publish 0.356 to 0.710 on the images of NIPS 2017, and 1.72 for an attacked video.
        score_range=ScoreRange(low=0.0, high=1.0),
        backbone="ResNet-50 and a GRU over the frames",
        input_rule=INPUT_RULE,
        minimum_size=64,
        parity_tolerance=1e-4,
    )
    sources = MappingProxyType(
        {
            "vsfa": WeightsSource(
                licence="MIT",
                commercial=CommercialUse.YES,
                download="https://github.com/lidq92/VSFA/raw/master/models/VSFA.pt",
                sha256="07ce3eab277f3351b989f8d9b39fd22507262a9daf05a309eee4106ab2a0e57b",
            ),
            BACKBONE: BACKBONE_SOURCE,
        }
    )

    def untrained_head(self) -> VideoHead:
        """Make the head with the checkpoint's names and shapes."""
        return VsfaHead()
