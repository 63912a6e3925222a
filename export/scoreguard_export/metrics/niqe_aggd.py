"""Asymmetric generalised Gaussian, fitted by moments (Lasmar, Stitou & Berthoumieu, ICIP 2009), with a derivative.

    l² = mean of x² over x < 0,   r² = mean of x² over x > 0
    ρ̂ = (mean |x|)² / mean x² · (l³ + r³)(l + r) / (l² + r²)²
    α solves ρ(α) = ρ̂,   ρ(α) = Γ(2/α)² / (Γ(1/α) Γ(3/α)),   0.2 ≤ α ≤ 10
    β = (l, r) · √(Γ(1/α) / Γ(3/α)),   η = (β_r − β_l) Γ(2/α) / Γ(1/α)

The official code takes the nearest of 9,801 values of α, which has no derivative, and graph formats have no Γ. Here α
and the two ratios of Γ are tabulated as functions of ρ̂ and interpolated by cubics through exact values and slopes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_LEAST_SHAPE, _LARGEST_SHAPE = 0.2, 10.0
_NODES = 4096
_TINY = 1e-20
"""Added to mean squares: keeps roots differentiable at zero, and is negligible for any 8-bit image."""


def rho_of(shape: Tensor) -> Tensor:
    """ρ(α), increasing; float64."""
    inverse = 1.0 / shape
    return torch.exp(2 * torch.lgamma(2 * inverse) - torch.lgamma(inverse) - torch.lgamma(3 * inverse))


def _shape_of(rho: Tensor) -> Tensor:
    """The inverse of ρ by bisection; runs once, when a table is made."""
    low, high = torch.full_like(rho, _LEAST_SHAPE), torch.full_like(rho, _LARGEST_SHAPE)
    for _ in range(60):
        middle = (low + high) / 2
        below = rho_of(middle) < rho
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


def _values_and_slopes(rho: Tensor) -> tuple[Tensor, Tensor]:
    """α, √(Γ(1/α)/Γ(3/α)) and Γ(2/α)/Γ(1/α) at each ρ, and their derivatives by ρ: (K, 3) each."""
    shape = _shape_of(rho)
    one, two, three = (n / shape for n in (1.0, 2.0, 3.0))
    spread = torch.exp((torch.lgamma(one) - torch.lgamma(three)) / 2)
    ratio = torch.exp(torch.lgamma(two) - torch.lgamma(one))
    psi_one, psi_two, psi_three = (torch.digamma(value) for value in (one, two, three))
    by_shape = [
        torch.ones_like(shape),
        -spread * (psi_one - 3 * psi_three) / (2 * shape**2),
        -ratio * (2 * psi_two - psi_one) / shape**2,
    ]
    rho_by_shape = -rho * (4 * psi_two - psi_one - 3 * psi_three) / shape**2
    return torch.stack([shape, spread, ratio], dim=1), torch.stack(by_shape, dim=1) / rho_by_shape[:, None]


class AggdFit(nn.Module):
    """Samples (..., H, W) → α, η, β_l, β_r, each (...), in double precision and differentiable.

    If ρ̂ is outside [ρ(0.2), ρ(10)], α is the bound and its derivative zero. All-zero samples give α = 0.2 and
    β near 0.
    """

    low: Tensor
    width: Tensor
    values: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        low, high = rho_of(torch.tensor([_LEAST_SHAPE, _LARGEST_SHAPE], dtype=torch.float64))
        rho = torch.linspace(float(low), float(high), _NODES, dtype=torch.float64)
        values, slopes = _values_and_slopes(rho)
        width = (high - low) / (_NODES - 1)
        # Buffers instead of numbers: the ONNX exporter rounds numbers to single precision.
        for name, value in {"low": low, "width": width, "values": values, "steps": slopes * width}.items():
            self.register_buffer(name, value, persistent=False)

    def looked_up(self, rho: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """α and the two ratios of Γ by cubic Hermite interpolation."""
        position = ((rho - self.low) / self.width).clamp(0.0, _NODES - 1.0)
        index = position.detach().floor().clamp(max=_NODES - 2.0)
        along = (position - index)[..., None]
        left = index.to(torch.int64)
        rest = 1.0 - along
        result = (1.0 + 2.0 * along) * rest**2 * self.values[left] + along * rest**2 * self.steps[left]
        result = (
            result + along**2 * (3.0 - 2.0 * along) * self.values[left + 1] - along**2 * rest * self.steps[left + 1]
        )
        shape, spread, ratio = result.unbind(dim=-1)
        return shape, spread, ratio

    def moments(self, samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """α, √(Γ(1/α)/Γ(3/α)), Γ(2/α)/Γ(1/α), l and r of each plane of samples."""
        left, right = _half_deviation(samples.clamp(max=0.0)), _half_deviation(samples.clamp(min=0.0))
        energy = samples.square().mean(dim=(-2, -1)) + _TINY
        skew = (left**3 + right**3) * (left + right) / (left**2 + right**2) ** 2
        shape, spread, ratio = self.looked_up(samples.abs().mean(dim=(-2, -1)) ** 2 / energy * skew)
        return shape, spread, ratio, left, right

    def symmetric(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """α of the symmetric distribution and the mean square, of each plane: ρ(α) = (mean |x|)² / mean x²."""
        energy = samples.square().mean(dim=(-2, -1))
        return self.looked_up(samples.abs().mean(dim=(-2, -1)) ** 2 / (energy + _TINY))[0], energy

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Fit each plane of samples."""
        shape, spread, ratio, left, right = self.moments(samples)
        left, right = left * spread, right * spread
        return shape, (right - left) * ratio, left, right


def _half_deviation(half: Tensor) -> Tensor:
    """Return the root mean square of the samples of one sign; the others are zero and do not count."""
    count = (half != 0.0).to(half.dtype).sum(dim=(-2, -1)).clamp(min=1.0)
    return torch.sqrt(half.square().sum(dim=(-2, -1)) / count + _TINY)
