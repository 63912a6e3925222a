"""The budget of a challenge: given, or that of the run; and whether an image is inside."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from scoreguard_client.attacks.base import Attack, Direction
from scoreguard_client.attacks.external import UNBOUNDED, External
from scoreguard_client.campaign.attacked import Change
from scoreguard_client.challenge.errors import ChallengeError

_SLACK: Final = 1e-6
"""Float32 clean values and a decimal eps such as 0.0392 miss the grid of 8 bits by less."""


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What an image may change."""

    eps: float = UNBOUNDED
    """Largest L-infinity distance, in units of [0, 1]; 1 = no bound."""
    min_ssim: float = 0.0
    """Smallest SSIM; 0 = no bound."""

    def holds(self, change: Change, ssim_8bit: float) -> bool:
        """Whether an image is inside, as it is and after rounding to 8 bits."""
        distance, similarity = max(change.l_inf, change.l_inf_8bit), min(change.fidelity.ssim or 0.0, ssim_8bit)
        return distance <= self.eps + _SLACK and similarity >= self.min_ssim


def budget_for(attacks: Sequence[Attack], eps: float | None, min_ssim: float | None) -> Budget:
    """Return the budget that was given, or else the largest of a run's attacks.

    That is the largest L-infinity radius; if no attack has one, the smallest SSIM.

    Raises:
        ChallengeError: neither was given, and no attack of the run has either.
    """
    if eps is not None or min_ssim is not None:
        return Budget(eps=UNBOUNDED if eps is None else eps, min_ssim=min_ssim or 0.0)
    if radii := _parameters(attacks, "eps"):
        return Budget(eps=max(radii))
    if similarities := _parameters(attacks, "min_ssim"):
        return Budget(min_ssim=min(similarities))
    raise ChallengeError("no attack of the run has a budget in L∞ or SSIM: give --eps 10/255 or --min-ssim 0.9")


def largest_eps(attacks: Iterable[Attack]) -> float | None:
    """Return the largest L-infinity radius of attacks; None if none is bounded by one."""
    return max(_parameters(attacks, "eps"), default=None)


def direction_of(attacks: Iterable[Attack]) -> Direction:
    """Return the direction of a run's attacks: down if all of them drive scores down."""
    directions = {attack.direction for attack in attacks if not attack.is_degradation}
    return Direction.DOWN if directions == {Direction.DOWN} else Direction.UP


def _parameters(attacks: Iterable[Attack], name: str) -> list[float]:
    """Return the bounds of that name; a bound of 1 in L-infinity is none."""
    values = (getattr(attack, name, None) for attack in attacks if not isinstance(attack, External))
    return [value for value in values if isinstance(value, float) and value < UNBOUNDED]
