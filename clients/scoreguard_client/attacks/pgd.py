"""PGD: projected gradient ascent (Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018).

    x_0 = Clip_{x, eps}(x + U(-eps, eps)),  x_{t+1} = Clip_{x, eps}(x_t + alpha * sign(grad Q(x_t)))

Each restart draws its own start. The best picture of all steps of all restarts is handed out, for each picture of the
batch by itself. A step's score comes with its gradient, so that only the last picture of a restart costs a question of
its own. The base then asks once more about what is handed out: behind a random defence the highest of many noisy
answers is too high, and the record should not hold it.

alpha = 2.5 * eps / iterations unless it is given: the paper's choice where it varies eps (100 steps of 2.5 eps / 100),
with which a picture can cross the whole ball and still settle.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from scoreguard_client.attacks.base import Found, Needs
from scoreguard_client.attacks.best import Best
from scoreguard_client.attacks.linf_attack import LInfAttack
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.base import Images

_REACH: Final = 2.5


@dataclass(frozen=True, kw_only=True)
class PGD(LInfAttack):
    """Sign steps from random starts. The benchmark has no PGD, so that there is one mode only."""

    name = "pgd"
    title = "PGD"
    paper = "Madry et al., arXiv 1706.06083"
    year = 2018
    needs = Needs.GRADIENT

    alpha: float = 0.0
    """Length of one step, in units of [0, 1]; 0 = 2.5 * eps / iterations."""
    iterations: int = 20
    """Steps of each restart; 20 is the paper's stronger attack on CIFAR-10."""
    restarts: int = 2
    """Random starts; the paper goes up to 20, and two show whether the start matters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.alpha <= 1, f"alpha must be in [0, 1], not {self.alpha:g}")
        self.require(self.iterations >= 1, f"iterations must be at least 1, not {self.iterations}")
        self.require(self.restarts >= 1, f"restarts must be at least 1, not {self.restarts}")

    @property
    def step(self) -> float:
        """The length of one step that runs."""
        return self.alpha or _REACH * self.eps / self.iterations

    @property
    def queries_needed(self) -> int:
        """In each restart one gradient for each step, and the score of its last picture."""
        return self.restarts * (self.iterations + 1)

    def run(self, session: Session) -> Found:
        """Climb from every start."""
        best = Best(session.clean)
        for _ in range(self.restarts):
            self._climb(session, best)
        return Found(images=best.images)

    def _climb(self, session: Session, best: Best) -> None:
        images = random_start(session, self.eps)
        for _ in range(self.iterations):
            objective, gradient = session.value_and_gradient(images)
            best.see(images, objective)
            images = session.region.clip(images + (self.step * np.sign(gradient)).astype(np.float32))
        best.see(images, session.objective(images))


def random_start(session: Session, eps: float) -> Images:
    """A point of each picture's ball, uniform in every value before it is cut to [0, 1]."""
    noise = np.stack([rng.uniform(-eps, eps, session.clean.shape[1:]) for rng in session.rngs])
    return session.region.clip((session.clean + noise).astype(np.float32))
