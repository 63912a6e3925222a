"""PaQ-2-PiQ: the whole image as one region of interest of a ResNet-18 (Ying, Niu, Gupta, Mahajan, Ghadiyaram & Bovik).

The network was trained on 40,000 images of LIVE-FB and three patches of each, all of them regions of the same maps. A
region's features are the largest of the maps' values in each quarter of it (RoIPool, 2×2).

    score = W₂ · norm(relu(W₁ · norm([max over quarters, mean over quarters])))

Images are read at native size, in [0, 1] without ImageNet's mean and deviation. The region is rounded to whole places
of the maps with its last one included, and a quarter to the places that it touches: two quarters share a row or a
column of the maps where their number is odd.
"""

from __future__ import annotations

from types import MappingProxyType

import torch
from torch import Tensor, nn

from scoreguard_export.metrics.backbones import backbone, stages
from scoreguard_export.metrics.base import Metric, MetricFacts, ScoreRange
from scoreguard_export.metrics.linear import RowLinear
from scoreguard_export.weights.source import CommercialUse, WeightsSource

SCALE = 32
"""Pixels for each place of the maps."""


def halves(maps: Tensor, dim: int, length: int) -> tuple[Tensor, Tensor]:
    """Cut maps in two halves, as RoIPool rounds them for the whole image.

    Args:
        maps: (N, C, H, W).
        dim: 2 for upper and lower, 3 for left and right.
        length: Height or width of the image in pixels, more than `SCALE`, below which the second half is empty.
    """
    places = (length + SCALE // 2) // SCALE + 1  # of the region; the first one past the maps may be counted
    device = maps.device
    first = torch.arange((places + 1) // 2, device=device)
    second = torch.arange(places // 2, maps.shape[dim], device=device)
    return maps.index_select(dim, first), maps.index_select(dim, second)


def quarters(maps: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) maps of an image → (N, C, 4), the largest values of their quarters."""
    rows = [half.amax(dim=2, keepdim=True) for half in halves(maps, 2, height)]
    return torch.stack([half.amax(dim=(2, 3)) for row in rows for half in halves(row, 3, width)], dim=2)


class Paq2Piq(Metric):
    """Predicted MOS on the scale of LIVE-FB, 0 to 100; higher is better."""

    facts = MetricFacts(
        name="paq2piq",
        title="PaQ-2-PiQ (ResNet-18)",
        paper=(
            "Ying, Niu, Gupta, Mahajan, Ghadiyaram, Bovik: From Patches to Pictures (PaQ-2-PiQ): Mapping the "
            "Perceptual Space of Picture Quality. CVPR"
        ),
        year=2020,
        # The scale of the ratings. The output is unbounded; the benchmark of adversarial robustness (MSU) publishes
        # 58.4 to 84.2 on the images of NIPS 2017.
        score_range=ScoreRange(low=0.0, high=100.0),
        backbone="ResNet-18",
        input_rule="RGB in [0, 1] at native size",
        minimum_size=SCALE + 1,
        parity_tolerance=1e-2,
    )
    sources = MappingProxyType(
        {
            "paq2piq": WeightsSource(
                licence="MIT",
                commercial=CommercialUse.YES,
                download="https://github.com/baidut/PaQ-2-PiQ/releases/download/v1.0/RoIPoolModel-fit.10.bs.120.pth",
            )
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(*self.untrained())
        self.head = nn.Sequential(
            *(nn.Identity(), nn.Identity()),  # the two poolings; below, two of dropout
            *(nn.BatchNorm1d(1024), nn.Identity(), RowLinear(1024, 512), nn.ReLU()),
            *(nn.BatchNorm1d(512), nn.Identity(), RowLinear(512, 1)),
        )

    def untrained(self) -> list[nn.Module]:
        """Make the parts of a network with the checkpoint's names and shapes.

        Raises:
            MissingExtraError: torchvision is not installed.
        """
        return stages(backbone("resnet18", self.facts.name))

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1], 33 pixels a side or more."""
        largest = quarters(self.body(image), image.shape[2], image.shape[3])
        scores: Tensor = self.head(torch.cat([largest.amax(dim=2), largest.mean(dim=2)], dim=1))
        return scores[:, 0]
