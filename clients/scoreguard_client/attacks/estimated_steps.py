"""Base of the attacks that step along an estimated gradient: NES and SPSA.

The gradient is estimated from pairs of scores at opposite probes (antithetic sampling),

    g = 1 / (2 n s) * sum_i (Q(clip(x + s u_i)) - Q(clip(x - s u_i))) u_i,  u_i random with E[u u^T] = I.

Probes are cut to the budget, so every queried image is a valid result, and the endpoint accepts only images in [0, 1].
If a pixel is on the border of the budget, only one probe of each pair moves it: its expected derivative is halved and
keeps its sign.

Each step makes 2n queries. The last step takes as many pairs as still fit; the one or two queries left then are spent
on the last image and one more probe. The best of the queried images, including the clean one, is returned.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scoreguard_client.attacks.base import SearchResult
from scoreguard_client.attacks.best import BestSeen
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.score_attack import ScoreAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import column, float32, functions, one_each
from scoreguard_client.oracles.base import Gradients, Images, Scores

Mover = Callable[[Images, Gradients], Images]
"""Maps images and the estimated gradient to the next images, not yet cut to the budget; it may keep state."""


@dataclass(frozen=True, kw_only=True)
class EstimatedSteps(ScoreAttack, LInfAttack):
    """Ascent along gradients estimated from scores; exactly `queries` queries per image."""

    eps: float = 0.1
    """Radius of the L-infinity ball, in units of [0, 1]; 0.1 is the benchmark's choice (arXiv 2408.01541)."""
    pairs: int
    """Pairs of opposite probes for each step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(self.pairs >= 1, f"pairs must be at least 1, not {self.pairs}")
        self.require(0 < self.spread <= 1, f"the probes' distance must be in (0, 1], not {self.spread:g}")

    @property
    @abstractmethod
    def spread(self) -> float:
        """Scale s of the probes, in units of [0, 1]."""

    @abstractmethod
    def probe(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Images:
        """A random direction u for an image (3, H, W)."""

    @abstractmethod
    def mover(self, clean: Images) -> Mover:
        """Create the step function of one run."""

    def run(self, session: Session) -> SearchResult:
        """Climb."""
        best, images, move = BestSeen(session), session.clean, self.mover(session.clean)
        while (pairs := min(self.pairs, (session.left - 1) // 2)) > 0:
            images = session.region.clip(move(images, self.estimate(session, best, images, pairs)))
        # Calls that were sent again may have used up the budget in the middle of a step.
        if session.left and images is not session.clean:
            best.ask(images)
        while session.left:
            best.ask(session.region.clip(images + self._offset(session)))
        return best.found

    def estimate(self, session: Session, best: BestSeen, images: Images, pairs: int) -> Gradients:
        """Estimate the gradient of the objective at images inside the budget; two queries per pair."""
        total = functions(images).zeros_like(images)
        for _ in range(pairs):
            offset = self._offset(session)
            rise = _rise(session, best, images, offset) / (2 * pairs * self.spread**2)
            total = total + column(float32(rise)) * offset
        estimated: Gradients = total
        return estimated

    def _offset(self, session: Session) -> Images:
        shape = session.clean.shape[1:]
        probes = np.stack([self.probe(rng, shape) for rng in session.rngs])
        offset: Images = session.put(np.float32(self.spread) * probes)
        return offset


def _rise(session: Session, best: BestSeen, images: Images, offset: Images) -> Scores:
    none: Scores = one_each(images, 0)
    rise = none
    for sign in (1, -1):
        if session.left < 1:
            return none
        rise = rise + sign * best.ask(session.region.clip(images + sign * offset))
    return rise
