"""No budget: every image is allowed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.regions.base import Levels, rounded
from scoreguard_client.oracles.base import Images


@dataclass(frozen=True, kw_only=True)
class Everything:
    """All images of the size of the clean ones."""

    clean: Images
    """The clean images, (N, 3, H, W)."""

    def clip(self, images: Images) -> Images:
        """Cut to [0, 1]."""
        return np.clip(images, 0, 1)

    def quantise(self, images: Images) -> Levels:
        """Round to the nearest 8-bit levels."""
        return rounded(images)
