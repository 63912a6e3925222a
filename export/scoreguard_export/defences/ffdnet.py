"""FFDNet: a fast denoiser given the noise strength (Zhang, Zuo & Zhang, IEEE TIP 27(9), 2018; arXiv 1710.04026).

The weights are the authors' colour network. It works at half size, on each 2 × 2 square as twelve channels, with a map
of the noise strength as another:

    x' = clip₀₁(shuffle₂(conv₁₂(… relu(conv₁([unshuffle₂(x), σ])))))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.defences.base import DefenceFacts, Differentiability, Parameter
from scoreguard_export.defences.jpeg_codec import extend
from scoreguard_export.defences.learned import LearnedDefence
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_DEPTH = 12
_WIDTH = 96


class _Network(nn.Module):
    """Twelve convolutions at half size; layer names are the checkpoint's."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(13, _WIDTH, 3, padding=1), nn.ReLU()]
        for _ in range(_DEPTH - 2):
            layers += [nn.Conv2d(_WIDTH, _WIDTH, 3, padding=1), nn.ReLU()]
        self.model = nn.Sequential(*layers, nn.Conv2d(_WIDTH, 12, 3, padding=1))

    def forward(self, squares: Tensor) -> Tensor:
        denoised: Tensor = self.model(squares)
        return denoised


class FfdNet(LearnedDefence):
    """Remove noise of the given strength; too high a strength smooths the image, too low leaves noise.

    An image of odd height or width is extended by its last row or column, and cropped back.

    Receptive field: 12 squares of 2 × 2 pixels in each direction; stride 2. A tile that starts at even coordinates and
    overlaps by 25 pixels gives the same pixels as the whole image.
    """

    facts = DefenceFacts(
        name="ffdnet",
        title="FFDNet denoiser",
        paper="Zhang, Zuo, Zhang: FFDNet: Toward a fast and flexible solution for CNN-based image denoising. IEEE "
        "Transactions on Image Processing 27(9) (arXiv 1710.04026)",
        year=2018,
        parameters=(
            Parameter(
                name="sigma",
                description="Standard deviation of the noise to remove, in levels of 255.",
                default=15.0,
                minimum=0.0,
                maximum=75.0,
            ),
        ),
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        "ffdnet": WeightsSource(
            licence="MIT",
            commercial=CommercialUse.YES,
            download="https://github.com/cszn/KAIR/releases/download/v1.0/ffdnet_color.pth",
            url="ffdnet_color.pth of https://github.com/cszn/KAIR, or models/FFDNet_color.mat of "
            "https://github.com/cszn/FFDNet (no licence stated), converted to the same names",
        )
    }
    reach = 25
    stride = 2

    def untrained(self) -> nn.Module:
        """Make a network with the checkpoint's names and shapes."""
        return _Network()

    def forward(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Denoise images (N, 3, H, W).

        Args:
            image: In [0, 1].
            sigma: 0-d, in levels of 255.
        """
        height, width = image.shape[2], image.shape[3]
        even = extend(image, (height + 1) // 2 * 2, (width + 1) // 2 * 2)
        squares = functional.pixel_unshuffle(even, 2)
        strength = (sigma / 255.0).to(image.dtype) * torch.ones_like(squares[:, :1])
        denoised = functional.pixel_shuffle(self.network(torch.cat([squares, strength], dim=1)), 2)
        return torch.clamp(denoised[:, :, :height, :width], 0.0, 1.0)
