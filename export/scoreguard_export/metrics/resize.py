"""Bilinear resizing as Pillow and scikit-image do it, at any size, in every engine.

Positions and weights are computed in double precision, in which an image of any size has exact ones; pixel centres are
at half integers. Sizes are whole numbers in Python, and of unknown value where a graph is captured, hence no branches.
"""

from __future__ import annotations

import torch
from torch import Tensor


def smaller(first: int, second: int) -> int:
    """Return the smaller of two sizes; `min` would decide for good while a graph is captured."""
    return (first + second - abs(first - second)) // 2


def with_shorter_side(height: int, width: int, side: int) -> tuple[int, int]:
    """Return the size with `side` as its shorter side, the longer one rounded down; a smaller size stays as it is.

    torchvision's `Resize(side)` gives the same, and enlarges smaller images too.
    """
    shorter = smaller(height, width)
    wanted = smaller(shorter, side)
    return height * wanted // shorter, width * wanted // shorter


def triangle_weights(length: int, target: int, like: Tensor) -> Tensor:
    """(target, length): the weights of Pillow's BILINEAR, a triangle as wide as the reduction, cut off at the borders.

    Args:
        length: Number of pixels.
        target: Number of pixels afterwards.
        like: Gives type and device.
    """
    pixels = torch.arange(length, dtype=torch.float64, device=like.device)
    places = torch.arange(target, dtype=torch.float64, device=like.device)
    scale = torch.ones_like(places) * length / target
    distances = (pixels[None, :] + 0.5) - ((places + 0.5) * scale)[:, None]
    weights = torch.clamp(1.0 - distances.abs() / scale.clamp(min=1.0)[:, None], min=0.0)
    return (weights / weights.sum(dim=1, keepdim=True)).to(like.dtype)


def pillow_bilinear(image: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) → (N, C, height, width) by Pillow's BILINEAR, without its rounding to 8 bits.

    Pillow rounds after each direction, which has no derivative: on 8-bit images it differs by less than a level.
    """
    narrow = torch.matmul(image, triangle_weights(image.shape[3], width, image).t())
    return torch.matmul(triangle_weights(image.shape[2], height, image), narrow)


def two_tap_bilinear(image: Tensor, height: int, width: int) -> Tensor:
    """(N, C, H, W) → (N, C, height, width) from the two nearest pixels in each direction; edges are repeated.

    scikit-image's `resize` with `order=1`, `mode="edge"` and `anti_aliasing=False` gives the same.
    """
    return _between(_between(image, 2, height), 3, width)


def _between(image: Tensor, dim: int, target: int) -> Tensor:
    length = image.shape[dim]
    places = torch.arange(target, dtype=torch.float64, device=image.device)
    position = ((places + 0.5) * length / target - 0.5).clamp(min=0.0, max=length - 1)
    first = position.to(torch.int64)
    second = (first + 1).clamp(max=length - 1)
    share = (position - first).to(image.dtype)
    if dim == 2:
        share = share[:, None]
    return image.index_select(dim, first) * (1.0 - share) + image.index_select(dim, second) * share
