"""M-PGD: projected gradient ascent with momentum, decaying steps, and a derivative of rounding that sees thresholds.

    g_{t+1} = nu * g_t + grad Q(x_t) / ||grad Q(x_t)||_1
    x_{t+1} = Clip_{x, eps}(x_t + alpha_t * sign(g_{t+1})),  alpha_t = alpha (1 + cos(pi t / iterations)) / 2

Momentum is that of MI-FGSM (Dong et al. 2018), the decay the cosine of Loshchilov and Hutter (2017). The first restart
begins at the clean image, the others at random points of the ball, and the best of all steps is returned. Behind a
chain that rounds (`jpeg`, `quantise`) gradients use the cubic derivative of rounding unless `rounding` says otherwise;
behind other chains that parameter has no effect.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from scoreguard.chain.rounding import Rounding
from scoreguard_client.attacks.base import SearchResult
from scoreguard_client.attacks.best import Best
from scoreguard_client.attacks.directions import unit_l1
from scoreguard_client.attacks.random_starts import RandomStarts, random_start
from scoreguard_client.attacks.session import Session
from scoreguard_client.oracles.arrays import float32, functions

_WIDTHS: Final = 2.0


@dataclass(frozen=True, kw_only=True)
class MPGD(RandomStarts):
    """Momentum, decaying steps, cubic rounding."""

    name = "mpgd"
    title = "M-PGD"
    paper = "ours; after Dong et al., arXiv 1710.06081, and Shin and Song (2017)"
    year = 2026
    on_device = True

    alpha: float = 0.0
    """Length of the first step, in units of [0, 1]; 0 = 2 * eps, the width of the ball."""
    iterations: int = 60
    """Steps of each restart."""
    restarts: int = 1
    """Starts: the clean image, then random points of the ball."""
    nu: float = 1.0
    """Share of the last direction that is kept."""
    rounding: Rounding = Rounding.CUBIC
    """The derivative to use for the rounding in `jpeg` and `quantise`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require(0 <= self.alpha <= 1, f"alpha must be in [0, 1], not {self.alpha:g}")
        self.require(self.nu >= 0, f"nu must be at least 0, not {self.nu:g}")

    def run(self, session: Session) -> SearchResult:
        """Climb from every start."""
        session.take_rounding(self.rounding)
        return super().run(session)

    def climb(self, session: Session) -> Best:
        """Take sign steps along the momentum."""
        images = random_start(session, self.eps) if session.asked else session.clean
        library = functions(images)
        best, direction = Best(session.clean), library.zeros_like(session.clean)
        for step in range(self.iterations):
            objective, gradient = session.value_and_gradient(images)
            best.update(images, objective)
            direction = self.nu * direction + unit_l1(gradient)
            images = session.region.clip(images + float32(self._length(step) * library.sign(direction)))
        best.update(images, session.objective(images))
        return best

    def _length(self, step: int) -> float:
        first = self.alpha or _WIDTHS * self.eps
        return first * (1 + math.cos(math.pi * step / self.iterations)) / 2
