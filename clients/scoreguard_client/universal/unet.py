"""The generator of generative-uap: a U-Net (Ronneberger et al., 2015) in the form of pix2pix (Isola et al., CVPR 2017).

Convolutions of 4 x 4 with stride 2 halve the image down to one pixel, transposed ones double it back, and every
level passes its features across. At 256 x 256 that is 8 levels of 64, 128, 256 and then 512 channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_MOST: int = 8
"""Channels of the widest levels, as a multiple of the first one's."""
_DROPPED_FROM: int = 4
"""The first level whose decoder drops features; the innermost one drops none."""


class UNet(nn.Module):
    """(N, 3, S, S) in [0, 1] -> (N, 3, S, S) in (-1, 1), S a power of two."""

    def __init__(self, size: int, width: int = 64) -> None:
        """Build the levels.

        Args:
            size: S; log2(S) levels.
            width: channels of the first level; 64 in pix2pix.
        """
        super().__init__()
        levels = size.bit_length() - 1
        channels = [3, *(width * min(2**level, _MOST) for level in range(levels))]
        self.down = nn.ModuleList(_down(channels, level) for level in range(levels))
        self.up = nn.ModuleList(_up(channels, level) for level in range(levels))

    def forward(self, image: Tensor) -> Tensor:
        """Draw an image."""
        features = [image]
        for down in self.down:
            features.append(down(features[-1]))
        drawn: Tensor = features.pop()
        for level in reversed(range(len(self.up))):
            drawn = self.up[level](drawn)
            drawn = torch.cat([features[level], drawn], dim=1) if level else drawn
        return drawn


def _down(channels: list[int], level: int) -> nn.Sequential:
    before, after = channels[level], channels[level + 1]
    layers: list[nn.Module] = [nn.LeakyReLU(0.2)] if level else []
    layers.append(nn.Conv2d(before, after, kernel_size=4, stride=2, padding=1))
    if 0 < level < len(channels) - 2:  # One pixel cannot be normalised.
        layers.append(nn.InstanceNorm2d(after))
    return nn.Sequential(*layers)


def _up(channels: list[int], level: int) -> nn.Sequential:
    innermost = level == len(channels) - 2
    before, after = channels[level + 1] * (1 if innermost else 2), channels[level]
    layers: list[nn.Module] = [nn.ReLU(), nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1)]
    layers.append(nn.InstanceNorm2d(after) if level else nn.Tanh())
    if level >= _DROPPED_FROM and not innermost:
        layers.append(nn.Dropout(0.5))
    return nn.Sequential(*layers)
