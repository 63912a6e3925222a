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
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.chain.jpeg import BLOCK, TRANSFORM, Floats
from scoreguard_client.oracles.arrays import Put, float32, functions, in_order, is_host, unchanged

_TOGETHER: Final = (1, 2, 4, 8)
"""Coefficients of a block that are pushed together."""
_PROJECTIONS: Final = 8
_OVERSHOOT: Final = 1.3
"""Factor of the shortfall that a projection adds, because cutting removes some of it again."""
_BEYOND: Final = 0.54
"""Target of a pushed coefficient, in steps from the middle: slightly beyond the threshold."""
_NEAREST: Final = 0.02


def _dither() -> Floats:
    """Compute Bayer's matrix of 8 × 8 thresholds in (0, 1)."""
    matrix = np.zeros((1, 1))
    while len(matrix) < BLOCK:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return ((matrix + 0.5) / BLOCK**2).astype(np.float32).reshape(-1)


DITHER: Final = _dither()
"""Thresholds of ordered dithering, (64,): floor(v + threshold) keeps a low wave that is weaker than half a level."""
_REACH: Final = np.abs(TRANSFORM).sum(axis=1)


@dataclass(frozen=True, kw_only=True)
class Waves:
    """The cosine transform of a block, where an attack computes."""

    transform: Floats
    """(64 frequencies, 64 positions)."""
    dither: Floats
    """`DITHER`."""
    reach: Floats
    """Change of each coefficient if every sample changes by 1 in its favour, (64,)."""

    @classmethod
    def at(cls, put: Put) -> Waves:
        """Copy it."""
        return cls(transform=put(TRANSFORM), dither=put(DITHER), reach=put(_REACH))


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
    waves: Waves = field(default_factory=lambda: Waves.at(unchanged))
    """The transform, where the blocks are."""

    def pushed(self, gains: Floats) -> Floats:
        """Return the best changes of the samples among all candidates."""
        library = functions(gains)
        best: Floats = library.zeros_like(self.low)
        most = best[:, 0]
        for changes in self._answers(gains):
            gain = self.gain(changes, gains)
            best = library.where((gain > most)[:, None], changes, best)
            most = library.maximum(gain, most)
        return best

    def gain(self, changes: Floats, gains: Floats) -> Floats:
        """Sum gain times steps over the coefficients of a block, (blocks,)."""
        library = functions(changes)
        passed = library.round(self._moved(changes)) - library.round(self.coefficients)
        gained: Floats = library.sum(passed * gains, axis=1)
        return gained

    def _moved(self, changes: Floats) -> Floats:
        return self.coefficients + changes @ self.waves.transform.T / self.steps  # pyright: ignore[reportReturnType]

    def _answers(self, gains: Floats) -> Iterator[Floats]:
        library, transform = functions(gains), self.waves.transform
        direction = 2 * float32(gains > 0) - 1
        target = library.round(self.coefficients) + direction * _BEYOND
        lacking = direction * (target - self.coefficients)
        # The widest bounds of a block show what it cannot reach at all.
        widest = library.max(library.maximum(self.high, -self.low), axis=1, keepdims=True)
        possible = lacking * self.steps <= self.waves.reach * widest
        sizes, never = library.abs(gains), -library.ones_like(gains)
        greatest = library.where(possible, sizes, never)
        pays = library.where(possible, sizes / library.clip(lacking, _NEAREST, None), never)
        most = greatest == library.max(greatest, axis=1, keepdims=True)
        yield from self._projected(most & possible, target, direction)
        # The place of each coefficient in the order is the order of the order.
        places = in_order(in_order(-pays))
        for count in _TOGETHER:
            yield from self._projected((places < count) & possible, target, direction)
        yield library.where((gains / self.steps) @ transform > 0, self.high, self.low)

    def _projected(self, chosen: npt.NDArray[np.bool_], target: Floats, direction: Floats) -> Iterator[Floats]:
        library = functions(target)
        changes = zeros = library.zeros_like(self.low)
        for _ in range(_PROJECTIONS):
            short = library.clip(direction * (target - self._moved(changes)), 0, None) * direction
            lacking = library.where(chosen, short, zeros)
            if is_host(lacking) and not lacking.any():
                break
            added = _OVERSHOOT * (lacking * self.steps) @ self.waves.transform
            changes = library.clip(changes + added, self.low, self.high)
        if self.whole:
            yield library.round(changes)
            yield library.floor(changes + self.waves.dither)
        else:
            yield changes
