"""A degradation: a method and its strengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoreguard_client.degradations.errors import DegradationError

ImageArray = npt.NDArray[Any]
"""(H, W, 3), RGB: uint8, or float in [0, 1]."""
Floats = npt.NDArray[np.float64]
"""(H, W, 3), RGB, in [0, 1]."""

_DIMENSIONS: Final = 3
_CHANNELS: Final = 3


@dataclass(frozen=True, kw_only=True)
class Degradation:
    """A way to make an image worse."""

    name: str
    """Name in tables and files."""
    title: str
    """Name in prose."""
    parameter: str
    """What the strengths are numbers of, with its unit."""
    strengths: tuple[float, ...]
    """The parameter's value for each strength, the weakest first."""
    method: Callable[[Floats, float, np.random.Generator], Floats]
    """Degrades an image, given the parameter's value and random numbers; may leave [0, 1]."""

    def apply(self, image: ImageArray, strength: int, *, seed: int = 0) -> ImageArray:
        """Make a degraded copy; the same arguments give the same copy.

        Args:
            image: (H, W, 3), uint8 or float in [0, 1].
            strength: from 1, the weakest, to the number of strengths.
            seed: of the random numbers; all strengths draw the same ones, so that a stronger one is worse.

        Returns:
            An image of the same shape and type; uint8 is rounded.

        Raises:
            DegradationError: there is no such strength, or the image has another shape or type.
        """
        if not 1 <= strength <= len(self.strengths):
            raise DegradationError(f"{self.name} has the strengths 1 to {len(self.strengths)}, not {strength}")
        values = _floats(image)
        result = np.clip(self.method(values, self.strengths[strength - 1], np.random.default_rng(seed)), 0, 1)
        return np.rint(255 * result).astype(np.uint8) if image.dtype == np.uint8 else result.astype(image.dtype)


@dataclass(frozen=True, kw_only=True)
class Degraded:
    """A degraded copy of an image."""

    degradation: str
    """Name of the degradation."""
    strength: int
    """Its strength, from 1."""
    image: ImageArray
    """The copy."""


def _floats(image: ImageArray) -> Floats:
    if image.ndim != _DIMENSIONS or image.shape[2] != _CHANNELS or not image.size:
        raise DegradationError(f"an image to degrade must be (height, width, 3), not {image.shape}")
    if image.dtype == np.uint8:
        return image / 255.0
    if not np.issubdtype(image.dtype, np.floating):
        raise DegradationError(f"an image to degrade must be uint8, or float in [0, 1], not {image.dtype}")
    if not bool(np.all((image >= 0) & (image <= 1))):  # NaN is neither
        raise DegradationError("an image to degrade has values outside [0, 1]; divide 8-bit levels by 255")
    return image.astype(np.float64)
