"""The thresholds of a colour quantisation: each value of the image has its own."""

from __future__ import annotations

from typing import Final

import numpy as np

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.thresholds.base import Changes, Room
from scoreguard_client.oracles.arrays import functions
from scoreguard_client.oracles.base import Gradients

_TOP: Final = np.float32(TOP)


class QuantiseThresholds:
    """Thresholds of images before a quantisation to equally spaced levels."""

    cell = 1

    def __init__(self, intervals: float, room: Room) -> None:
        """Set the numbers to round.

        Args:
            intervals: between the lowest and the highest level.
            room: the images.
        """
        self._room, self._scale = room, float(np.float32(intervals) / _TOP)

    def pushed(self, gradient: Gradients) -> Changes:
        """Move each value to the bound that the gradient favours, wherever that passes a threshold."""
        library, levels = functions(gradient), self._room.levels
        none = library.zeros_like(levels)
        downwards = library.where(gradient < 0, self._room.low, none)
        changes = library.where(gradient > 0, self._room.high, downwards)
        passes = library.round((levels + changes) * self._scale) != library.round(levels * self._scale)
        pushed: Changes = library.where(passes, changes, none)
        return pushed
