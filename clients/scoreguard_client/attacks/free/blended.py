"""Base of the edits that are a mixture of the image and another one, as a layer of an editor is.

    x' = round(255 clip(x + s (y - x), 0, 1)),  s the strength and y the fully edited image

y may leave [0, 1]: contrast, saturation, sharpening and grain then are just as strong as s times their parameter.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.free.base import AtStrength, EightBit, FreeEdit

Values = npt.NDArray[np.float64]
"""One image in [0, 1] in double precision, (H, W, 3)."""
LUMA = np.array([0.299, 0.587, 0.114])
"""Shares of red, green and blue in the grey of a colour, as in JPEG and in editors (ITU-R BT.601)."""


@dataclass(frozen=True, kw_only=True)
class BlendedEdit(FreeEdit):
    """An edit that states its full effect."""

    @abstractmethod
    def full(self, image: Values, rng: np.random.Generator) -> Values:
        """Return the fully edited image, (H, W, 3), which may leave [0, 1]."""

    def editor(self, image: EightBit, rng: np.random.Generator) -> AtStrength:
        """Mix the image with the fully edited one."""
        clean = image / TOP
        difference = self.full(clean, rng) - clean

        def at(strength: float) -> EightBit:
            return np.rint(np.clip(clean + strength * difference, 0, 1) * TOP).astype(np.uint8)

        return at


def blurred(image: Values, sigma: float) -> Values:
    """Blur with a Gaussian of a standard deviation in pixels; beyond the edge the image is mirrored."""
    from scipy import ndimage

    return np.asarray(ndimage.gaussian_filter(image, (sigma, sigma, 0)))
