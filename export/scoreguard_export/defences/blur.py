"""Gaussian blur as a purification: separable, weights ∝ exp(−t²/2σ²) at t = −(k−1)/2 … (k−1)/2, borders mirrored."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.jit import is_scripting  # type: ignore[attr-defined]
from torch.nn import functional

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.straight_through import straight_through


class Blur(Defence):
    """Blur each channel with a Gaussian of k × k taps.

    Borders mirror about the edge pixel's centre (OpenCV's default, reflect-101), so an image must be larger than k/2.
    For σ = 0 the rule is OpenCV's, σ = 0.3·((k−1)/2 − 1) + 0.8. OpenCV itself then uses tables of binomial weights for
    small kernels instead of its rule; the published defence studies (torchvision) use the rule.
    """

    facts = DefenceFacts(
        name="blur",
        title="Gaussian blur",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        parameters=(
            Parameter(
                name="kernel",
                description="Taps in each direction, in pixels.",
                default=3.0,
                minimum=3.0,
                maximum=11.0,
                integer=True,
                choices=(3.0, 5.0, 7.0, 9.0, 11.0),
                at_most_side=True,
            ),
            Parameter(
                name="sigma",
                description="Standard deviation in pixels; 0 takes 0.3·((kernel−1)/2 − 1) + 0.8.",
                default=0.0,
                minimum=0.0,
                maximum=10.0,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=6,
        parity_tolerance=1e-5,
    )

    def __init__(self, *, kernel: float = 3.0) -> None:
        super().__init__(kernel=kernel)
        self.reach = int(kernel) // 2
        self.own_sigma = 0.3 * ((kernel - 1.0) * 0.5 - 1.0) + 0.8

    def forward(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Blur images (N, 3, H, W).

        Args:
            image: In [0, 1].
            sigma: 0-d, in pixels; 0 selects the rule.
        """
        blurred = self.blurred(image, sigma)
        # The weights sum to 1 only up to rounding; a white area must neither leave the range nor lose its gradient.
        return straight_through(blurred, torch.clamp(blurred, 0.0, 1.0))

    def blurred(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Blur without the final range check."""
        reach = self.reach
        padded = functional.pad(image, [reach, reach, reach, reach], mode="reflect")
        return self._filtered(padded, self._weights(sigma.to(image.dtype)))

    def _filtered(self, padded: Tensor, weights: Tensor) -> Tensor:
        # Nested, because the TorchScript compiler drops the body of exactly this condition.
        if not is_scripting():  # noqa: SIM102
            if torch.compiler.is_exporting():
                return self._convolved(padded, weights)
        return self._summed(padded, weights)

    def _convolved(self, padded: Tensor, weights: Tensor) -> Tensor:
        """Convolve, for ONNX Runtime: three to ten times faster there than `_summed`, but slower in torch."""
        taps = 2 * self.reach + 1
        columns = functional.conv2d(padded, weights.view(1, 1, taps, 1).expand(3, 1, taps, 1), groups=3)
        return functional.conv2d(columns, weights.view(1, 1, 1, taps).expand(3, 1, 1, taps), groups=3)

    def _summed(self, padded: Tensor, weights: Tensor) -> Tensor:
        taps = 2 * self.reach + 1
        height, width = padded.shape[2] - taps + 1, padded.shape[3] - taps + 1
        rows = weights[0] * padded[:, :, 0:height]
        for tap in range(1, taps):
            rows = rows + weights[tap] * padded[:, :, tap : tap + height]
        blurred = weights[0] * rows[:, :, :, 0:width]
        for tap in range(1, taps):
            blurred = blurred + weights[tap] * rows[:, :, :, tap : tap + width]
        return blurred

    def _weights(self, sigma: Tensor) -> Tensor:
        deviation = torch.where(sigma > 0.0, sigma, torch.full_like(sigma, self.own_sigma))
        taps = torch.arange(-self.reach, self.reach + 1, device=sigma.device).to(sigma.dtype)
        weights = torch.exp(-0.5 * torch.square(taps / deviation))
        return weights / weights.sum()
