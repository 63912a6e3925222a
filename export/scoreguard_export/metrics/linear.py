"""Linear layers and convolutions whose result for an image does not depend on the images beside it, to the last bit."""

from __future__ import annotations

from typing import Final, Self

import torch
from torch import Tensor, nn
from torch.nn import functional


def row_products(rows: Tensor, weight: Tensor) -> Tensor:
    """(N, inputs), (outputs, inputs) → (N, outputs): a matrix product sums one row in another order than three."""
    return (rows[:, None, :] * weight).sum(dim=2)


class RowLinear(nn.Linear):
    """A linear layer, row by row."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs) → (N, outputs)."""
        return row_products(input, self.weight) + self.bias


_ROWS: Final = 4
"""Rows that a matrix product takes at once; those left over are summed in another order."""


class WideLinear(nn.Linear):
    """A linear layer too large, or of too many rows, to be computed row by row: with rows repeated up to fours.

    As a convolution of maps of one pixel it would be slower, and oneDNN sums in another order from 15 rows on.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(N, inputs) → (N, outputs)."""
        more = torch.cat([input, input[0].expand(_ROWS - 1, -1)])  # of a first row that surely is there: exporters ask
        fours = more[: more.shape[0] // _ROWS * _ROWS]
        return functional.linear(fours, self.weight, self.bias)[: input.shape[0]]


class RowConv2d(nn.Conv2d):
    """A convolution of stride 1 that keeps the size, as one product of each cell's neighbourhood with the weights.

    oneDNN chooses another order of sums for one image than for three at some shapes of map and kernel: of the Inception
    networks', 1×3 and 3×1 kernels on 8×8 cells.
    """

    @classmethod
    def of(cls, layer: nn.Conv2d) -> Self:
        """Return the same convolution, of an odd kernel and without bias, with the same weights."""
        height, width = layer.weight.shape[2:]
        convolution = cls(
            layer.in_channels, layer.out_channels, (height, width), padding=(height // 2, width // 2), bias=False
        )
        convolution.weight = layer.weight
        return convolution

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, H, W) → (N, outputs, H, W)."""
        rows, columns = self.weight.shape[2:]
        around = (columns // 2, columns // 2, rows // 2, rows // 2)
        padded = functional.pad(input, around).permute(0, 2, 3, 1)
        height, width = input.shape[2], input.shape[3]
        taps = [padded[:, top : top + height, left : left + width] for top in range(rows) for left in range(columns)]
        weights = self.weight.permute(0, 2, 3, 1).flatten(1)
        return functional.linear(torch.cat(taps, dim=3), weights).permute(0, 3, 1, 2)
