"""RankIQA: a VGG-16 that learned to order images by their quality (Liu, van de Weijer & Bagdanov, ICCV 2017).

Pairs of one image with more and less of a distortion teach the order, without human ratings. The score has no scale:
the training asks that the better image of a pair has at least 10 more, on the distortions of LIVE.

    score = mean over crops of VGG16(255 · BGR)                       224×224, without the mean of ImageNet

Caffe's names of the layers tell the authors' networks apart. This is the one that ranks, whose layers end in `fc8_m`;
those fine-tuned on the ratings of LIVE or TID2013 end in `fc8`, have other scales, and are refused.

The authors average 30 random crops, of BGR as OpenCV reads it, 0 to 255 and nothing subtracted. Here the crops are a
grid: every 112 pixels, the last ones at the border. The benchmark of adversarial robustness (MSU) does not say how it
ran the metric.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.linear import RowLinear, WideLinear
from scoreguard_export.metrics.patches import mean_of_each, patches_of
from scoreguard_export.weights.checkpoints import fill, read_checkpoint
from scoreguard_export.weights.source import CommercialUse, WeightsSource

CROP = 224
STRIDE = 112
_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Their number before each pooling."""
_POOLED = CROP // 2 ** len(_CONVOLUTIONS)


def without_ones(shape: torch.Size) -> tuple[int, ...]:
    """Return the lengths other than 1: older Caffe writes four for each layer, the first ones 1."""
    return tuple(length for length in shape if length != 1)


class RankIqa(Metric):
    """Place in an order by quality, without a scale; higher is better."""

    facts = MetricFacts(
        name="rank-iqa",
        title="RankIQA (VGG-16)",
        paper=(
            "Liu, van de Weijer, Bagdanov: RankIQA: Learning from Rankings for No-reference Image Quality Assessment. "
            "ICCV"
        ),
        year=2017,
        # The network's output is unbounded. The range is the one that the benchmark of adversarial robustness (MSU)
        # publishes: the lowest and highest score on the images of NIPS 2017.
        score_range=ScoreRange(low=10.86, high=34.86),
        backbone="VGG-16 of Caffe",
        range_basis=RangeBasis.MEASURED,
        measured_on="NIPS 2017 (MSU)",
        input_rule="BGR, 0 to 255, at native size; 224x224 crops every 112 pixels",
        minimum_size=CROP,
        parity_tolerance=1e-2,
    )
    sources = MappingProxyType(
        {
            "rank-iqa": WeightsSource(
                licence="MIT",
                commercial=CommercialUse.YES,
                url=(
                    "Rank_live.caffemodel.pt: Rank_live.caffemodel, linked from https://github.com/xialeiliu/RankIQA "
                    "(Google Drive), as caffemodel2pytorch writes it"
                ),
            )
        }
    )
    widths: ClassVar[tuple[int, ...]] = (64, 128, 256, 512, 512)
    """Channels before each pooling."""
    hidden: ClassVar[int] = 4096
    """Width of the two hidden layers at the end."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 3
        for stage, (width, count) in enumerate(zip(self.widths, _CONVOLUTIONS, strict=True), start=1):
            for place in range(1, count + 1):
                self.add_module(f"conv{stage}_{place}", nn.Conv2d(inputs, width, 3, padding=1))
                inputs = width
        self.fc6_m = WideLinear(inputs * _POOLED**2, self.hidden)
        self.fc7_m = WideLinear(self.hidden, self.hidden)
        self.fc8_m = RowLinear(self.hidden, 1)

    def load(self, name: str, path: Path) -> str:
        """Fill the module from a converted Caffe model, with the dimensions of length 1 that Caffe adds.

        Raises:
            WeightsError: the file is missing, unreadable, or holds other names or shapes.
        """
        weights = read_checkpoint(path, name, self.sources[name])
        tensors = dict(weights.tensors)
        for key, wanted in self.state_dict().items():
            if key in tensors and without_ones(tensors[key].shape) == without_ones(wanted.shape):
                tensors[key] = tensors[key].reshape(wanted.shape)
        fill(self, tensors, path, name, self.sources[name])
        return weights.sha256

    def of_crops(self, crops: Tensor) -> Tensor:
        """(P, 3, 224, 224) RGB in [0, 1] → (P, 1)."""
        features = crops.flip(1) * 255.0
        for stage, count in enumerate(_CONVOLUTIONS, start=1):
            for place in range(1, count + 1):
                features = torch.relu(self.get_submodule(f"conv{stage}_{place}")(features))
            features = functional.max_pool2d(features, 2)
        hidden = torch.relu(self.fc7_m(torch.relu(self.fc6_m(features.flatten(1)))))
        scores: Tensor = self.fc8_m(hidden)
        return scores

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 224 pixels a side or more."""
        return mean_of_each(self.of_crops(patches_of(image, CROP, STRIDE)), image)
