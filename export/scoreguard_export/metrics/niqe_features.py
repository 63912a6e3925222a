"""Natural scene statistics of NIQE: 36 features of each 96×96 patch, 18 at full size and 18 at half size.

    grey = round(0.2989 R + 0.5870 G + 0.1140 B)                      MATLAB's rgb2gray, levels 0..255
    m = (grey − μ) / (σ + 1)                                          μ, σ by a 7×7 Gaussian of σ 7/6
    features = α, (β_l + β_r)/2 of m;  α, η, β_l, β_r of m · m shifted right, down, and along both diagonals

Shifts wrap around within a patch, as in the official code. Half size is bicubic with MATLAB's antialiasing.
The rounding of the grey value has no derivative: the gradient passes straight through it.

Two details make the result independent of an engine's rounding errors. All arithmetic is in double precision; and a
deviation |grey − μ| below 1e-6 levels, less than any in 8-bit images, counts as zero, so it has neither sign.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.metrics.niqe_aggd import AggdFit

PATCH = 96
"""Side of a patch at full size, in pixels."""
FEATURES = 36
_GREY = (0.298936021293775, 0.587043074451121, 0.114020904255103)
_RADIUS = 3
_DEAD_ZONE = 1e-6
_LEAST_VARIANCE = 1e-10
"""Below the rounding error of a variance; a root of less would have an infinite slope."""


def _gaussian() -> list[float]:
    weights = [math.exp(-(offset**2) / (2.0 * (7.0 / 6.0) ** 2)) for offset in range(-_RADIUS, _RADIUS + 1)]
    return [weight / sum(weights) for weight in weights]


def _cubic(x: float) -> float:
    """Keys' kernel with a = −1/2, within its support of ±2."""
    x = abs(x)
    return 1.5 * x**3 - 2.5 * x**2 + 1.0 if x <= 1.0 else -0.5 * x**3 + 2.5 * x**2 - 4.0 * x + 2.0


class _WeightedSum(nn.Module):
    """Weighted sum of single-channel images, or of the channels of one.

    The weights are a buffer: the ONNX exporter rounds bare numbers to single precision, and a traced constant stays on
    the device of the trace.
    """

    weights: Tensor

    def __init__(self, weights: Iterable[float]) -> None:
        super().__init__()
        values = torch.tensor(list(weights), dtype=torch.float64)
        self.register_buffer("weights", values[:, None, None], persistent=False)

    def forward(self, channels: Tensor) -> Tensor:
        """(N, C, H, W) → (N, 1, H, W)."""
        return (channels * self.weights).sum(dim=1, keepdim=True)


class Luminance(nn.Module):
    """(N, 3, H, W) in [0, 1] → (N, 1, H, W) whole levels 0..255, float64; the gradient ignores the rounding.

    Args:
        weights: of red, green and blue; MATLAB's if not given.
    """

    def __init__(self, weights: Iterable[float] = _GREY) -> None:
        super().__init__()
        self.grey = _WeightedSum(weights)

    def forward(self, image: Tensor) -> Tensor:
        """Convert a batch."""
        # Single precision restores the whole levels of 8-bit images exactly; widen only after that.
        level: Tensor = self.grey((image * 255.0).to(torch.float64))
        return level + (torch.floor(level + 0.5) - level).detach()


class LocalStatistics(nn.Module):
    """Luminance (N, 1, H, W) → normalised image m and local deviation σ, both of the same shape.

    Args:
        border: mode of `torch.nn.functional.pad`; `replicate` repeats the edge, `constant` is black.
    """

    def __init__(self, border: str = "replicate") -> None:
        super().__init__()
        self.gaussian, self.border = _WeightedSum(_gaussian()), border

    def smoothed(self, grey: Tensor) -> Tensor:
        """Mean by the Gaussian window."""
        smooth = functional.pad(grey, (_RADIUS, _RADIUS, _RADIUS, _RADIUS), mode=self.border)
        for axis in (2, 3):
            taps = [smooth.narrow(axis, tap, grey.shape[axis]) for tap in range(2 * _RADIUS + 1)]
            smooth = self.gaussian(torch.cat(taps, dim=1))
        return smooth

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        """Normalise levels."""
        mean = self.smoothed(grey)
        variance = self.smoothed(grey.square()) - mean.square()
        deviation = torch.sqrt(variance.clamp(min=_LEAST_VARIANCE))
        difference = grey - mean
        difference = torch.where(difference.abs() < _DEAD_ZONE, torch.zeros_like(difference), difference)
        return difference / (deviation + 1.0), deviation


