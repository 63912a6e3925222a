"""A small fully convolutional filter as a purification, learned from attacked images and their originals.

    g(x) = clamp(tanh(conv(lrelu(norm(conv(lrelu(conv(x))))))), 0, 1)

Three 3×3 convolutions, 3 → 64 → 16 → 3, zeros around the border; lrelu has the slope 0.2; norm gives each channel of
each image mean 0 and variance 1, so a pixel's result depends on the whole image. There is no residual path: the image
itself passes through the filter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from scoreguard_export.defences.base import DefenceFacts, Differentiability
from scoreguard_export.defences.shipped import SHIPPED, ShippedDefence
from scoreguard_export.weights.source import CommercialUse, WeightsSource

_WIDE, _NARROW, _SLOPE = 64, 16, 0.2

_CHUNK = 16
"""Number of wide channels in memory at once: all 64 of a 12-megapixel image would take 3 GB."""

_EPSILON = 1e-5
"""Added to a variance, as in torch's InstanceNorm2d."""


class FilterNetwork(nn.Module):
    """The layers, with the names of the official checkpoint, up to the tanh."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, _WIDE, 3, padding=1)
        self.conv2 = nn.Conv2d(_WIDE, _NARROW, 3, padding=1)
        self.conv3 = nn.Conv2d(_NARROW, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(N, 3, H, W) → the same, in [−1, 1]."""
        narrow = functional.leaky_relu(_normalised(self._narrowed(image)), _SLOPE)
        filtered: Tensor = self.conv3(narrow)
        return torch.tanh(filtered)

    def _narrowed(self, image: Tensor) -> Tensor:
        """Return conv2(lrelu(conv1(x))), summed over chunks of the intermediate channels."""
        weights, bias, after = self.conv1.weight, self.conv1.bias, self.conv2.weight
        narrow = torch.zeros(0, device=image.device)
        for first in range(0, _WIDE, _CHUNK):
            last = first + _CHUNK
            # `bias` is optional for the compiler, but always present.
            wide = functional.conv2d(image, weights[first:last], None if bias is None else bias[first:last], padding=1)
            wide = functional.leaky_relu(wide, _SLOPE)
            part = functional.conv2d(wide, after[:, first:last], None if first else self.conv2.bias, padding=1)
            # The running sum is the second operand: ONNX Runtime computes it first, so it never holds all parts at
            # once.
            narrow = part + narrow if first else part
        return narrow


def _normalised(features: Tensor) -> Tensor:
    """Apply InstanceNorm without parameters; torch's own rejects a single pixel."""
    centred = features - features.mean(dim=(2, 3), keepdim=True)
    return centred * torch.rsqrt(torch.square(centred).mean(dim=(2, 3), keepdim=True) + _EPSILON)


class FcnFilter(ShippedDefence):
    """Filter images with the learned network.

    The norm covers the whole image, so the filter must not run in tiles.
    """

    facts = DefenceFacts(
        name="fcn-filter",
        title="FCN filter",
        paper="Gushchin et al.: Adversarial purification for no-reference image-quality metrics (arXiv 2404.06957)",
        year=2024,
        differentiability=Differentiability.EXACT,
        size_preserving=True,
        minimum_size=1,
        parity_tolerance=1e-4,
    )
    sources: ClassVar[Mapping[str, WeightsSource]] = {
        "fcn-filter": WeightsSource(
            licence="Apache-2.0",
            commercial=CommercialUse.YES,
            shipped=SHIPPED / "fcn_filter.safetensors",
            url="what `scoreguard-export train fcn-filter` writes, or the study's own fcn_mse.pth",
        )
    }
    reach = None

    def untrained(self) -> nn.Module:
        """Make the network of the weights."""
        return FilterNetwork()

    def forward(self, image: Tensor) -> Tensor:
        """Filter images (N, 3, H, W)."""
        filtered: Tensor = self.network(image)
        return torch.clamp(filtered, 0.0, 1.0)
