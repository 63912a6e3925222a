"""NIMA on the networks of its paper, trained on the ratings of AVA (Talebi & Milanfar, IEEE TIP 2018).

`nima-inceptionresnetv2` and `nima-vgg16` load the two files that pyiqa trained and publishes, by timm's names: its
metrics `nima` and `nima-vgg16-ava`. `nima` and `nima-aesthetic` are idealo's MobileNets, of other files.

    p = softmax(W · mean over space of features(x) + w),   score = Σ i · p_i,   i = 1..10

The shorter side is resized to 299 pixels (VGG16: 224) with smoothing, and the square in the centre is read, as pyiqa
does by torchvision.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.centre import bilinear_centre
from scoreguard_export.metrics.imagenet import DEVIATION, HALVES, MEAN, Channels, normalised
from scoreguard_export.metrics.linear import RowConv2d, RowLinear
from scoreguard_export.metrics.timm_models import timm_model
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_FILES: Final = "https://huggingface.co/chaofengc/IQA-PyTorch-Weights/resolve/main"
_LICENCE: Final = "PolyForm Noncommercial 1.0.0 and S-Lab 1.0 (pyiqa): no commercial use"


class NimaInceptionResnetV2(Metric):
    """Mean predicted rating in [1, 10], higher is better."""

    facts = MetricFacts(
        name="nima-inceptionresnetv2",
        title="NIMA (InceptionResNet-v2)",
        paper="Talebi, Milanfar: NIMA: Neural Image Assessment. IEEE Transactions on Image Processing 27(8)",
        year=2018,
        score_range=ScoreRange(low=1.0, high=10.0),
        backbone="InceptionResNet-v2",
        range_basis=RangeBasis.BOUNDS,
        input_rule="RGB, the shorter side resized to 299 as by Pillow's BILINEAR, the square in the centre",
        minimum_size=32,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "nima-inceptionresnetv2": WeightsSource(
                licence=_LICENCE, commercial=CommercialUse.NO, download=f"{_FILES}/NIMA_InceptionV2_ava-b0c77c00.pth"
            )
        }
    )
    network: ClassVar[str] = "inception_resnet_v2"
    """Name of the network in timm."""
    channels: ClassVar[int] = 1536
    """Channels of its last map."""
    side: ClassVar[int] = 299
    """Side of the square that it reads, in pixels."""
    scale: ClassVar[tuple[Channels, Channels]] = (HALVES, HALVES)
    """Mean and deviation of its input."""

    ratings: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.base_model = self.untrained()
        self.classifier = nn.Sequential(nn.Flatten(), nn.Dropout(0.0), RowLinear(self.channels, 10), nn.Softmax(dim=1))
        self.register_buffer("ratings", torch.arange(1.0, 11.0), persistent=False)

    def untrained(self) -> nn.Module:
        """Make the network before the classifier, with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: timm is not installed.
        """
        network: Any = timm_model(self.network, self.facts.name, features_only=True)
        for block in (*network.repeat_2, network.block8):
            for place in (1, 2):
                block.branch1[place].conv = RowConv2d.of(block.branch1[place].conv)
        made: nn.Module = network
        return made

    def distribution(self, image: Tensor) -> Tensor:
        """(N, 10) probabilities of the ratings 1..10."""
        centre = normalised(bilinear_centre(image, self.side), *self.scale)
        probabilities: Tensor = self.classifier(self.base_model(centre)[-1].mean(dim=(2, 3)))
        return probabilities

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1] of any size."""
        return (self.distribution(image) * self.ratings).sum(dim=1)


class NimaVgg16(NimaInceptionResnetV2):
    """The same with a VGG16."""

    facts = replace(
        NimaInceptionResnetV2.facts,
        name="nima-vgg16",
        title="NIMA (VGG16)",
        backbone="VGG16",
        input_rule=(
            "RGB, the shorter side resized to 224 as by Pillow's BILINEAR, the square in the centre; normalised as "
            "for ImageNet"
        ),
    )
    sources = MappingProxyType(
        {
            "nima-vgg16": WeightsSource(
                licence=_LICENCE, commercial=CommercialUse.NO, download=f"{_FILES}/NIMA_VGG16_ava-dc4e8265.pth"
            )
        }
    )
    network = "vgg16"
    channels = 512
    side = 224
    scale = (MEAN, DEVIATION)

    def untrained(self) -> nn.Module:
        """Make the network before the classifier, with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: timm is not installed.
        """
        return timm_model(self.network, self.facts.name, features_only=True)
