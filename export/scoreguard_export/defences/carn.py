"""CARN-M as a purification: the image is halved, then doubled by a network (Ahn, Kang & Sohn, ECCV 2018).

    x' = clip₀₁(CARN-M₂(bicubic_{1/2}(x)))

The weights are the authors' mobile network, trained to double the size of bicubic reductions: residual blocks of
grouped convolutions whose weights are used three times, each result concatenated with all earlier ones ("cascading").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.defences.base import DefenceFacts, Differentiability
from scoreguard_export.defences.carn_network import CarnM
from scoreguard_export.defences.jpeg_codec import extend
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.weights.source import CommercialUse, WeightsSource


class Carn(LearnedDefence):
    """Halve by a widened bicubic filter, then double by the network, which redraws fine detail.

    An image of odd height or width is extended by its last row or column, and cropped back.

    Receptive field: 45 pixels in each direction; stride 2. A tile that starts at even coordinates and overlaps by that
    much gives the same pixels as the whole image.
    """

    facts = DefenceFacts(
        name="carn",
        title="CARN-M upscaling (x2)",
        paper="Ahn, Kang, Sohn: Fast, accurate, and lightweight super-resolution with cascading residual network. ECCV "
        "(arXiv 1803.08664)",
        year=2018,
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        "carn": WeightsSource(
            licence="MIT",
            commercial=CommercialUse.YES,
            download="https://github.com/nmhkahn/CARN-pytorch/raw/40d3514f81cccd680d846cd5ab07af35f2c8e0e2/checkpoint/"
            "carn_m.pth",
            sha256="d48a759a84509351facb6b7c6d5bd6edec98b98519b8c464ee4ab44d2ba964ff",
            size=1_670_695,
        )
    }
    reach = 45
    stride = 2

    def untrained(self) -> nn.Module:
        """Make a network with the checkpoint's names and shapes."""
        return CarnM()

    def forward(self, image: Tensor) -> Tensor:
        """Restore images (N, 3, H, W) in [0, 1]."""
        height, width = image.shape[2], image.shape[3]
        low, narrow = (height + 1) // 2, (width + 1) // 2
        even = extend(image, low * 2, narrow * 2)
        small = functional.interpolate(even, size=[low, narrow], mode="bicubic", align_corners=False, antialias=True)
        return torch.clamp(self.network(small)[:, :, :height, :width], 0.0, 1.0)
