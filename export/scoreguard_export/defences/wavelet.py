"""Wavelet shrinkage as a purification: detail coefficients y of a Haar transform become sign(y)·max(|y| − t, 0).

Chang, Yu and Vetterli, "Adaptive wavelet thresholding for image denoising and compression", IEEE Transactions on
Image Processing 9, 2000 ("BayesShrink"): each subband of each channel has its own t = σ²/√max(mean(y²) − σ², 0).
"""

from __future__ import annotations

import torch
from torch import Tensor

from scoreguard_export.defences.base import Defence, DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.bounds import within_range
from scoreguard_export.defences.jpeg_codec import extend


def _analysed(planes: Tensor) -> list[Tensor]:
    """Split (N, C, 2h, 2w) into the mean and the three details of 2 × 2 squares, orthonormally."""
    top, bottom = planes[:, :, 0::2], planes[:, :, 1::2]
    sums, differences = top + bottom, top - bottom
    return [
        0.5 * (sums[..., 0::2] + sums[..., 1::2]),
        0.5 * (sums[..., 0::2] - sums[..., 1::2]),
        0.5 * (differences[..., 0::2] + differences[..., 1::2]),
        0.5 * (differences[..., 0::2] - differences[..., 1::2]),
    ]


def _woven(first: Tensor, second: Tensor, down: bool) -> Tensor:
    """Interleave the rows or columns of two images."""
    batch, channels, height, width = first.shape
    if down:
        return torch.stack([first, second], dim=3).reshape(batch, channels, 2 * height, width)
    return torch.stack([first, second], dim=4).reshape(batch, channels, height, 2 * width)


def _joined(coarse: Tensor, details: list[Tensor]) -> Tensor:
    """Undo `_analysed`."""
    sums = _woven(coarse + details[0], coarse - details[0], False)
    differences = _woven(details[1] + details[2], details[1] - details[2], False)
    return 0.5 * _woven(sums + differences, sums - differences, True)


def _shrunk(detail: Tensor, variance: Tensor) -> Tensor:
    """Threshold one subband (N, C, h, w) softly, each channel of each image by its own rule."""
    signal = torch.square(detail).mean(dim=[2, 3], keepdim=True) - variance
    # If the band contains only noise, the threshold is above every coefficient.
    threshold = variance / torch.sqrt(torch.clamp_min(signal, 1e-12))
    return detail - torch.maximum(torch.minimum(detail, threshold), -threshold)


class Wavelet(Defence):
    """Remove detail that is not larger than noise of a given strength, scale by scale.

    Haar wavelets on a grid that starts at the first pixel. Images of any size are extended by their last row and
    column to a multiple of 2^levels, and cropped back; the extension counts in the means. The noise strength is a
    parameter: the paper estimates it from a median of the finest details, which an attack can manipulate.
    """

    facts = DefenceFacts(
        name="wavelet",
        title="Wavelet shrinkage",
        paper="Chang, Yu and Vetterli: Adaptive wavelet thresholding for image denoising and compression",
        year=2000,
        parameters=(
            Parameter(
                name="levels",
                description="Scales that are shrunk, each twice as coarse as the one before.",
                default=3.0,
                minimum=1.0,
                maximum=4.0,
                integer=True,
                choices=(1.0, 2.0, 3.0, 4.0),
            ),
            Parameter(
                name="sigma",
                description="Standard deviation of the noise to take away, in pixel units of [0, 1]; 0 takes none.",
                default=0.03,
                minimum=0.0,
                maximum=0.5,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=2,
        parity_tolerance=1e-4,
    )

    def __init__(self, *, levels: float = 3.0) -> None:
        super().__init__(levels=levels)
        self.levels = int(levels)
        self.unit = 2**self.levels

    def forward(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Denoise images (N, 3, H, W).

        Args:
            image: In [0, 1].
            sigma: 0-d, 0 to 0.5.
        """
        height, width, unit = image.shape[2], image.shape[3], self.unit
        coarse = extend(image, (height + unit - 1) // unit * unit, (width + unit - 1) // unit * unit)
        variance = torch.square(sigma.to(image.dtype))
        pyramid: list[list[Tensor]] = []
        for _ in range(self.levels):
            bands = _analysed(coarse)
            coarse = bands[0]
            pyramid.append([_shrunk(band, variance) for band in bands[1:]])
        for level in range(self.levels):
            coarse = _joined(coarse, pyramid[self.levels - 1 - level])
        return within_range(coarse[:, :, :height, :width])
