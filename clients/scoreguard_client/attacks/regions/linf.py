"""The L-infinity ball around an image, cut to [0, 1]: exact in float32 and on the 8-bit grid.

A bound computed in float32 may be one rounding outside eps. Here the bounds are the outermost float32 values whose
distance from the clean value, measured in float64, is at most eps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.v1.codec import TOP
from scoreguard_client.attacks.regions.base import Levels
from scoreguard_client.oracles.arrays import Put, functions
from scoreguard_client.oracles.base import Images

SLACK: Final = 1e-4
"""Share of one 8-bit level by which float32 clean values and a decimal eps such as 0.0314 may miss their grid."""


@dataclass(frozen=True, kw_only=True)
class Ball:
    """All images within eps of the clean ones that are still images."""

    clean: Images
    """The centres."""
    eps: npt.NDArray[np.float64]
    """Radius in units of [0, 1], one for each image: (N, 1, 1, 1)."""
    low: Images
    """Lowest value allowed, element by element."""
    high: Images
    """Highest value allowed, element by element."""

    def clip(self, images: Images) -> Images:
        """Return the nearest images inside the ball; |result - clean| <= eps holds exactly."""
        clipped: Images = functions(images).clip(images, self.low, self.high)
        return clipped

    def on(self, put: Put) -> Ball:
        """Return the same ball with its arrays where `put` copies them."""
        return Ball(clean=put(self.clean), eps=put(self.eps), low=put(self.low), high=put(self.high))

    def quantise(self, images: Images) -> Levels:
        """Return the nearest 8-bit images inside the budget.

        Each value takes the 8-bit level nearest to it among those within eps of the clean value. If the clean image is
        8-bit there is always one, and the result differs from it by at most floor(255 eps) levels. If the clean image
        is not 8-bit and no level is within eps, the level nearest to the clean value is taken: then the
        distance is below half a level, the resolution of 8 bits.
        """
        centre = self.clean.astype(np.float64) * TOP
        reach = self.eps * TOP + SLACK
        low = np.maximum(np.ceil(centre - reach), 0)
        high = np.minimum(np.floor(centre + reach), TOP)
        nearest = np.clip(np.rint(images.astype(np.float64) * TOP), low, high)
        return np.where(low > high, np.rint(centre), nearest).astype(np.uint8)


def ball_around(clean: Images, eps: float | npt.NDArray[np.float64]) -> Ball:
    """Build the ball around images (N, 3, H, W) in [0, 1]; eps is one radius or one for each image, (N,).

    With eps = 1 every image is inside: this expresses an attack without a bound.
    """
    exact, eps = clean.astype(np.float64), np.broadcast_to(eps, len(clean)).astype(np.float64).reshape(-1, 1, 1, 1)
    low, high = (np.clip(exact + step, 0.0, 1.0).astype(np.float32) for step in (-eps, eps))
    # Rounding to float32 may have moved outwards by one step.
    low = np.where(exact - low > eps, np.nextafter(low, np.float32(1)), low)
    high = np.where(high - exact > eps, np.nextafter(high, np.float32(0)), high)
    return Ball(clean=clean, eps=eps, low=low, high=high)
