"""A fixed grid of overlapping patches that covers the whole image, and the mean of their scores."""

from __future__ import annotations

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
    """(N, C, H, W) → (N · P, C, side, side), image by image, each from top to bottom."""
    tops, lefts = (starts(length, side, stride, image) for length in (image.shape[2], image.shape[3]))
    return patches_at(image, side, tops, lefts)


def patches_at(image: Tensor, side: int, tops: Tensor, lefts: Tensor) -> Tensor:
    """(N, C, H, W) → (N · R · Q, C, side, side): patches at every top with every left, image by image.

    Args:
        image: The images.
        side: Side of a patch.
        tops: (R,) int64, first rows.
        lefts: (Q,) int64, first columns.
    """
    within = torch.arange(side, device=image.device)
    rows = (tops[:, None] + within).reshape(-1)
    columns = (lefts[:, None] + within).reshape(-1)
    grid = image.index_select(2, rows).index_select(3, columns)
    apart = grid.reshape(image.shape[0], image.shape[1], rows.shape[0] // side, side, columns.shape[0] // side, side)
    return apart.permute(0, 2, 4, 1, 3, 5).reshape(-1, image.shape[1], side, side)


def mean_of_each(scores: Tensor, image: Tensor) -> Tensor:
    """(N · P, 1) scores of patches → (N,), the mean of each image."""
    return scores.reshape(image.shape[0], -1).mean(dim=1)
