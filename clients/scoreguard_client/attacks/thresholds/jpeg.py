"""The thresholds of a JPEG encoder's quantisation, for luminance and chrominance at 4:2:0 and 4:4:4.

Luminance changes by the same whole levels in R, G and B, which leaves chrominance unchanged. The remaining room goes to
Cb and to Cr along the colour directions that leave the other components unchanged, rounded to whole levels. The true
gain of a cell, one minimum coded unit, is recomputed with the encoder's own rounding: the cell takes luminance alone,
or with one or both of the others, or stays unchanged.
"""

from __future__ import annotations

from functools import cached_property
from typing import Final

import numpy as np

from scoreguard.chain.jpeg import (
    BLOCK,
    TO_COLOUR,
    TRANSFORM,
    Codec,
    Floats,
    Planes,
    from_blocks,
    repeated,
    sum_of_squares,
    to_blocks,
)
from scoreguard_client.attacks.thresholds.base import Changes, Room
from scoreguard_client.attacks.thresholds.pushes import Blocks
from scoreguard_client.oracles.base import Gradients

_PLACES: Final = BLOCK * BLOCK


class JpegThresholds:
    """Thresholds of one image before one codec."""

    def __init__(self, codec: Codec, room: Room) -> None:
        self.cell = codec.unit
        self._codec, self._room = codec, room

    def pushed(self, gradient: Gradients) -> Changes:
        """Return the best of no change, luminance, and luminance with chrominance, cell by cell."""
        gains = self._gains(gradient)
        best, changes = np.zeros_like(self._room.low), np.zeros_like(self._room.low)
        most = self._gain(best, gains)
        for component in range(3):
            changes = self._with(changes, component, gains[component])
            gain = self._gain(changes, gains)
            better = self._cropped(repeated(np.asarray(gain > most, dtype=np.float32), self.cell)) > 0
            best, most = np.where(better, changes, best), np.maximum(gain, most)
            # The next component adds to the changes that gained.
            changes = best
        return best

    @cached_property
    def _clean(self) -> Planes:
        return self._codec.coefficients(self._room.levels[None])

    def _gains(self, gradient: Gradients) -> Planes:
        """Compute the derivative with respect to each coefficient, per quantisation step: (1, rows, columns, 64)."""
        planes = np.einsum("dc,dhw->chw", TO_COLOUR, self._padded(gradient))
        luminance, *chrominance = planes
        if self._codec.halved:
            chrominance = [sum_of_squares(plane) for plane in chrominance]
        first, second, third = (
            to_blocks(plane[None]) @ TRANSFORM.T * steps
            for plane, steps in zip((luminance, *chrominance), self._codec.steps, strict=True)
        )
        return first, second, third

    def _with(self, changes: Changes, component: int, gains: Floats) -> Changes:
        """Add the changes of one component."""
        low, high = self._bounds(changes, component)
        coefficients = self._clean[component]
        blocks = Blocks(
            coefficients=coefficients.reshape(-1, _PLACES),
            steps=self._codec.steps[component],
            low=to_blocks(low[None]).reshape(-1, _PLACES),
            high=to_blocks(high[None]).reshape(-1, _PLACES),
            whole=component == 0,
        )
        samples = from_blocks(blocks.pushed(gains.reshape(-1, _PLACES)).reshape(coefficients.shape))[0]
        if self._halves(component):
            samples = repeated(samples, 2)
        moved: Changes = changes + np.rint(TO_COLOUR[:, component, None, None] * self._cropped(samples))
        return np.clip(moved, self._room.low, self._room.high)

    def _bounds(self, changes: Changes, component: int) -> tuple[Floats, Floats]:
        """Return the lowest and highest change of each sample of a component; none beyond the image."""
        weights = TO_COLOUR[:, component, None, None]
        used = weights != 0
        down, up = self._room.low - changes, self._room.high - changes
        weights = np.where(used, weights, 1)
        ends = np.where(weights > 0, down, up) / weights, np.where(weights > 0, up, down) / weights
        low = self._padded(np.where(used, ends[0], -np.inf).max(axis=0))
        high = self._padded(np.where(used, ends[1], np.inf).min(axis=0))
        if self._halves(component):
            corners = [(slice(row, None, 2), slice(column, None, 2)) for row in (0, 1) for column in (0, 1)]
            low, high = np.max([low[corner] for corner in corners], 0), np.min([high[corner] for corner in corners], 0)
        return np.minimum(low, 0), np.maximum(high, 0)

    def _gain(self, changes: Changes, gains: Planes) -> Floats:
        """Compute each cell's gain, (rows of cells, columns of cells)."""
        after = self._codec.coefficients((self._room.levels + changes).astype(np.uint8)[None])
        per_component = [
            self._cells(((np.rint(now) - np.rint(clean)) * gain).sum(axis=-1)[0])
            for now, clean, gain in zip(after, self._clean, gains, strict=True)
        ]
        return np.asarray(sum(per_component))

    def _cells(self, blocks: Floats) -> Floats:
        """Sum one number per block, (rows, columns), over the blocks of a cell."""
        return blocks if len(blocks) == -(-self._room.levels.shape[1] // self.cell) else sum_of_squares(blocks)

    def _halves(self, component: int) -> bool:
        return component > 0 and self._codec.halved

    def _padded(self, planes: Floats) -> Floats:
        height, width = planes.shape[-2:]
        margins = [(0, 0)] * (planes.ndim - 2) + [(0, -height % self.cell), (0, -width % self.cell)]
        return np.pad(planes, margins)

    def _cropped(self, planes: Floats) -> Floats:
        height, width = self._room.levels.shape[1:]
        return planes[..., :height, :width]
