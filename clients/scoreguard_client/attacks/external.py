"""Attacks that were made elsewhere: a campaign knows their images, who made them and their budget, and no more.

`scoreguard challenge` adds them to a run. They are in no list of attacks, since there is nothing to run.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from scoreguard_client.attacks.base import Attack, Companions, Needs, SearchResult
from scoreguard_client.attacks.errors import AttackSpecError
from scoreguard_client.attacks.regions.base import Region
from scoreguard_client.attacks.regions.linf import ball_around
from scoreguard_client.attacks.regions.ssim import SsimRegion
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images

OVER_BUDGET: Final = "over-budget"
"""Flag of an image that is outside the budget."""
UNBOUNDED: Final = 1.0
"""An L∞ radius that allows every image."""
MADE_ELSEWHERE: Final = "its images were made elsewhere: scoreguard challenge adds them to a run"
LONGEST_NAME: Final = 60
"""Characters of a name at most."""
_RESERVED: Final = "|"
"""Separates names in the tables of reports."""


@dataclass(frozen=True, kw_only=True)
class External(Attack):
    """Images of somebody else's, within a budget."""

    name = "external"
    title = "external"
    paper = "none: made elsewhere"
    year = 2026
    needs = Needs.NOTHING
    budget = "L∞ ≤ eps and SSIM ≥ min_ssim"
    flag_meanings = MappingProxyType(
        {**Attack.flag_meanings, OVER_BUDGET: "the image is outside the budget, and in no number"}
    )

    by: str = ""
    """Who made them."""
    eps: float = UNBOUNDED
    """Radius of the L-infinity ball, in units of [0, 1]; 1 = no bound."""
    min_ssim: float = 0.0
    """Smallest SSIM with the clean image, in [0, 1); 0 = no bound."""

    def __post_init__(self) -> None:
        super().__post_init__()
        is_plain = self.by.isprintable() and self.by == self.by.strip() and _RESERVED not in self.by
        self.require(is_plain and len(self.by) <= LONGEST_NAME, f"{self.by!r} is no name of at most 60 characters")
        self.require(0 < self.eps <= UNBOUNDED, f"eps must be in (0, 1], not {self.eps:g}")
        self.require(0 <= self.min_ssim < 1, f"min_ssim must be in [0, 1), not {self.min_ssim:g}")

    @property
    def keeps_clean(self) -> bool:
        """False: the images are what they are."""
        return False

    @property
    def queries_needed(self) -> int:
        """Zero: whatever was asked, was asked elsewhere."""
        return 0

    def region(self, clean: Images, companions: Companions) -> Region:
        """The ball of radius eps, or the images that are similar enough if only the similarity is bounded."""
        del companions
        if self.eps == UNBOUNDED and self.min_ssim:
            return SsimRegion(clean=clean, min_ssim=self.min_ssim)
        return ball_around(clean, self.eps)

    def run(self, session: Session) -> SearchResult:
        """Refuse: there is nothing to run.

        Raises:
            AttackSpecError: always.
        """
        raise AttackSpecError(str(self), MADE_ELSEWHERE)
