"""PGD: projected gradient ascent (Madry et al., "Towards deep learning models resistant to adversarial attacks", 2018).

    x_0 = Clip_{x, eps}(x + U(-eps, eps)),  x_{t+1} = Clip_{x, eps}(x_t + alpha * sign(grad Q(x_t)))

alpha = 2.5 * eps / iterations unless given: the paper's choice when it varies eps (100 steps of 2.5 eps / 100), with
which an image can cross the whole ball and still settle. `random_starts` describes which image is returned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from scoreguard_client.attacks.best import Best
from scoreguard_client.attacks.random_starts import RandomStarts, random_start
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import float32, functions

_REACH: Final = 2.5


@dataclass(frozen=True, kw_only=True)
class PGD(RandomStarts):
    """Sign steps from random starts. The benchmark has no PGD, so there is only one mode."""

    name = "pgd"
    title = "PGD"
    paper = "Madry et al., arXiv 1706.06083"
    year = 2018
    on_device = True

    alpha: float = 0.0
    """Length of one step, in units of [0, 1]; 0 = 2.5 * eps / iterations."""
    iterations: int = 20
    """Steps of each restart; 20 is the paper's stronger attack on CIFAR-10."""
    restarts: int = 2
    """Random starts; the paper goes up to 20, and two show whether the start matters."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.alpha <= 1, f"alpha must be in [0, 1], not {self.alpha:g}")

    @property
    def step(self) -> float:
        """Length of one step."""
        return self.alpha or _REACH * self.eps / self.iterations

    def climb(self, session: Session) -> Best:
        """Take sign steps of fixed length."""
        best, images = Best(session.clean), random_start(session, self.eps)
        for _ in range(self.iterations):
            objective, gradient = session.value_and_gradient(images)
            best.update(images, objective)
            images = session.region.clip(images + float32(self.step * functions(gradient).sign(gradient)))
        best.update(images, session.objective(images))
        return best
