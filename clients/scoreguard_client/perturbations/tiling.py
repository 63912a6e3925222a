"""Tiling: a perturbation of one size, repeated from the top left corner and cut to any image size."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Perturbation = npt.NDArray[np.float32]
"""Values to add to an image: (3, H, W), in units of [0, 1]."""


def tiled(perturbation: Perturbation, height: int, width: int) -> Perturbation:
    """Tile a perturbation to another size, (3, height, width)."""
    rows = np.arange(height) % perturbation.shape[1]
    columns = np.arange(width) % perturbation.shape[2]
    return np.ascontiguousarray(perturbation[:, rows[:, None], columns])
