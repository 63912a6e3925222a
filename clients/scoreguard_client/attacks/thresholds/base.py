"""The rounding of a defence as an attack sees it: numbers of images that can be pushed over a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from scoreguard_client.oracles.base import Gradients

Changes = npt.NDArray[np.float32]
"""Whole levels of 255 to add to 8-bit images: (N, 3, H, W)."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """8-bit images, and how far each of their values may go; all (N, 3, H, W)."""

    levels: Changes
    """The clean images, whole levels."""
    low: Changes
    """Lowest change, at most 0."""
    high: Changes
    """Highest change, at least 0."""


class Thresholds(Protocol):
    """The thresholds around clean images. A cell is a part of the image whose pushes do not touch the others."""

    cell: int
    """Rows and columns of a cell, in pixels."""

    def pushed(self, gradient: Gradients) -> Changes:
        """Return the changes that would raise a score most if it were linear in the rounded numbers.

        Args:
            gradient: of the score, rounding passed straight through, (N, 3, H, W); its scale does not matter.
        """
        ...
