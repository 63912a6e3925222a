"""What a JPEG encoder computes before it rounds, and the way back, where the images are.

On the host `Codec` computes coefficients. The same here for arrays on a device: colours are sums of exact products, and
the one matrix product is the transform's.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from scoreguard.chain.jpeg import TO_COLOUR, TO_COMPONENTS, Codec, Floats, Planes, sum_of_squares, to_blocks
from scoreguard_client.attacks.thresholds.pushes import Waves
from scoreguard_client.oracles.arrays import Put, functions, is_host

_MIDDLE: Final = 128
_HALVES: Final = (0.5, 0.5 - 2**-16, 0.5 - 2**-16)
"""libjpeg rounds an exact half of chrominance down."""


class Transform:
    """Colours, blocks and coefficients of images of one size."""

    def __init__(self, codec: Codec, height: int, width: int, put: Put) -> None:
        self.waves = Waves.at(put)
        """The cosine transform."""
        self.steps = tuple(put(steps) for steps in codec.steps)
        """Quantisation steps of Y, Cb and Cr, each (64,)."""
        self.colours: Floats = put(TO_COLOUR)
        """Y, Cb, Cr → R, G, B, (3, 3)."""
        self.halved = codec.halved
        """Whether chrominance is halved."""
        self._codec, self._height, self._width = codec, height, width
        self._rows, self._columns = (length + -length % codec.unit for length in (height, width))
        rows, columns = np.arange(self._rows), np.arange(self._columns)
        self._nearest = put(np.minimum(rows, height - 1)), put(np.minimum(columns, width - 1))
        self._inside = put(np.outer(rows < height, columns < width).astype(np.float32))
        self._bias = put((1 + np.arange(self._columns // 2) % 2).astype(np.float32))

    def coefficients(self, levels: Floats) -> Planes:
        """Compute coefficients of 8-bit images (N, 3, H, W) in their quantisation steps, as `Codec` does."""
        if is_host(levels):
            return self._codec.coefficients(levels.astype(np.uint8))
        library = functions(levels)
        padded = self._extended(levels)
        rows = zip(TO_COMPONENTS, _HALVES, strict=True)
        planes = [library.floor(_weighted(padded, weights) + half) for weights, half in rows]
        if self.halved:
            planes[1:] = [self._half(plane) for plane in planes[1:]]
        planes[0] = planes[0] - _MIDDLE
        transform = self.waves.transform.T
        first, second, third = (to_blocks(p) @ transform / s for p, s in zip(planes, self.steps, strict=True))
        return first, second, third

    def components(self, gradient: Floats) -> list[Floats]:
        """Differentiate with respect to Y, Cb and Cr, each (N, rows, columns), before chrominance is doubled."""
        padded = self.padded(gradient)
        if is_host(gradient):
            return list(np.einsum("dc,ndhw->cnhw", TO_COLOUR, padded))
        return [_weighted(padded, weights) for weights in TO_COLOUR.T]

    def padded(self, planes: Floats) -> Floats:
        """Extend (..., H, W) by zeros to whole cells."""
        if is_host(planes):
            margins = [(0, self._rows - self._height), (0, self._columns - self._width)]
            return np.pad(planes, [(0, 0)] * (planes.ndim - 2) + margins)
        padded: Floats = self._extended(planes) * self._inside
        return padded

    def cropped(self, planes: Floats) -> Floats:
        """Cut (..., rows, columns) to the image."""
        return planes[..., : self._height, : self._width]

    def _extended(self, planes: Floats) -> Floats:
        rows, columns = self._nearest
        library = functions(planes)
        extended: Floats = library.take(library.take(planes, rows, axis=-2), columns, axis=-1)
        return extended

    def _half(self, planes: Floats) -> Floats:
        library = functions(planes)
        halved: Floats = library.floor((sum_of_squares(planes) + self._bias) / 4)
        # The encoder repeats the last row after halving, but the last column before it.
        last = (self._height + 1) // 2
        halved[:, last:] = halved[:, last - 1 : last]
        return halved


def repeated(planes: Floats, times: int) -> Floats:
    """Repeat each value of (..., h, w) as a square of times x times."""
    library = functions(planes)
    squares: Floats = library.repeat(library.repeat(planes, times, axis=-2), times, axis=-1)
    return squares


def _weighted(planes: Floats, weights: Floats) -> Floats:
    """Sum the channels of (N, 3, H, W), each times its weight."""
    red, green, blue = (planes[:, index] * float(weight) for index, weight in enumerate(weights))
    total = red + green + blue
    return np.asarray(total) if is_host(total) else total  # pyright: ignore[reportReturnType]
