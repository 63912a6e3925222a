"""A budget as an attack sees it: the set of allowed images around each clean one."""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import TOP
from scoreguard_client.oracles.arrays import Put
from scoreguard_client.oracles.base import Images

Levels = npt.NDArray[np.uint8]
"""Images on the 8-bit grid: (N, 3, H, W), 0..255."""


class Region(Protocol):
    """The images that an attack may return."""

    @property
    def clean(self) -> Images:
        """The clean images, (N, 3, H, W) float32 in [0, 1]."""
        ...

    def clip(self, images: Images) -> Images:
        """Move images inside the budget and [0, 1]; images already inside stay unchanged."""
        ...

    def quantise(self, images: Images) -> Levels:
        """Return 8-bit images inside the budget, near the given images, which are inside."""
        ...


@runtime_checkable
class MovableRegion(Region, Protocol):
    """A region that also clips images on a device."""

    def on(self, put: Put) -> Self:
        """Return the same region with its arrays where `put` copies them."""
        ...


def rounded(images: Images) -> Levels:
    """Round to the nearest 8-bit levels."""
    return np.rint(np.clip(images, 0, 1).astype(np.float64) * TOP).astype(np.uint8)
