"""A perturbation of one size on images of any size: repeated from the top left corner, and cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Perturbation = npt.NDArray[np.float32]
"""What is added to an image: (3, H, W), in units of [0, 1]."""


def tiled(perturbation: Perturbation, height: int, width: int) -> Perturbation:
    """The perturbation at another size, (3, height, width)."""
    rows = np.arange(height) % perturbation.shape[1]
    columns = np.arange(width) % perturbation.shape[2]
    return np.ascontiguousarray(perturbation[:, rows[:, None], columns])
