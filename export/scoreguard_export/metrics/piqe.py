"""PIQE: which blocks of an image look distorted, without any training (Venkatanath N et al., NCC 2015).

The reference is MATLAB's `piqe`. The grey image (`rgb2gray`, whole levels) is extended by its last row and column to
whole 16×16 blocks and normalised, m = (grey − μ) / (σ + 1) by a 7×7 Gaussian of σ 7/6. Of each block, with v the
unbiased variance of m in it:

    active   = v > 0.1
    impaired = some 6 neighbouring pixels of an edge have a standard deviation below 0.1
    noisy    = √v > 2β,   β = |√v − r| / max(√v, r),   r = deviation of the centre / deviation of the surround
    score    = 100 · (1 + Σ active · (impaired · (1 − v) + noisy · v)) / (1 + Σ active)             lower is better

The centre is columns 8 and 9 of 16. MATLAB takes column 8 out of the block and then column 9 of what is left, so that
its surround lacks columns 8 and 10; this is done here too.

The decisions are thresholds and have no derivative: they pass as they are. The gradient is that of v, in the active
blocks that are impaired or noisy but not both; it is zero in all others, and if there is no such block, everywhere.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from scoreguard_export.metrics.base import Metric, MetricFacts, RangeBasis, ScoreRange
from scoreguard_export.metrics.niqe_features import LocalStatistics, Luminance, patches_of

BLOCK: Final = 16
"""Side of a block, in pixels."""
_SEGMENT: Final = 6
"""Length of a segment of an edge, in pixels."""
_CENTRE: Final = (7, 8)
_SURROUND: Final = tuple(column for column in range(BLOCK) if column not in {7, 9})
_THRESHOLD: Final = 0.1
"""Of the variance of an active block, and of the deviation of an impaired segment."""


def extended(grey: Tensor) -> Tensor:
    """Repeat the last row and column until both sides are multiples of 16."""
    for axis in (2, 3):
        length = grey.shape[axis]
        taken = torch.arange((length + BLOCK - 1) // BLOCK * BLOCK, device=grey.device)
        grey = grey.index_select(axis, taken.clamp(max=length - 1))
    return grey


def variance(samples: Tensor) -> Tensor:
    """(..., K) → (...): unbiased."""
    difference = samples - samples.mean(dim=-1, keepdim=True)
    return difference.square().sum(dim=-1) / (samples.shape[-1] - 1.0)


def is_noisy(blocks: Tensor) -> Tensor:
    """(M, 16, 16) → (M): Gaussian noise; a surround without deviation has none."""
    whole, centre, surround = (
        torch.sqrt(variance(part.flatten(1))) for part in (blocks, blocks[:, :, _CENTRE], blocks[:, :, _SURROUND])
    )
    ratio = centre / surround
    return whole > 2.0 * (whole - ratio).abs() / torch.maximum(whole, ratio)


class Piqe(Metric):
    """Share of distorted blocks among those that draw the eye, in percent; lower is better."""

    facts = MetricFacts(
        name="piqe",
        title="PIQE",
        paper="Venkatanath N, Praneeth, Maruthi Chandrasekhar, Channappayya, Medasani: Blind Image Quality Evaluation "
        "Using Perception Based Features. NCC",
        year=2015,
        # As MATLAB documents it. An image without an active block scores 100.
        score_range=ScoreRange(low=0.0, high=100.0, higher_is_better=False),
        range_basis=RangeBasis.BOUNDS,
        backbone="statistics, no model",
        input_rule="grey (MATLAB's rgb2gray) at native size, in 16x16 blocks; the last row and column are repeated",
        minimum_size=32,
        parity_tolerance=1e-3,
    )

    threshold: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.luminance, self.statistics = Luminance(), LocalStatistics()
        # A buffer instead of a number: the ONNX exporter rounds numbers to single precision.
        self.register_buffer("threshold", torch.tensor(_THRESHOLD, dtype=torch.float64), persistent=False)

    def is_impaired(self, blocks: Tensor) -> Tensor:
        """(M, 16, 16) → (M): some segment of an edge is nearly flat."""
        edges = torch.stack([blocks[:, 0], blocks[:, -1], blocks[:, :, 0], blocks[:, :, -1]], dim=1)
        starts = range(BLOCK - _SEGMENT + 1)
        segments = torch.stack([edges[:, :, start : start + _SEGMENT] for start in starts], dim=2)
        return (torch.sqrt(variance(segments)) < self.threshold).flatten(1).any(dim=1)

    def forward(self, image: Tensor) -> Tensor:
        """Score a batch (N, 3, H, W) in [0, 1] of any size."""
        blocks = patches_of(self.statistics(extended(self.luminance(image)))[0], BLOCK)
        spread, fixed = variance(blocks.flatten(1)), blocks.detach()
        active = (spread.detach() > self.threshold).to(blocks.dtype)
        impaired, noisy = (found.to(blocks.dtype) for found in (self.is_impaired(fixed), is_noisy(fixed)))
        distortion = active * (impaired * (1.0 - spread) + noisy * spread)
        total, count = (part.reshape(image.shape[0], -1).sum(dim=1) for part in (distortion, active))
        return (100.0 * (total + 1.0) / (count + 1.0)).to(image.dtype)
