"""What a budget is to an attack: a set of images around each clean one that nothing may leave."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import TOP
from scoreguard_client.oracles.base import Images

Levels = npt.NDArray[np.uint8]
"""Images on the 8-bit grid: (N, 3, H, W), 0..255."""


class Region(Protocol):
    """The images that an attack may hand out."""

    @property
    def clean(self) -> Images:
        """The clean images, (N, 3, H, W) float32 in [0, 1]."""
        ...

    def clip(self, images: Images) -> Images:
        """Images inside the budget and inside [0, 1]; those that are inside already stay as they are."""
        ...

    def quantise(self, images: Images) -> Levels:
        """8-bit images inside the budget, near images that are inside."""
        ...


def rounded(images: Images) -> Levels:
    """The nearest 8-bit levels."""
    return np.rint(np.clip(images, 0, 1).astype(np.float64) * TOP).astype(np.uint8)
