"""Push coefficients of 8 × 8 blocks over their rounding thresholds within bounds on every sample.

A block has 64 samples, each with a lowest and a highest change v, and 64 coefficients that are rounded. With the gains
m of one more quantisation step in each coefficient, the search looks for the v that makes sum_k m_k * (whole steps
gained by k) large. Which coefficients can pass together is a hard problem, so several candidates are tried and the best
is kept, block by block: push the one coefficient with the greatest gain, or the 1, 2, 4 and 8 with the greatest gain
for the distance to go, or every sample to the bound that the gain favours. Alternating projections find the samples for
a set of coefficients: add what the coefficients still lack, cut to the bounds, and repeat. If samples change by whole
levels, the result is rounded in two ways, to the nearest and by ordered dithering: a coefficient just below its
threshold needs a wave of less than half a level, which rounding to the nearest would lose.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.chain.jpeg import BLOCK, TRANSFORM, Floats

_TOGETHER: Final = (1, 2, 4, 8)
"""Coefficients of a block that are pushed together."""
_PROJECTIONS: Final = 8
_OVERSHOOT: Final = np.float32(1.3)
"""Factor of the shortfall that a projection adds, because cutting removes some of it again."""
_BEYOND: Final = np.float32(0.54)
"""Target of a pushed coefficient, in steps from the middle: slightly beyond the threshold."""
_NEAREST: Final = np.float32(0.02)


def _dither() -> Floats:
    """Compute Bayer's matrix of 8 × 8 thresholds in (0, 1)."""
    matrix = np.zeros((1, 1))
    while len(matrix) < BLOCK:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / BLOCK**2).astype(np.float32).reshape(-1)


DITHER: Final = _dither()
"""Thresholds of ordered dithering, (64,): floor(v + threshold) keeps a low wave that is weaker than half a level."""
_REACH: Final = np.abs(TRANSFORM).sum(axis=1)
"""Change of each coefficient if every sample changes by 1 in its favour."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Blocks of one component; all arrays are (blocks, 64)."""

    coefficients: Floats
    """The clean ones, in quantisation steps."""
    steps: Floats
    """The quantisation steps, (64,)."""
    low: Floats
    """Lowest change of each sample."""
    high: Floats
    """Highest change of each sample."""
    whole: bool
    """Whether samples change by whole levels only."""

    def pushed(self, gains: Floats) -> Floats:
        """Return the best changes of the samples among all candidates."""
        best, most = np.zeros_like(self.low), np.zeros(len(self.low), dtype=np.float32)
        for changes in self._answers(gains):
            gain = self.gain(changes, gains)
            better = gain > most
            best[better], most[better] = changes[better], gain[better]
        return best

    def gain(self, changes: Floats, gains: Floats) -> Floats:
        """Sum gain times steps over the coefficients of a block, (blocks,)."""
        after = np.rint(self.coefficients + changes @ TRANSFORM.T / self.steps)
        return np.asarray(((after - np.rint(self.coefficients)) * gains).sum(axis=1))

    def _answers(self, gains: Floats) -> Iterator[Floats]:
        direction = np.where(gains > 0, np.float32(1), np.float32(-1))
        target = np.rint(self.coefficients) + direction * _BEYOND
        lacking = direction * (target - self.coefficients)
        # The widest bounds of a block show what it cannot reach at all.
        widest = np.maximum(self.high, -self.low).max(axis=1, keepdims=True)
        possible = lacking * self.steps <= _REACH * widest
        greatest = np.where(possible, np.abs(gains), -1)
        pays = np.where(possible, np.abs(gains) / np.maximum(lacking, _NEAREST), -1)
        yield from self._projected((greatest == greatest.max(axis=1, keepdims=True)) & possible, target, direction)
        order = np.argsort(-pays, axis=1, kind="stable")
        for count in _TOGETHER:
            chosen = np.zeros_like(possible)
            np.put_along_axis(chosen, order[:, :count], values=True, axis=1)
            yield from self._projected(chosen & possible, target, direction)
        yield np.where((gains / self.steps) @ TRANSFORM > 0, self.high, self.low)

    def _projected(self, chosen: npt.NDArray[np.bool_], target: Floats, direction: Floats) -> Iterator[Floats]:
        changes = np.zeros_like(self.low)
        for _ in range(_PROJECTIONS):
            there = self.coefficients + changes @ TRANSFORM.T / self.steps
            lacking = np.where(chosen, np.maximum(direction * (target - there), 0) * direction, np.float32(0))
            if not lacking.any():
                break
            changes = np.clip(changes + _OVERSHOOT * (lacking * self.steps) @ TRANSFORM, self.low, self.high)
        if self.whole:
            yield np.rint(changes)
            yield np.floor(changes + DITHER)
        else:
            yield changes  # pyright: ignore[reportReturnType]
