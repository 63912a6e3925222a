"""The centre of an image that was resized to a shorter side, as torchvision's `Resize` and `CenterCrop` make it.

Both are linear and separable, so only the rows and columns inside the crop are computed, at any size and in every
engine. Positions are in double precision, as in `metrics.resize`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from scoreguard_export.metrics.resize import smaller

_Kernel = Callable[[Tensor], Tensor]
"""From absolute distances, in pixels of the smaller image, to weights."""


def bilinear_centre(image: Tensor, side: int) -> Tensor:
    """(N, C, H, W) → (N, C, side, side): the shorter side becomes `side`, by Pillow's BILINEAR; the longer one is cut.

    Smaller images are enlarged.
    """
    down, across = _both(image, side, _triangle)
    return torch.matmul(down, torch.matmul(image, across.t()))


def bicubic_centre(image: Tensor, side: int) -> Tensor:
    """(N, C, H, W) in [0, 1] → (N, C, side, side): as `bilinear_centre`, by Pillow's BICUBIC.

    It overshoots at edges. As in Pillow, what leaves [0, 1] is cut off after each direction; its rounding to 8 bits,
    which has no derivative, is left out.
    """
    down, across = _both(image, side, _cubic)
    return torch.matmul(down, torch.matmul(image, across.t()).clamp(0.0, 1.0)).clamp(0.0, 1.0)


def _triangle(distance: Tensor) -> Tensor:
    return torch.clamp(1.0 - distance, min=0.0)


def _cubic(distance: Tensor) -> Tensor:
    """Cubic convolution (Keys) with a = −½: 0 from two pixels on."""
    near = (1.5 * distance - 2.5) * distance.square() + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return torch.where(distance < 1.0, near, torch.where(distance < 2.0, far, torch.zeros_like(far)))


def _both(image: Tensor, side: int, kernel: _Kernel) -> tuple[Tensor, Tensor]:
    """(side, H) and (side, W) weights."""
    height, width = image.shape[2], image.shape[3]
    shorter = smaller(height, width)
    down, across = (_weights(length, length * side // shorter, side, kernel, image) for length in (height, width))
    return down, across


def _weights(length: int, target: int, side: int, kernel: _Kernel, like: Tensor) -> Tensor:
    """(side, length): weights of the `side` pixels in the middle of `target` ones."""
    left = target - side
    start = left // 2 + left % 4 // 3  # half of it, a half rounded to the even number
    pixels = torch.arange(length, dtype=torch.float64, device=like.device)
    places = torch.arange(side, dtype=torch.float64, device=like.device) + start
    scale = torch.ones_like(places) * length / target
    distances = (pixels[None, :] + 0.5) - ((places + 0.5) * scale)[:, None]
    weights = kernel(distances.abs() / scale.clamp(min=1.0)[:, None])
    return (weights / weights.sum(dim=1, keepdim=True)).to(like.dtype)
