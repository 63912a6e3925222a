"""Base of the degraded copies: one degradation at one strength, which makes an image worse.

Somebody who looks at both prefers the original, so a chain that scores the copy higher puts the two into the wrong
order (`scores.ordering`). A copy has no budget and nobody gains by it: it stands in no table of attacks. It enters a
campaign as an attack does, since what happens to it is the same: it is scored behind every chain, and recorded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scoreguard_client.attacks.base import Attack, Companions, Direction, Needs, SearchResult
from scoreguard_client.attacks.regions.base import rounded
from scoreguard_client.attacks.regions.everything import Everything
from scoreguard_client.attacks.regions.ssim import unit_floats
from scoreguard_client.attacks.session import Session
from scoreguard_client.degradations.catalogue import DEGRADATIONS
from scoreguard_client.oracles.base import Images


@dataclass(frozen=True, kw_only=True)
class DegradedCopy(Attack):
    """One degradation of the catalogue at one strength; the copy has 8 bits, as an image file has."""

    is_degradation = True
    needs = Needs.NOTHING
    budget = "none: a worse image"
    paper = "none: a degraded copy"
    year = 2026
    degradation: ClassVar[str]
    """Its name in `degradations.DEGRADATIONS`."""

    strength: int = 3
    """From 1, the weakest, to 5; see docs/scores.md for what each one is."""

    def __post_init__(self) -> None:
        super().__post_init__()
        strongest = len(DEGRADATIONS[self.degradation].strengths)
        self.require(1 <= self.strength <= strongest, f"strength must be 1 to {strongest}, not {self.strength}")
        self.require(self.direction is Direction.UP, "a degraded copy has no direction: it is worse by itself")

    @property
    def keeps_clean(self) -> bool:
        """False: the copy is what it is, whatever the metric says."""
        return False

    @property
    def queries_needed(self) -> int:
        """Zero: the image is never queried."""
        return 0

    def region(self, clean: Images, companions: Companions) -> Everything:
        """No budget."""
        del companions
        return Everything(clean=clean)

    def run(self, session: Session) -> SearchResult:
        """Degrade each image, with the random numbers of its seed."""
        method = DEGRADATIONS[self.degradation]
        copies = [
            method.apply(image.transpose(1, 2, 0), self.strength, seed=seed).transpose(2, 0, 1)
            for image, seed in zip(rounded(session.clean), session.seeds, strict=True)
        ]
        return SearchResult(images=unit_floats(np.stack(copies)))
