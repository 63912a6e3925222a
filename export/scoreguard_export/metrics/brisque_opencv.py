"""BRISQUE as OpenCV computes it (`quality::QualityBRISQUE`), with the model that OpenCV trained on LIVE.

The method is that of `brisque`; the features differ, so the two models must not be exchanged:

    grey = (9798 R + 19235 G + 3735 B + 2¹⁴) / 2¹⁵, whole levels      OpenCV's COLOR_BGR2GRAY
    outside the image the Gaussian window sees the repeated edge; products with pixels outside are zero
    features = α, (l² + r²) / 2 of m, by the asymmetric fit;  α, η, l², r² of the products
    half size = bicubic with a = −3/4 and no antialiasing, ⌊H/2⌋ × ⌊W/2⌋
    score = the regression, clipped to 0..100                         lower is better

Clipping and the rounding of the grey value pass the gradient.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.brisque import pair_features
from scoreguard_export.metrics.brisque_svr import OPENCV, SupportVectors, load_svr
from scoreguard_export.metrics.niqe_aggd import AggdFit
from scoreguard_export.metrics.niqe_features import LocalStatistics, Luminance
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_RANGES: Final = (
    *((0.344000012, 10.0), (0.0192631185, 0.80727452)),
    *((0.231999993, 1.64100003), (-0.125608176, 0.202751741)),
    *((0.000154766443, 0.714265108), (0.000536677078, 0.468011886)),
    *((0.247999996, 1.63699996), (-0.125662684, 0.1799559)),
    *((0.000156631286, 0.71250993), (0.000532896898, 0.468246639)),
    *((0.264999986, 1.54499996), (-0.137013525, 0.10106048)),
    *((0.000169135848, 0.68650341), (0.000388529879, 0.531757474)),
    *((0.268999994, 1.54900002), (-0.145002097, 0.100678936)),
    *((0.000174277433, 0.687403798), (0.00041132659, 0.533775926)),
    *((0.409000009, 3.73600006), (0.0165343825, 0.801105976)),
    *((0.217999995, 1.10699999), (-0.200738415, 0.175127238)),
    *((0.000103299266, 0.752403796), (0.000817875145, 0.40009889)),
    *((0.228, 1.09300005), (-0.198958635, 0.156139076)),
    *((0.000115834941, 0.752328634), (0.000849922828, 0.406460851)),
    *((0.246000007, 1.04900002), (-0.155001476, 0.0935277343)),
    *((0.000120401361, 0.623002231), (0.000338587241, 0.531899512)),
    *((0.247999996, 1.05200005), (-0.148134664, 0.0937106311)),
    *((0.0001163212, 0.625087202), (0.000334327371, 0.538609207)),
)
"""OpenCV's `brisque_range_live.yml`."""
_GREY: Final = (9798 / 32768, 19235 / 32768, 3735 / 32768)
_NEIGHBOURS: Final = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""Rows down and columns to the right."""


def cubic_weights(along: Tensor) -> list[Tensor]:
    """Weights of four neighbouring pixels, at a place between the middle two; a = −3/4."""
    back = 1.0 - along
    second = (1.25 * along - 2.25) * along * along + 1.0
    third = (1.25 * back - 2.25) * back * back + 1.0
    first = -0.75 * along * back * back
    return [first, second, third, 1.0 - first - second - third]


def halved(grey: Tensor, axis: int) -> Tensor:
    """Halve one side as `cv::resize` does with INTER_CUBIC; the edge is repeated."""
    length = grey.shape[axis]
    half = length // 2
    steps = torch.arange(half, device=grey.device).to(grey.dtype)
    place = (steps + 0.5) * length / half - 0.5
    left = place.detach().floor()
    shape = (1, 1, half, 1) if axis == 2 else (1, 1, 1, half)
    taps = zip(range(-1, 3), cubic_weights(place - left), strict=True)
    rows = [
        grey.index_select(axis, (left.to(torch.int64) + tap).clamp(0, length - 1)) * weight.reshape(shape)
        for tap, weight in taps
    ]
    return torch.stack(rows).sum(dim=0)


def pair_products(normalised: Tensor) -> Tensor:
    """(N, 1, H, W) → (N, 4, H, W): products with four neighbours, zero where there is none."""
    height, width = normalised.shape[2], normalised.shape[3]
    padded = functional.pad(normalised, (0, 1, 1, 1))
    shifted = [padded.narrow(2, 1 + down, height).narrow(3, right, width) for down, right in _NEIGHBOURS]
    return normalised * torch.cat(shifted, dim=1)


class BrisqueOpenCv(Metric):
    """Predicted DMOS on the scale of LIVE, 0 (best) to 100; lower is better."""

    facts = MetricFacts(
        name="brisque-opencv",
        title="BRISQUE (OpenCV)",
        paper="Mittal, Moorthy, Bovik: No-Reference Image Quality Assessment in the Spatial Domain. IEEE TIP 21(12)",
        year=2012,
        # OpenCV clips the score to it.
        score_range=ScoreRange(low=0.0, high=100.0, higher_is_better=False),
        range_basis=RangeBasis.BOUNDS,
        backbone="statistics, support vectors",
        input_rule="grey (OpenCV's BGR2GRAY) at native size and half size",
        minimum_size=32,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "brisque-opencv": WeightsSource(
                licence="Apache-2.0",
                commercial=CommercialUse.YES,
                download="https://github.com/opencv/opencv_contrib/raw/2a5154a4479e841aa1282ef83d139c4870d17b8f/modules/quality/samples/brisque_model_live.yml",
                sha256="4c44c7eec9e5139830c0bb0e4a044c9cd351ba5bbc9e3798beca3243e2782ff4",
                size=567_815,
            )
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.luminance, self.statistics = Luminance(_GREY), LocalStatistics()
        self.fit, self.svr = AggdFit(), SupportVectors(_RANGES)

    def load(self, name: str, path: Path) -> str:
        """Take OpenCV's `brisque_model_live.yml`, or its tensors in a file of ours.

        Raises:
            WeightsError: the file is missing, unreadable, or no such regression.
        """
        return load_svr(self, path, name, self.sources[name], OPENCV)

    def at_scale(self, grey: Tensor) -> Tensor:
        """(N, 1, H, W) → 18 features (N, 18)."""
        normalised = self.statistics(grey)[0]
        shape, _, _, left, right = self.fit.moments(normalised)
        own = torch.cat([shape, (left.square() + right.square()) / 2.0], dim=1)
        return torch.cat([own, pair_features(self.fit, pair_products(normalised))], dim=1)

    def features(self, grey: Tensor) -> Tensor:
        """Luminance (N, 1, H, W) → features at full and half size (N, 36)."""
        return torch.cat([self.at_scale(grey), self.at_scale(halved(halved(grey, 2), 3))], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1] of any size."""
        scores: Tensor = self.svr(self.features(self.luminance(image)))
        return (scores + (scores.clamp(0.0, 100.0) - scores).detach()).to(image.dtype)
