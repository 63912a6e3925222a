"""Degraded copies of images: blur, noise, compression and others in several strengths, each worse than the last.

A metric, and a chain in front of it, should prefer the original to every copy (`scores.order_violations`).
"""

from __future__ import annotations

from scoreguard_client.degradations.base import Degradation, Degraded, ImageArray
from scoreguard_client.degradations.catalogue import DEGRADATIONS, degradation, degraded_copies
from scoreguard_client.degradations.errors import DegradationError

__all__ = [
    "DEGRADATIONS",
    "Degradation",
    "DegradationError",
    "Degraded",
    "ImageArray",
    "degradation",
    "degraded_copies",
]
