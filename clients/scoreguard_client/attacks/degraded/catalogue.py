"""The degraded copies by name: one kind for each degradation of `degradations.catalogue`, in its order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from scoreguard_client.attacks.degraded.base import DegradedCopy

STRENGTHS: Final = (1, 3, 5)
"""Strengths of the copies that a campaign makes: the weakest, where the order is hardest to get right; the strongest,
where nobody would doubt it; and the middle. All five would add two thirds to the calls, and the two between say little
more."""


@dataclass(frozen=True, kw_only=True)
class BlurredCopy(DegradedCopy):
    """Gaussian blur."""

    name = "degraded-blur"
    title = "Gaussian blur"
    degradation = "blur"


@dataclass(frozen=True, kw_only=True)
class NoisyCopy(DegradedCopy):
    """White noise."""

    name = "degraded-noise"
    title = "White noise"
    degradation = "noise"


@dataclass(frozen=True, kw_only=True)
class CompressedCopy(DegradedCopy):
    """JPEG compression."""

    name = "degraded-jpeg"
    title = "JPEG compression"
    degradation = "jpeg"


@dataclass(frozen=True, kw_only=True)
class DownscaledCopy(DegradedCopy):
    """Downscaled and enlarged."""

    name = "degraded-downscale"
    title = "Downscaled and enlarged"
    degradation = "downscale"


@dataclass(frozen=True, kw_only=True)
class FadedCopy(DegradedCopy):
    """Reduced contrast."""

    name = "degraded-contrast"
    title = "Reduced contrast"
    degradation = "contrast"


@dataclass(frozen=True, kw_only=True)
class BandedCopy(DegradedCopy):
    """Banding."""

    name = "degraded-banding"
    title = "Banding"
    degradation = "banding"


DEGRADED_COPIES: Final[Mapping[str, type[DegradedCopy]]] = {
    kind.name: kind for kind in (BlurredCopy, NoisyCopy, CompressedCopy, DownscaledCopy, FadedCopy, BandedCopy)
}
"""By name."""


def campaign_copies() -> tuple[DegradedCopy, ...]:
    """Return the copies that a campaign makes of each image: every degradation at each of `STRENGTHS`."""
    return tuple(kind(strength=strength) for kind in DEGRADED_COPIES.values() for strength in STRENGTHS)
