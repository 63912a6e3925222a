"""Attacks whose budget is an L-infinity ball."""

from __future__ import annotations

from dataclasses import dataclass

from scoreguard_client.attacks.base import BENCHMARK_EPS, Attack, Companions
from scoreguard_client.attacks.regions.linf import Ball, ball_around
from scoreguard_client.oracles.base import Images


@dataclass(frozen=True, kw_only=True)
class LInfAttack(Attack):
    """An attack within eps of the clean image, element by element."""

    budget = "L∞ ≤ eps"

    eps: float = BENCHMARK_EPS
    """Radius of the L-infinity ball, in units of [0, 1]; 10/255 in the benchmark (arXiv 2310.06958); 1 = no bound."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 < self.eps <= 1, f"eps must be in (0, 1], not {self.eps:g}")

    def region(self, clean: Images, companions: Companions) -> Ball:
        """The ball of radius eps."""
        del companions
        return ball_around(clean, self.eps)
