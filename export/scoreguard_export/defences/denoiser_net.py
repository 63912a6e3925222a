"""The network of the diffusion purifier: given the noise level, it estimates the noise.

    x̂ = x − σ·n(x, σ)

n is a U-Net of plain residual blocks, x + conv(relu(conv(x))), at a half, a quarter and an eighth of the size: pixels
are gathered two by two at the input and spread again at the output, as in FFDNet (Zhang et al. 2018), and skips are
added, not concatenated, as in DRUNet (Zhang et al. 2021). At each change of size, every channel is scaled and shifted
by functions of log σ; scales are exponentials, so 1/σ is linear to learn. There are no norm layers: the output for a
pixel depends only on its neighbourhood.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.defences.jpeg_codec import extend

LOWEST, HIGHEST = 0.6 / 255.0, 70.0 / 255.0
"""Range of noise, for images in [0, 1], that the network is trained on: σ_t of the linear schedule is 1.3 / 255 at step
1 and 66.1 / 255 at step 150. Below the lowest, the network is given the lowest."""

STRIDE = 8
"""Height and width are extended to multiples of this, by repeating the last row and column."""

WIDTHS = (64, 96, 128)
"""Channels at a half, a quarter and an eighth of the size."""

_BLOCKS = 2
_EMBEDDING = 32


class _Residual(nn.Module):
    """x + conv(relu(conv(x)))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)
        _shrink(self.second)

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = features + self.second(torch.relu_(self.first(features)))
        return changed


class _Modulation(nn.Module):
    """features · exp(a(σ)) + b(σ), channel by channel; at first the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(_EMBEDDING, 2 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        log_scale, shift = self.linear(embedding)[:, :, None, None].chunk(2, dim=1)
        # Scales in a wider type than the features would widen the features, at half the speed.
        return torch.addcmul(shift.to(features.dtype), features, torch.exp(log_scale).to(features.dtype))


class _Stage(nn.Module):
    """A change of size, the modulation, and the residual blocks."""

    def __init__(self, resize: nn.Module, width: int) -> None:
        super().__init__()
        self.resize = resize
        self.modulation = _Modulation(width)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(_BLOCKS)))

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        changed: Tensor = self.blocks(self.modulation(self.resize(features), embedding))
        return changed


class _Rise(nn.Module):
    """Doubling of the size with the skip connection added, and the residual blocks."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.modulation = _Modulation(inputs)
        self.resize = nn.ConvTranspose2d(inputs, width, 2, stride=2)
        self.blocks = nn.Sequential(*(_Residual(width) for _ in range(_BLOCKS)))

    def forward(self, features: Tensor, beside: Tensor, embedding: Tensor) -> Tensor:
        # Modulate before the enlargement, at the smaller size.
        risen = self.resize(self.modulation(features, embedding))
        changed: Tensor = self.blocks(risen + beside)
        return changed


class DenoiserNetwork(nn.Module):
    """Estimates the noise in images of any size, or removes it."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth = WIDTHS
        # 6 × 6 in steps of 2 is 3 × 3 on squares of 2 × 2 pixels.
        self.down1 = _Stage(nn.Conv2d(3, half, 6, stride=2, padding=2), half)
        self.down2 = _Stage(nn.Conv2d(half, quarter, 2, stride=2), quarter)
        self.down3 = _Stage(nn.Conv2d(quarter, eighth, 2, stride=2), eighth)
        self.up2 = _Rise(eighth, quarter)
        self.up1 = _Rise(quarter, half)
        self.tail = nn.Conv2d(half, 12, 3, padding=1)
        self.last = _Modulation(12)
        _shrink(self.tail)
        self.embedding = nn.Sequential(nn.Linear(1, _EMBEDDING), nn.SiLU(), nn.Linear(_EMBEDDING, _EMBEDDING))

    def forward(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Remove the noise from images.

        Args:
            image: (N, 3, H, W), images in [0, 1] with noise added; not clipped.
            sigma: The noise's standard deviation, 0-d or (N,); 0 returns the images unchanged.

        Returns:
            (N, 3, H, W), about in [0, 1]; not clipped.
        """
        return image - sigma.to(image.dtype).reshape(-1, 1, 1, 1) * self.noise(image, sigma)

    def noise(self, image: Tensor, sigma: Tensor) -> Tensor:
        """Estimate the noise in units of its standard deviation, (N, 3, H, W)."""
        height, width = image.shape[2], image.shape[3]
        whole = extend(image, (height + 7) // 8 * 8, (width + 7) // 8 * 8)
        embedding = self._embedded(sigma.to(image.dtype))
        half = self.down1((whole - 0.5) * 2.0, embedding)
        quarter = self.down2(half, embedding)
        eighth = self.down3(quarter, embedding)
        risen = self.up1(self.up2(eighth, quarter, embedding), half, embedding)
        squares = self.last(self.tail(risen), embedding)
        estimate: Tensor = functional.pixel_shuffle(squares, 2)[:, :, :height, :width]
        return estimate

    def _embedded(self, sigma: Tensor) -> Tensor:
        """Embed log σ, scaled to [−1, 1] over the training range: (N or 1, _EMBEDDING)."""
        middle, reach = 0.5 * (_LOG_HIGH + _LOG_LOW), 0.5 * (_LOG_HIGH - _LOG_LOW)
        # Not 0-d: a traced graph keeps numbers as double-precision tensors, which would make a 0-d tensor double too.
        level = (torch.log(torch.clamp(sigma.reshape(-1, 1), min=LOWEST)) - middle) / reach
        embedding: Tensor = self.embedding(level)
        return embedding


_LOG_LOW: float = math.log(LOWEST)
_LOG_HIGH: float = math.log(HIGHEST)


def _shrink(layer: nn.Conv2d) -> None:
    """Start near the identity, so that deep stacks of residual blocks train at a high rate."""
    with torch.no_grad():
        layer.weight.mul_(0.1)
