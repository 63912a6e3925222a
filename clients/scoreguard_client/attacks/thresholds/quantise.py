"""The thresholds of a colour quantisation: each value of the image has its own."""

from __future__ import annotations

from typing import Final

import numpy as np

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.thresholds.base import Changes, Room
from scoreguard_client.oracles.base import Gradients

_TOP: Final = np.float32(TOP)


class QuantiseThresholds:
    """Thresholds of one image before a quantisation to equally spaced levels."""

    cell = 1

    def __init__(self, intervals: float, room: Room) -> None:
        """Set the numbers to round.

        Args:
            intervals: between the lowest and the highest level.
            room: the image.
        """
        self._room, self._scale = room, np.float32(intervals) / _TOP

    def pushed(self, gradient: Gradients) -> Changes:
        """Move each value to the bound that the gradient favours, wherever that passes a threshold."""
        changes = np.where(gradient > 0, self._room.high, np.where(gradient < 0, self._room.low, np.float32(0)))
        levels = self._room.levels.astype(np.float32)
        passes = np.rint((levels + changes) * self._scale) != np.rint(levels * self._scale)
        return np.where(passes, changes, np.float32(0))
