"""MetaIQA: a ResNet-18 whose start was learned over many kinds of distortion (Zhu, Li, Wu, Dong & Shi, CVPR 2020).

The prior model of the authors was trained by optimisation-based meta-learning on the distortions of TID2013 and
KADID-10k. All 1000 outputs of the ResNet are its features.

    score = sigmoid(W₃ · g(W₂ · g(W₁ · ResNet18((x − mean) / deviation)))),   g = PReLU(batch norm)

The authors resize images to 224×224 by scikit-image's `resize` with its defaults. They name PyTorch 0.4.1 and no
version of scikit-image; that of its time (0.14) interpolates between two pixels in each direction without smoothing
first, as here, and versions from 0.15 (2019) smooth. Their images are all larger than 224; here smaller ones are
enlarged with their edges repeated. The benchmark of adversarial robustness (MSU) scores images at native size: the
variant `as-benchmark`.

The official file is a pickled module, which is never loaded. A file of its tensors, under the same names, is:
`scoreguard-export weights convert` makes it.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.backbones import backbone
from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.resize import two_tap_bilinear
from scoreguard_export.weights.source import CommercialUse, WeightsSource

SIDE = 224


class _Regression(nn.Module):
    """From the features to the score, under the official names."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.bn1, self.relu1 = RowLinear(1000, 1024), nn.BatchNorm1d(1024), nn.PReLU()
        self.fc2, self.bn2, self.relu2 = RowLinear(1024, 512), nn.BatchNorm1d(512), nn.PReLU()
        self.fc3 = RowLinear(512, 1)

    def forward(self, features: Tensor) -> Tensor:
        """(N, 1000) → (N, 1) in (0, 1)."""
        hidden = self.relu1(self.bn1(self.fc1(features)))
        hidden = self.relu2(self.bn2(self.fc2(hidden)))
        return torch.sigmoid(self.fc3(hidden))


class MetaIqa(Metric):
    """Predicted quality in (0, 1), higher is better."""

    facts = MetricFacts(
        name="meta-iqa",
        title="MetaIQA (ResNet-18)",
        paper="Zhu, Li, Wu, Dong, Shi: MetaIQA: Deep Meta-learning for No-Reference Image Quality Assessment. CVPR",
        year=2020,
        # What the sigmoid allows. The benchmark of adversarial robustness (MSU) publishes 0.161 to 0.757 on the images
        # of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=1.0),
        range_basis=RangeBasis.BOUNDS,
        backbone="ResNet-18",
        input_rule=(
            "RGB, resized to 224x224 as by scikit-image, bilinear and not smoothed (as-benchmark: native size); "
            "normalised as for ImageNet"
        ),
        minimum_size=32,
        parity_tolerance=1e-4,
        variants=("as-benchmark",),
    )
    sources = MappingProxyType(
        {
            "meta-iqa": WeightsSource(
                licence="none stated by the publisher: research use",
                commercial=CommercialUse.NOT_STATED,
                url=(
                    "metaiqa.pth, a state_dict of the module of https://github.com/zhuhancheng/MetaIQA, linked from "
                    "https://github.com/katiashh/certified-iqa-defenses (Google Drive)"
                ),
            )
        }
    )

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.resizes = variant != "as-benchmark"
        self.resnet_layer = self.untrained()
        self.net = _Regression()

    def untrained(self) -> nn.Module:
        """Make the network before the regression, with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        network = backbone("resnet18", self.facts.name)
        network.fc = RowLinear(512, 1000)
        return network

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 32 pixels a side or more."""
        if self.resizes:
            image = two_tap_bilinear(image, SIDE, SIDE)
        scores: Tensor = self.net(self.resnet_layer(normalised(image)))
        return scores[:, 0]
