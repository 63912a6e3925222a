"""The unit of work of an attack."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from scoreguard_client.attacks.base import Attack
from scoreguard_client.target.images import ImageRef


@dataclass(frozen=True, kw_only=True)
class Unit:
    """One attack on one metric, through one chain, with a few images of one size."""

    metric: str
    """The attacked metric."""
    attack: Attack
    """The attack."""
    attacked_through: str
    """The chain that the attack works through; `none` = the metric alone."""
    images: tuple[ImageRef, ...]
    """The images, attacked as one batch."""

    @property
    def key(self) -> str:
        """Name of the unit's files."""
        parts = [self.metric, str(self.attack), self.attacked_through, *(image.sha256 for image in self.images)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
