"""Fixed grids of overlapping patches, and the mean of their scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def starts(length: int, side: int, stride: int, like: Tensor) -> Tensor:
    """(count,) int64: where the patches of a side begin, every `stride` pixels, the last one aligned to the border.

    Args:
        length: Number of pixels, at least `side`.
        side: Side of a patch.
        stride: Distance of neighbouring patches; the last two may be nearer.
        like: Gives the device.
    """
    count = (length - side + stride - 1) // stride + 1
    return (torch.arange(count, device=like.device) * stride).clamp(max=length - side)


def patches_of(image: Tensor, side: int, stride: int) -> Tensor:
    """(N, C, H, W) → (N · P, C, side, side), image by image, each from top to bottom; they cover the whole image."""
    tops, lefts = (starts(image.shape[dim], side, stride, image) for dim in (2, 3))
    return _cut(image, tops, lefts, side).reshape(-1, image.shape[1], side, side)


def uniform_patches(image: Tensor, side: int, count: int) -> Tensor:
    """(N, C, H, W) → (N · count, C, side, side), image by image, each from top to bottom: the grid of IQA-PyTorch.

    The room for patches in each direction is divided by √count, rounded down, and so is the quotient; as many rows and
    columns as √count, rounded up, begin at multiples of it. What there are more than `count` is left out. A strip at
    the right and at the bottom is not read.

    Args:
        image: Both sides at least `side`.
        side: Side of a patch, in pixels.
        count: Patches of each image.
    """
    places = torch.arange(math.isqrt(count - 1) + 1, device=image.device)
    tops, lefts = (places * ((image.shape[dim] - side) // math.isqrt(count)) for dim in (2, 3))
    return _cut(image, tops, lefts, side)[:, :count].reshape(-1, image.shape[1], side, side)


def _cut(image: Tensor, tops: Tensor, lefts: Tensor, side: int) -> Tensor:
    """(N, C, H, W) → (N, P, C, side, side), row by row."""
    within = torch.arange(side, device=image.device)
    rows = (tops[:, None] + within).reshape(-1)
    columns = (lefts[:, None] + within).reshape(-1)
    grid = image.index_select(2, rows).index_select(3, columns)
    apart = grid.reshape(image.shape[0], image.shape[1], rows.shape[0] // side, side, columns.shape[0] // side, side)
    return apart.permute(0, 2, 4, 1, 3, 5).reshape(image.shape[0], -1, image.shape[1], side, side)


def of_each(network: Callable[[Tensor], Tensor], patches: Tensor, count: int) -> Tensor:
    """(N · count, C, side, side) → (N · count, 1) scores, image by image.

    A large network's 1×1 convolutions sum in another order for other numbers of patches, so that all together would let
    a score depend on the images beside it. A graph, whose number of images is free, takes them all at once; a server
    on the CPU gives it one at a time.
    """
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    if traced or torch.compiler.is_exporting():
        return network(patches)
    return torch.cat([network(part) for part in torch.split(patches, count)])


def mean_of_each(scores: Tensor, image: Tensor) -> Tensor:
    """(N · P, 1) scores of patches → (N,), the mean of each image."""
    return scores.reshape(image.shape[0], -1).mean(dim=1)
