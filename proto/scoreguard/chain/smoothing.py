"""Randomised median smoothing: which settings are allowed, and the noisy copies that a seed determines.

Chiang et al. 2020 (Detection as regression: certified object detection by median smoothing). h(x) is the median of
f(x + σ·ε) over standard normal ε, f being the whole chain. For every δ with ‖δ‖₂ ≤ r

    quantile Φ(−r/σ) of f(x + σ·ε)  ≤  h(x + δ)  ≤  quantile Φ(r/σ) of f(x + σ·ε),

for any f: only its distribution under the noise matters. So two things can be part of f without affecting the bounds:
the sum is clipped to [0, 1], as metrics and defences expect, and random defences draw anew for each copy. The two
quantiles are bounded by order statistics of the scores of N copies.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from scoreguard.v1 import scoring_pb2
from scoreguard.v1.errors import SmoothingError

MAX_SAMPLES: Final = 100_000
"""Most noisy copies of one request; each costs as much as an image."""
MAX_SIGMA: Final = 1.0
"""Largest standard deviation: noise as wide as the range of the values hides the image."""
_PLACE: Final = 2**64 - 1
"""Step index used to draw the noise: no defence can have it, so the two never share numbers."""
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Smoothing:
    """Settings of the smoothing."""

    samples: int = 1000
    """Number of noisy copies to score, 1 to 100 000; each costs as much as an image."""
    sigma: float = 0.12
    """Standard deviation of the noise, in [0, 1] units of the image; above 0, at most 1."""
    radius: float = 0.05
    """Radius r of the ball of perturbations: L2 norm over all values of the image in [0, 1]; above 0."""
    confidence: float = 0.999
    """Probability with which each of the two bounds holds, 0.5 to below 1; both at once hold with at least
    2·confidence − 1."""

    @staticmethod
    def from_message(message: scoring_pb2.Smoothing) -> Smoothing:
        """Read the wire form, in which 0 is the default."""
        given = {name: getattr(message, name) for name in Smoothing.__dataclass_fields__}
        return Smoothing(**{name: value for name, value in given.items() if value})

    def to_message(self) -> scoring_pb2.Smoothing:
        """Return the wire form."""
        return scoring_pb2.Smoothing(
            samples=self.samples, sigma=self.sigma, radius=self.radius, confidence=self.confidence
        )

    def check(self) -> None:
        """Check that these settings allow a certificate.

        Raises:
            SmoothingError: a value is out of range, or the samples are too few for the confidence; the message says
                how many it takes.
        """
        self._check_ranges()
        least = self.least_samples()
        if least > MAX_SAMPLES:
            raise SmoothingError(
                "radius",
                f"smoothing: radius {self.radius:g} at sigma {self.sigma:g} takes more than {MAX_SAMPLES} samples for "
                f"confidence {self.confidence:.12g}; lower radius or confidence, or raise sigma",
            )
        if self.samples < least:
            raise SmoothingError(
                "samples",
                f"smoothing: {self.samples} samples are too few to certify radius {self.radius:g} at sigma "
                f"{self.sigma:g} with confidence {self.confidence:.12g}; take at least {int(least)}",
            )

    def least_samples(self) -> float:
        """Return the smallest N for which the largest of N scores is an upper bound: Φ(r/σ)ᴺ ≤ 1 − confidence."""
        below = math.log1p(-0.5 * math.erfc(self.radius / self.sigma / math.sqrt(2)))
        return math.ceil(math.log1p(-self.confidence) / below) if below < 0 else math.inf

    def _check_ranges(self) -> None:
        # NaN compares false, so each test catches it.
        if not (1 <= self.samples <= MAX_SAMPLES and self.samples == int(self.samples)):
            problem = f"must be a whole number from 1 to {MAX_SAMPLES}"
            raise SmoothingError("samples", f"smoothing: samples {problem}, not {self.samples}")
        if not 0 < self.sigma <= MAX_SIGMA:
            raise SmoothingError("sigma", f"smoothing: sigma must be above 0 and at most 1, not {self.sigma}")
        if not 0 < self.radius < math.inf:
            raise SmoothingError("radius", f"smoothing: radius must be above 0 and finite, not {self.radius}")
        # Below one half the bounds could swap.
        if not 0.5 <= self.confidence < 1:
            raise SmoothingError("confidence", f"smoothing: confidence must be from 0.5 to below 1: {self.confidence}")


def noisy_copy(image: Floats, sigma: float, seed: int, index: int) -> tuple[Floats, int]:
    """Make one noisy copy of an image; repeated calls give the same copy.

    Args:
        image: values in [0, 1], (3, H, W).
        sigma: standard deviation of the noise.
        seed: seed of the request, 0 ≤ seed < 2⁶⁴.
        index: index of the copy, from 0.

    Returns:
        The copy, clipped to [0, 1], and the seed of its random defences.
    """
    generator = _generator(seed, index)
    own_seed = int(generator.bit_generator.random_raw())
    noise = generator.standard_normal(image.shape, dtype=np.float32)
    noise *= np.float32(sigma)
    noise += image
    return np.clip(noise, 0, 1, out=noise), own_seed


def noisy_copies(image: Floats, sigma: float, seed: int, indices: Sequence[int]) -> tuple[Floats, list[int]]:
    """Make several noisy copies of an image, (N, 3, H, W), and the seeds of their random defences; see `noisy_copy`."""
    copies, seeds = zip(*(noisy_copy(image, sigma, seed, index) for index in indices), strict=True)
    return np.stack(copies), list(seeds)


def _generator(seed: int, index: int) -> np.random.Generator:
    # Blocks of one counter, 2¹⁹² apart: no two copies share numbers.
    key, counter = np.array([seed, _PLACE], np.uint64), np.array([0, 0, 0, index], np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
