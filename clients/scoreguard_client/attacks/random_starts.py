"""Base of the attacks that climb from random points of the ball: PGD and APGD.

The best image of all steps of all restarts is returned, separately for each image of the batch, or the clean one if
none is better. A step's score comes with its gradient, so only the last image of a restart costs a separate query. The
base then queries the returned image again: behind a random defence the highest of many noisy answers is too high to
record.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.base import Needs, SearchResult
from scoreguard_client.attacks.best import Best
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import float32
from scoreguard_client.oracles.base import Images


@dataclass(frozen=True, kw_only=True)
class RandomStarts(LInfAttack):
    """Restarts from random points; a subclass climbs."""

    needs = Needs.GRADIENT

    iterations: int
    """Steps of each restart."""
    restarts: int
    """Random starts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.iterations >= 1, f"iterations must be at least 1, not {self.iterations}")
        self.require(self.restarts >= 1, f"restarts must be at least 1, not {self.restarts}")

    @property
    def queries_needed(self) -> int:
        """Count, for each restart, one gradient per step and the score of its last image."""
        return self.restarts * (self.iterations + 1)

    @abstractmethod
    def climb(self, session: Session) -> Best:
        """Climb from one random start, with `iterations` gradients and one score."""

    def run(self, session: Session) -> SearchResult:
        """Climb from every start."""
        best = Best(session.clean)
        for _ in range(self.restarts):
            climbed = self.climb(session)
            best.update(climbed.images, climbed.objective)
        return SearchResult(images=best.images)


def random_start(session: Session, eps: float) -> Images:
    """Draw a point of each image's ball, uniform in every value before it is cut to [0, 1]."""
    noise = np.stack([rng.uniform(-eps, eps, session.clean.shape[1:]) for rng in session.rngs])
    return session.region.clip(float32(session.clean + session.put(noise)))
