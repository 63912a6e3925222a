"""LinearityIQA: quality from two levels of a ResNeXt-101, trained with the norm-in-norm loss (Li, Jiang & Jiang 2020).

The features of the third and of the fourth stage are averaged over space, and reduced to 64 numbers each by linear
layers with batch norm between them and one ReLU at the end. The loss compares normalised predictions with normalised
scores, so a linear map of the predictions to the MOS of KonIQ-10k is fitted after the training: k₀ and b₀, which the
checkpoint holds beside the tensors, with those of two auxiliary outputs that only the training uses.

    score = k₀ · (W · [reduced₃(mean(x₃)), reduced₄(mean(x₄))] + w) + b₀

The authors resize images to 498×664 (height × width) by Pillow's BILINEAR. The benchmark of adversarial robustness
(MSU) scores images at native size: the variant `as-benchmark`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn

from scoreguard_export.errors import WeightsError
from scoreguard_export.metrics.backbones import backbone, stages
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.resize import pillow_bilinear
from scoreguard_export.weights.checkpoints import advice, fill, read_content, tensors_of
from scoreguard_export.weights.source import CommercialUse, WeightsSource

HEIGHT, WIDTH = 498, 664
_PARTS: Final = 7
"""Parts of the ResNeXt up to its third stage."""


def _reduction(inputs: int) -> nn.Sequential:
    return nn.Sequential(
        *(RowLinear(inputs, 1024), nn.BatchNorm1d(1024)),
        *(RowLinear(1024, 256), nn.BatchNorm1d(256)),
        *(RowLinear(256, 64), nn.BatchNorm1d(64), nn.ReLU()),
    )


class Linearity(Metric):
    """Predicted MOS on the scale of KonIQ-10k, 0 to 100; higher is better."""

    facts = MetricFacts(
        name="linearity",
        title="LinearityIQA (ResNeXt-101)",
        paper=(
            "Li, Jiang, Jiang: Norm-in-Norm Loss with Faster Convergence and Better Performance for Image Quality "
            "Assessment. ACM Multimedia (arXiv 2008.03889)"
        ),
        year=2020,
        # The scale of the MOS that k and b map to. The output is unbounded: at native size, the benchmarks of
        # adversarial robustness (MSU) publish 25.8 to 83.2 on images of KonIQ-10k, -6.3 to 137.5 on NIPS 2017's.
        score_range=ScoreRange(low=0.0, high=100.0),
        backbone="ResNeXt-101 32x8d",
        input_rule=(
            "RGB, resized to 498x664 (height x width) by Pillow's BILINEAR (as-benchmark: native size); normalised as "
            "for ImageNet"
        ),
        minimum_size=32,
        parity_tolerance=1e-2,
        variants=("as-benchmark",),
    )
    sources = MappingProxyType(
        {
            "linearity": WeightsSource(
                licence="none stated by the publisher: research use",
                commercial=CommercialUse.NOT_STATED,
                url="p1q2.pth, linked from https://github.com/lidq92/LinearityIQA (Baidu, Google Drive)",
            )
        }
    )

    slope: Tensor
    offset: Tensor

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.resizes = variant != "as-benchmark"
        self.features = nn.Sequential(*self.untrained())
        self.dr6, self.dr7 = _reduction(1024), _reduction(2048)
        self.regr6, self.regr7 = nn.Linear(64, 1), nn.Linear(64, 1)  # the auxiliary outputs
        self.regression = RowLinear(128, 1)
        self.register_buffer("slope", torch.ones(()), persistent=False)
        self.register_buffer("offset", torch.zeros(()), persistent=False)

    def untrained(self) -> list[nn.Module]:
        """Make the parts of a network with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        return stages(backbone("resnext101_32x8d", self.facts.name))

    def load(self, name: str, path: Path) -> str:
        """Take the official checkpoint: the tensors as `model`, and the lists `k` and `b` of the linear maps.

        Raises:
            WeightsError: the file is missing, unreadable, has no linear map, or holds other tensors.
        """
        source = self.sources[name]
        content = read_content(path, name, source)
        fill(self, tensors_of(content.value, path, name, source), path, name, source)
        slope, offset = (_first(content.value, key) for key in ("k", "b"))
        if slope is None or offset is None:
            raise WeightsError(f"{path} holds no linear map, k and b, beside the tensors: {advice(name, source)}")
        self.slope.fill_(slope)
        self.offset.fill_(offset)
        return content.sha256

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 32 pixels a side or more."""
        if self.resizes:
            image = pillow_bilinear(image, HEIGHT, WIDTH)
        third = self.features[:_PARTS](normalised(image))
        fourth = self.features[_PARTS:](third)
        reduced = torch.cat([self.dr6(third.mean(dim=(2, 3))), self.dr7(fourth.mean(dim=(2, 3)))], dim=1)
        scores: Tensor = self.regression(reduced)[:, 0]
        return scores * self.slope + self.offset


def _first(content: object, key: str) -> float | None:
    """Return the number of the output that counts; None if the file has none."""
    values = content.get(key) if isinstance(content, Mapping) else None
    if not isinstance(values, Sequence) or not values or not isinstance(values[0], int | float):
        return None
    return float(values[0]) if math.isfinite(values[0]) else None