class Halving(nn.Module):
    """(N, 1, H, W) → half of each side, as MATLAB's `imresize(grey, 0.5)`: bicubic with antialiasing, odd ones up."""

    def __init__(self) -> None:
        super().__init__()
        self.cubic = _WeightedSum(_cubic((tap - 3.5) / 2.0) / 2.0 for tap in range(8))

    def narrowed(self, grey: Tensor) -> Tensor:
        """Halve the width; borders repeat in mirror order."""
        count, channels, height, width = grey.shape
        half = (width + 1) // 2
        mirrored = torch.cat([grey.narrow(3, 0, 3).flip(3), grey, grey.narrow(3, width - 4, 4).flip(3)], dim=3)
        mirrored = mirrored.narrow(3, 0, 2 * half + 6)
        # Separate even and odd columns: a slice with a step loses its length in the ONNX exporter.
        pairs = mirrored.reshape(count, channels, height, -1, 2).unbind(dim=4)
        taps = [pairs[tap % 2].narrow(3, tap // 2, half) for tap in range(8)]
        narrow: Tensor = self.cubic(torch.cat(taps, dim=1))
        return narrow

    def forward(self, grey: Tensor) -> Tensor:
        """Halve both sides."""
        return self.narrowed(self.narrowed(grey).transpose(2, 3)).transpose(2, 3)


def cropped(grey: Tensor) -> Tensor:
    """Return the part that full patches cover."""
    rows, columns = grey.shape[2] // PATCH * PATCH, grey.shape[3] // PATCH * PATCH
    return grey.narrow(2, 0, rows).narrow(3, 0, columns)


def patches_of(grey: Tensor, side: int) -> Tensor:
    """(N, 1, H, W) → (N · P, side, side), image by image and row by row; H and W are multiples of `side`."""
    rows, columns = grey.shape[2] // side, grey.shape[3] // side
    grid = grey.reshape(grey.shape[0], rows, side, columns, side)
    return grid.permute(0, 1, 3, 2, 4).reshape(-1, side, side)


def products(patch: Tensor) -> Tensor:
    """(M, H, W) → (M, 5, H, W): the patch itself and its products with four neighbours."""
    down = patch.roll(1, dims=1)
    neighbours = [patch.roll(1, dims=2), down, down.roll(1, dims=2), down.roll(-1, dims=2)]
    return torch.stack([patch, *(patch * neighbour for neighbour in neighbours)], dim=1)


class NiqeFeatures(nn.Module):
    """Luminance (N, 1, H, W) → 36 features of every full patch (N · P, 36), and 1 if they can be fitted (N · P).

    A patch is flat (0 in the second result) if one of its maps does not have values of both signs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.statistics, self.halving, self.fit = LocalStatistics(), Halving(), AggdFit()

    def at_scale(self, grey: Tensor, side: int) -> tuple[Tensor, Tensor]:
        """Return 18 features of each patch (M, 18), and whether all its maps have values of both signs (M)."""
        maps = products(patches_of(self.statistics(grey)[0], side))
        shape, mean, left, right = self.fit(maps)
        pairs = torch.stack([shape, mean, left, right], dim=2)[:, 1:].flatten(1)
        own = torch.stack([shape[:, 0], (left[:, 0] + right[:, 0]) / 2], dim=1)
        both_signs = (maps.amin(dim=(2, 3)) < 0) & (maps.amax(dim=(2, 3)) > 0)
        return torch.cat([own, pairs], dim=1), both_signs.all(dim=1)

    def sharpness(self, grey: Tensor) -> Tensor:
        """Return the mean local deviation of each full patch (N · P), in levels."""
        return patches_of(self.statistics(cropped(grey))[1], PATCH).mean(dim=(1, 2))

    def forward(self, grey: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the features; the margin beyond the last full patch is left out."""
        grey = cropped(grey)
        large, large_lively = self.at_scale(grey, PATCH)
        small, small_lively = self.at_scale(self.halving(grey), PATCH // 2)
        return torch.cat([large, small], dim=1), (large_lively & small_lively).to(grey.dtype)
