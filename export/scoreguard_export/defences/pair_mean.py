"""A weighted mean of the pixels around each pixel, for symmetric weights.

With w(p, q) = w(q, p), one map of weights serves an offset and its opposite, so half of the offsets are enough. Each
adds w·(x(q) − x(p)) to p, and subtracts it from q; the mean is x(p) and the quotient of the sums.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from torch.nn import functional

from scoreguard_export.defences.base import Defence
from scoreguard_export.defences.straight_through import straight_through


class PairMean(Defence):
    """Such a mean, tile by tile: the data of one tile stay in a core's cache."""

    def __init__(self, *, around: int, **structural: float) -> None:
        """Set how many pixels around a pair the weight depends on."""
        super().__init__(**structural)
        self.around = around
        self.tile = 160

    @abstractmethod
    def exponent(self, difference: Tensor, square_distance: int, scales: list[Tensor]) -> Tensor:
        """Map differences (N, 3, H, W) of all pairs of one offset to the logarithm of their weights (N, 1, H', W').

        Args:
            difference: With `around` pixels more than the weights on every side.
            square_distance: Squared length of the offset, in pixels.
            scales: The scales that the defence passed to `mean`.
        """

    def mean(self, image: Tensor, offsets: list[tuple[int, int]], reach: int, scales: list[Tensor]) -> Tensor:
        """Average images (N, 3, H, W) over the offsets (down, right), their opposites and the centre.

        Args:
            image: In [0, 1].
            offsets: Those after the centre, in reading order.
            reach: At least the distance of the farthest offset.
            scales: 0-d, passed to `exponent`.
        """
        margin = reach + self.around
        padded = functional.pad(image, [margin, margin, margin, margin], mode="reflect")
        height, width = self._side(image.shape[2]), self._side(image.shape[3])
        items: list[Tensor] = []
        # Small images together, large ones one by one.
        for group in torch.split(padded, max(1, self.tile * self.tile // (height * width))):
            rows: list[Tensor] = []
            for top in range(0, image.shape[2], height):
                band = group[:, :, top : top + height + 2 * margin]
                tiles = [
                    self._tile(band[:, :, :, left : left + width + 2 * margin], offsets, margin, scales)
                    for left in range(0, image.shape[3], width)
                ]
                rows.append(torch.cat(tiles, dim=3))
            items.append(torch.cat(rows, dim=2))
        return items[0] if len(items) == 1 else torch.cat(items)

    def _side(self, length: int) -> int:
        """Return the side of equal tiles, no larger than the limit."""
        count = (length + self.tile - 1) // self.tile
        return (length + count - 1) // count

    def _tile(self, padded: Tensor, offsets: list[tuple[int, int]], margin: int, scales: list[Tensor]) -> Tensor:
        height, width = padded.shape[2] - 2 * margin, padded.shape[3] - 2 * margin
        own = padded[:, :, margin : margin + height, margin : margin + width]
        total, weights = torch.zeros_like(own), torch.ones_like(own[:, :1])
        around = self.around
        for down, right in offsets:
            # All pairs with a pixel of the tile; the first of them is above, or to the left or the right.
            rows, columns, first = height + down, width + abs(right), max(right, 0)
            top, left, more = margin - down - around, margin - first - around, 2 * around
            here = padded[:, :, top : top + rows + more, left : left + columns + more]
            there = padded[:, :, top + down :, left + right :][:, :, : rows + more, : columns + more]
            difference = there - here
            logarithm = self.exponent(difference, down * down + right * right, scales)
            # Far below any weight that counts; past −87 it would be a subnormal number, slow to compute with.
            weight = torch.exp(torch.clamp(logarithm, min=-60.0))
            weighted = weight * difference[:, :, around : around + rows, around : around + columns]
            second = first - right
            total.add_(weighted[:, :, down:, first : first + width])
            total.sub_(weighted[:, :, :height, second : second + width])
            weights.add_(weight[:, :, down:, first : first + width])
            weights.add_(weight[:, :, :height, second : second + width])
        mean = own + total / weights
        # A weighted mean leaves the range only by rounding.
        return straight_through(mean, torch.clamp(mean, 0.0, 1.0))
