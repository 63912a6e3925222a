"""TReS: a transformer over all four stages of a ResNet-50 (Golestaneh, Dadsetan & Kitani, WACV 2022).

    tᵢ = mean of √(Hann ∗ (xᵢ / ‖xᵢ‖)²) over squares, on the 7×7 places of the last stage; x₁ … x₄ of a 224×224 crop
    score of a crop = W · [V · mean(encoder([t₁ … t₄], positions)), mean(x₄)] + w,   score = mean over crops

The authors evaluate networks trained on KonIQ-10k on images resized to 512×384 (height × width) by Pillow's BILINEAR,
as the mean of 50 random crops. Here the crops are the 50 of IQA-PyTorch's grid, which leaves a strip at the right and
at the bottom unread. The benchmark of adversarial robustness (MSU) took IQA-PyTorch's metric, which reads the same grid
at native size: the variant `as-benchmark`. IQA-PyTorch enlarges images with a side of 224 pixels or less, the variant
refuses them.

In training, the same network on the mirrored image must agree with itself; its code still computes that for a score,
and drops it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.backbones import backbone
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.encoder import Encoder, sine_positions
from scoreguard_export.metrics.imagenet import normalised
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.metrics.patches import mean_of_each, of_each, uniform_patches
from scoreguard_export.metrics.resize import pillow_bilinear
from scoreguard_export.weights.source import CommercialUse, WeightsSource

HEIGHT, WIDTH = 512, 384
CROP = 224
_PLACES: Final = 7
"""Height and width of the last stage's maps of a crop."""


class _RootMeanSquare(nn.Module):
    """Root of the weighted mean of squares around each place, under the official names."""

    filter: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        hann = torch.tensor([0.25, 0.5, 0.25])
        self.register_buffer("filter", (hann[:, None] * hann).expand(channels, 1, 3, 3).clone())

    def forward(self, maps: Tensor) -> Tensor:
        """(P, C, H, W) → (P, C, H, W)."""
        squares = functional.conv2d(maps * maps, self.filter, padding=1, groups=maps.shape[1])
        return torch.sqrt(squares + 1e-12)


@dataclass(frozen=True, kw_only=True)
class _Facts(MetricFacts):
    """At native size an image must have room for the crops."""

    def of_variant(self, variant: str) -> MetricFacts:
        """Return the facts of a variant."""
        return replace(super().of_variant(variant), minimum_size=CROP + 1)


class Tres(Metric):
    """Predicted MOS on the scale of KonIQ-10k, 0 to 100; higher is better."""

    facts = _Facts(
        name="tres",
        title="TReS (ResNet-50 and a transformer)",
        paper=(
            "Golestaneh, Dadsetan, Kitani: No-Reference Image Quality Assessment via Transformers, Relative Ranking, "
            "and Self-Consistency. WACV"
        ),
        year=2022,
        # The scale of the MOS that it was trained on. The output is unbounded; the benchmark of adversarial robustness
        # (MSU) publishes -7.2 to 71.4 on the images of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=100.0),
        backbone="ResNet-50 and a transformer",
        input_rule=(
            "RGB, resized to 512x384 (height x width) by Pillow's BILINEAR (as-benchmark: native size); 50 crops of "
            "224x224 on a fixed grid; normalised as for ImageNet"
        ),
        minimum_size=32,
        parity_tolerance=1e-2,
        variants=("as-benchmark",),
    )
    sources = MappingProxyType(
        {
            "tres": WeightsSource(
                licence="Carnegie Mellon University: non-commercial research use only",
                commercial=CommercialUse.NO,
                url=(
                    "bestmodel_1_2021 trained on KonIQ-10k, linked from https://github.com/isalirezag/TReS (Google "
                    "Drive)"
                ),
            )
        }
    )
    crops: ClassVar[int] = 50
    """Crops of an image."""
    widths: ClassVar[tuple[int, int, int, int]] = (256, 512, 1024, 2048)
    """Channels of the ResNet's stages."""
    heads: ClassVar[int] = 16
    """Heads of the attention."""

    positions: Tensor

    def __init__(self, *, variant: str = "") -> None:
        super().__init__()
        self.resizes = variant != "as-benchmark"
        for stage, width in enumerate(self.widths, start=1):
            self.add_module(f"L2pooling_l{stage}", _RootMeanSquare(width))
        total, last = sum(self.widths), self.widths[-1]
        self.model = self.untrained()
        self.transformer = nn.ModuleDict({"encoder": Encoder(total, heads=self.heads, hidden=64, layers=2)})
        self.fc2, self.fc = RowLinear(total, last), RowLinear(2 * last, 1)
        self.register_buffer("positions", sine_positions(total, _PLACES), persistent=False)

    def untrained(self) -> nn.Module:
        """Make the ResNet; the checkpoint has its classifier too, which no score needs.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        return backbone("resnet50", self.facts.name)

    def read(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """(P, 3, 224, 224) → the features (P, 49, C) of all stages by place, and the last maps (P, C₄, 7, 7)."""
        part = self.model.get_submodule
        maps = part("maxpool")(part("relu")(part("bn1")(part("conv1")(crops))))
        found = []
        for stage in range(1, 5):
            maps = part(f"layer{stage}")(maps)
            pooled = self.get_submodule(f"L2pooling_l{stage}")(functional.normalize(maps, dim=1))
            square = 2 ** (4 - stage)
            found.append(functional.avg_pool2d(pooled, square) if square > 1 else pooled)
        return torch.cat(found, dim=1).flatten(2).transpose(1, 2), maps

    def of_crops(self, crops: Tensor) -> Tensor:
        """(P, 3, 224, 224), normalised → (P, 1) scores."""
        features, maps = self.read(crops)
        encoded = self.transformer["encoder"](features, self.positions).mean(dim=1)
        scores: Tensor = self.fc(torch.cat([self.fc2(encoded), maps.mean(dim=(2, 3))], dim=1))
        return scores

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 32 pixels a side or more; 225 or more at native size."""
        resized = pillow_bilinear(image, HEIGHT, WIDTH) if self.resizes else image
        crops = uniform_patches(normalised(resized), CROP, self.crops)
        return mean_of_each(of_each(self.of_crops, crops, self.crops), image)
