"""HyperIQA: a network that writes the weights of the small network that scores (Su, Yan, Zhu, Zhang, Ge, Sun & Zhang).

A ResNet-50 reads a crop. Averages of its four stages make a vector v of 224 numbers; from its last maps, convolutions
and linear layers make the weights Wᵢ and wᵢ of five layers for this crop alone.

    score of a crop = W₅ σ(W₄ σ(W₃ σ(W₂ σ(W₁ v + w₁) + w₂) + w₃) + w₄) + w₅,   score = mean over crops

The authors resize images to 512×384 (height × width, whichever way they lie) by Pillow's BILINEAR, and average 10
random crops of 224×224. Here the crops are the 25 of IQA-PyTorch's grid, which leaves 60 rows at the bottom and 32
columns at the right of the resized image unread. The benchmark of adversarial robustness (MSU) does not say how it ran
the metric.
"""

from __future__ import annotations

import itertools
from types import MappingProxyType
from typing import ClassVar, Final

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.backbones import backbone
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.patches import mean_of_each, of_each, uniform_patches
from scoreguard_export.metrics.resize import pillow_bilinear
from scoreguard_export.weights.source import CommercialUse, WeightsSource

HEIGHT, WIDTH = 512, 384
CROP = 224
_WIDTHS: Final = (224, 112, 56, 28, 14)
"""Of the vector, and of what the first four written layers make of it."""
_PLACES: Final = 7
"""Height and width of the last maps of a crop."""
_MAPS: Final = 112
"""Channels of the maps that weights are written from."""
_AVERAGED: Final = ((256, 16, 8), (512, 32, 4), (1024, 64, 2))
"""Of each of the first three stages: channels, those that are kept, and the side of their averages."""
_LOCAL: Final = 16
"""Numbers of the vector from each of those stages; the last stage gives the others."""


class HyperIqa(Metric):
    """Predicted MOS on the scale of KonIQ-10k, 0 to 100; higher is better."""

    facts = MetricFacts(
        name="hyper-iqa",
        title="HyperIQA (ResNet-50)",
        paper=(
            "Su, Yan, Zhu, Zhang, Ge, Sun, Zhang: Blindly Assess Image Quality in the Wild Guided by a Self-Adaptive "
            "Hyper Network. CVPR"
        ),
        year=2020,
        # The scale of the MOS that it was trained on. The output is unbounded; the benchmark of adversarial robustness
        # (MSU) publishes 25.9 to 84.5 on the images of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=100.0),
        backbone="ResNet-50 and a hyper-network",
        input_rule=(
            "RGB, resized to 512x384 (height x width) by Pillow's BILINEAR; 25 crops of 224x224 on a fixed grid; "
            "normalised as for ImageNet"
        ),
        minimum_size=32,
        parity_tolerance=1e-2,
    )
    sources = MappingProxyType(
        {
            "hyper-iqa": WeightsSource(
                licence="MIT",
                commercial=CommercialUse.YES,
                url="koniq_pretrained.pkl, linked from https://github.com/SSL92/hyperIQA (Google Drive)",
            )
        }
    )
    crops: ClassVar[int] = 25
    """Crops of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.res = self.untrained()
        for stage, (channels, kept, side) in enumerate(_AVERAGED, start=1):
            pool = nn.Sequential(nn.Conv2d(channels, kept, 1, bias=False), nn.AvgPool2d(_PLACES))
            self.res.add_module(f"lda{stage}_pool", pool)
            self.res.add_module(f"lda{stage}_fc", RowLinear(kept * side**2, _LOCAL))
        self.res.add_module("lda4_pool", nn.AvgPool2d(_PLACES))
        self.res.add_module("lda4_fc", RowLinear(2048, _WIDTHS[0] - len(_AVERAGED) * _LOCAL))
        self.conv1 = nn.Sequential(
            *(nn.Conv2d(2048, 1024, 1), nn.ReLU(), nn.Conv2d(1024, 512, 1), nn.ReLU()),
            *(nn.Conv2d(512, _MAPS, 1), nn.ReLU()),
        )
        for layer, (inputs, outputs) in enumerate(itertools.pairwise(_WIDTHS), start=1):
            written = nn.Conv2d(_MAPS, inputs * outputs // _PLACES**2, 3, padding=1)
            self.add_module(f"fc{layer}w_conv", written)
            self.add_module(f"fc{layer}b_fc", RowLinear(_MAPS, outputs))
        self.fc5w_fc, self.fc5b_fc = RowLinear(_MAPS, _WIDTHS[-1]), RowLinear(_MAPS, 1)

    def untrained(self) -> nn.Module:
        """Make the ResNet without its classifier.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        network = backbone("resnet50", self.facts.name)
        del network.fc
        return network

    def read(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """(P, 3, 224, 224) → the vectors (P, 224) and the last maps (P, 2048, 7, 7) of crops."""
        part = self.res.get_submodule
        maps = part("maxpool")(part("relu")(part("bn1")(part("conv1")(crops))))
        found = []
        for stage in range(1, 5):
            maps = part(f"layer{stage}")(maps)
            found.append(part(f"lda{stage}_fc")(part(f"lda{stage}_pool")(maps).flatten(1)))
        return torch.cat(found, dim=1), maps

    def of_crops(self, crops: Tensor) -> Tensor:
        """(P, 3, 224, 224), normalised → (P, 1) scores."""
        values, maps = self.read(crops)
        maps = self.conv1(maps)
        averages = maps.mean(dim=(2, 3))
        for layer, width in enumerate(_WIDTHS[1:], start=1):
            weights = self.get_submodule(f"fc{layer}w_conv")(maps).reshape(crops.shape[0], width, -1)
            bias = self.get_submodule(f"fc{layer}b_fc")(averages)
            values = torch.sigmoid((weights * values[:, None, :]).sum(dim=2) + bias)
        scores: Tensor = (self.fc5w_fc(averages) * values).sum(dim=1, keepdim=True) + self.fc5b_fc(averages)
        return scores

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 32 pixels a side or more."""
        resized = normalised(pillow_bilinear(image, HEIGHT, WIDTH))
        crops = uniform_patches(resized, CROP, self.crops)
        return mean_of_each(of_each(self.of_crops, crops, self.crops), image)
