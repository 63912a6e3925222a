"""The thresholds of a JPEG encoder's quantisation, for luminance and chrominance at 4:2:0 and 4:4:4.

Luminance changes by the same whole levels in R, G and B, which leaves chrominance unchanged. The remaining room goes to
Cb and to Cr along the colour directions that leave the other components unchanged, rounded to whole levels. The true
gain of a cell, one minimum coded unit, is recomputed with the encoder's own rounding: the cell takes luminance alone,
or with one or both of the others, or stays unchanged.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

from scoreguard.chain.jpeg import BLOCK, TO_COLOUR, Codec, Floats, Planes, from_blocks, sum_of_squares, to_blocks
from scoreguard_client.attacks.thresholds.base import Changes, Room
from scoreguard_client.attacks.thresholds.pushes import Blocks
from scoreguard_client.attacks.thresholds.transform import Transform, repeated
from scoreguard_client.oracles.arrays import Put, float32, functions, unchanged
from scoreguard_client.oracles.base import Gradients

_PLACES: Final = BLOCK * BLOCK


class JpegThresholds:
    """Thresholds of images of one size before one codec."""

    def __init__(self, codec: Codec, room: Room, put: Put = unchanged) -> None:
        """Prepare for a codec.

        Args:
            codec: what rounds.
            room: the images, where `put` copies arrays.
            put: copies arrays to where the attack computes.
        """
        self.cell = codec.unit
        self._room, (self._height, width) = room, room.levels.shape[2:]
        self._transform = Transform(codec, self._height, width, put)

    def pushed(self, gradient: Gradients) -> Changes:
        """Return the best of no change, luminance, and luminance with chrominance, cell by cell."""
        library, gains = functions(gradient), self._gains(gradient)
        best: Changes = library.zeros_like(self._room.low)
        changes = best
        most = self._gain(best, gains)
        for component in range(3):
            changes = self._with(changes, component, gains[component])
            gain = self._gain(changes, gains)
            better = self._transform.cropped(repeated(float32(gain > most), self.cell)) > 0
            best, most = library.where(better[:, None], changes, best), library.maximum(gain, most)
            # The next component adds to the changes that gained.
            changes = best
        return best

    @cached_property
    def _clean(self) -> Planes:
        return self._transform.coefficients(self._room.levels)

    def _gains(self, gradient: Gradients) -> Planes:
        """Compute the derivative with respect to each coefficient, per quantisation step: (N, rows, columns, 64)."""
        luminance, *chrominance = self._transform.components(gradient)
        if self._transform.halved:
            chrominance = [sum_of_squares(plane) for plane in chrominance]
        first, second, third = (
            to_blocks(plane) @ self._transform.waves.transform.T * steps
            for plane, steps in zip((luminance, *chrominance), self._transform.steps, strict=True)
        )
        return first, second, third

    def _with(self, changes: Changes, component: int, gains: Floats) -> Changes:
        """Add the changes of one component."""
        library, transform = functions(changes), self._transform
        low, high = self._bounds(changes, component)
        coefficients = self._clean[component]
        blocks = Blocks(
            coefficients=coefficients.reshape(-1, _PLACES),
            steps=transform.steps[component],
            low=to_blocks(low).reshape(-1, _PLACES),
            high=to_blocks(high).reshape(-1, _PLACES),
            whole=component == 0,
            waves=transform.waves,
        )
        samples = from_blocks(blocks.pushed(gains.reshape(-1, _PLACES)).reshape(coefficients.shape))
        if self._halves(component):
            samples = repeated(samples, 2)
        weights = transform.colours[:, component, None, None]
        moved = changes + library.round(weights * transform.cropped(samples)[:, None])
        cut: Changes = library.clip(moved, self._room.low, self._room.high)
        return cut

    def _bounds(self, changes: Changes, component: int) -> tuple[Floats, Floats]:
        """Return the lowest and highest change of each sample of a component, (N, rows, columns); none beyond it."""
        library = functions(changes)
        used = [channel for channel in range(3) if TO_COLOUR[channel, component]]
        down, up = self._room.low - changes, self._room.high - changes
        ends = [self._ends(down, up, channel, component) for channel in used]
        low, high = ends[0]
        for lower, upper in ends[1:]:
            low, high = library.maximum(low, lower), library.minimum(high, upper)
        low, high = self._transform.padded(low), self._transform.padded(high)
        if self._halves(component):
            corners = [(..., slice(row, None, 2), slice(column, None, 2)) for row in (0, 1) for column in (0, 1)]
            low = library.max(library.stack([low[corner] for corner in corners]), axis=0)
            high = library.min(library.stack([high[corner] for corner in corners]), axis=0)
        return library.clip(low, None, 0), library.clip(high, 0, None)

    def _ends(self, down: Changes, up: Changes, channel: int, component: int) -> tuple[Floats, Floats]:
        """Return how far a component may go down and up until a channel ends, (N, H, W)."""
        # A weight that is an array divides exactly; a device multiplies by the reciprocal of a number.
        weight = self._transform.colours[channel, component].reshape(1, 1, 1)
        one, other = down[:, channel] / weight, up[:, channel] / weight
        return (one, other) if TO_COLOUR[channel, component] > 0 else (other, one)

    def _gain(self, changes: Changes, gains: Planes) -> Floats:
        """Compute each cell's gain, (N, rows of cells, columns of cells)."""
        library = functions(changes)
        after = self._transform.coefficients(self._room.levels + changes)
        luminance, *chrominance = (
            self._cells(library.sum((library.round(now) - library.round(clean)) * gain, axis=-1))
            for now, clean, gain in zip(after, self._clean, gains, strict=True)
        )
        return luminance + chrominance[0] + chrominance[1]  # pyright: ignore[reportReturnType]

    def _cells(self, blocks: Floats) -> Floats:
        """Sum one number per block, (N, rows, columns), over the blocks of a cell."""
        return blocks if blocks.shape[1] == -(-self._height // self.cell) else sum_of_squares(blocks)

    def _halves(self, component: int) -> bool:
        return component > 0 and self._transform.halved
